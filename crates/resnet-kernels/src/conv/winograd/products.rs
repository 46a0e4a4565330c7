//! What multiplies at the points: numbers of f32, or pairs of bf16 with sums of f32.
//!
//! ```text
//!            V, rows of channels        U, panels of columns
//!  f32       [tile][c_in]               [panel][c_in][lanes]
//!  pairs     [tile][c_in]               [panel][c_in / 2][lanes][2]        in a word of 32 bits two numbers
//! ```

use std::ops::Range;

use super::pitch;
use crate::conv::tile::{self, LANES, NARROW, Runs, WIDE, dot, heights, panels};
use crate::simd::Simd;
use crate::{Bf16, Cpu};

/// Where vectors of a matrix go.
pub(in crate::conv) trait Arrange {
    /// Writes a vector of row `row` from column `at` on. `to` is the matrix, whose rows take `pitch` words.
    ///
    /// # Safety
    /// `to` is valid for writing all rows up to this one (in pairs, up to the pair's other one); of a pair's rows the even one comes first.
    unsafe fn put<S: Simd>(s: S, to: *mut f32, pitch: usize, row: usize, at: usize, v: S::V);
}

/// Rows of f32.
pub(in crate::conv) struct Words;

impl Arrange for Words {
    #[inline(always)]
    unsafe fn put<S: Simd>(s: S, to: *mut f32, pitch: usize, row: usize, at: usize, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.store(to.add(row * pitch + at), v) };
    }
}

/// Rows of bf16.
pub(in crate::conv) struct Halves;

impl Arrange for Halves {
    #[inline(always)]
    unsafe fn put<S: Simd>(s: S, to: *mut f32, pitch: usize, row: usize, at: usize, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.store_bf16(to.add(row * pitch).cast::<Bf16>().add(at), v) };
    }
}

/// Two rows of bf16 side by side, `pitch` words for both.
pub(in crate::conv) struct Pairs;

impl Arrange for Pairs {
    #[inline(always)]
    unsafe fn put<S: Simd>(s: S, to: *mut f32, pitch: usize, row: usize, at: usize, v: S::V) {
        // SAFETY: as the caller vouches; the even row is kept in f32 until the odd one comes.
        unsafe {
            let to = to.add(row / 2 * pitch + at);
            if row.is_multiple_of(2) {
                s.store(to, v);
            } else {
                s.store_pair_bf16(to.cast(), s.load(to), v);
            }
        }
    }
}

/// Vᵀ W at one point, summed over tiles.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Outer {
    /// V and W: a row of so many numbers for each tile, arranged [`Across`](Products::Across), rows [`pitch`] words apart, after the last
    /// tile zeros up to a whole word.
    pub(super) v: *const f32,
    pub(super) rows: usize,
    pub(super) w: *const f32,
    pub(super) columns: usize,
    pub(super) tiles: usize,
    /// `rows` of `columns` sums, `stride` numbers apart.
    pub(super) p: *mut f32,
    pub(super) stride: usize,
    /// Whether to add to the sums that are there.
    pub(super) add: bool,
}

/// How the points' matrices are stored and multiplied.
pub(in crate::conv) trait Products: Copy + Send + Sync {
    /// How rows are stored that are summed over along themselves: V.
    type Along: Arrange;
    /// How rows are stored that are summed over from one to the next: U.
    type Across: Arrange;
    /// Numbers in a word.
    const IN_WORD: usize;
    /// Rows of M that are computed together.
    const ROWS: usize;
    /// Fewest tiles in a chunk of a weight gradient, so that adding the chunks up costs little.
    const CHUNK: usize;
    /// Most tiles in a block of it: so often a number of P, once read, is added to.
    const BLOCK: usize;

    fn new(cpu: &Cpu) -> Self;

    /// The panels that columns are cut into: the first column, and how many.
    fn panels<S: Simd>(columns: Range<usize>) -> impl Iterator<Item = (usize, usize)>;

    /// M = V U at one point.
    ///
    /// # Safety
    /// V holds a row of `depth` numbers, and M has room for one of `columns.len()`, for each of `tiles`.
    ///
    /// # Panics
    /// If U is shorter than `depth` rows up to the end of `columns`.
    unsafe fn multiply<S: Simd>(
        self,
        s: S,
        v: *const f32,
        u: &[f32],
        depth: usize,
        m: *mut f32,
        tiles: usize,
        columns: Range<usize>,
    );

    /// P (+)= Vᵀ W at one point.
    ///
    /// # Safety
    /// V, W and P are as [`Outer`] says, P initialised if `add`; rows and columns come in vectors of the widest instruction set.
    unsafe fn outer<S: Simd>(self, s: S, outer: Outer);
}

/// Products in f32.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Plain;

/// Rows of U in a panel: 256 x 16 numbers are half of a 32 KiB first-level cache (256 x 32, with AVX-512, two thirds of 48 KiB).
const PANEL: usize = 256;

impl Products for Plain {
    type Along = Words;
    type Across = Words;
    const IN_WORD: usize = 1;
    const ROWS: usize = WIDE;
    const CHUNK: usize = 128;
    const BLOCK: usize = 64;

    fn new(_: &Cpu) -> Plain {
        Plain
    }

    #[inline(always)]
    fn panels<S: Simd>(columns: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        panels::<S>(columns)
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        self,
        s: S,
        v: *const f32,
        u: &[f32],
        depth: usize,
        m: *mut f32,
        tiles: usize,
        columns: Range<usize>,
    ) {
        const ZEROS: [f32; LANES] = [0.0; LANES];
        let (from, to) = (pitch(depth), pitch(columns.len()));
        let first = columns.start;
        let last = Self::panels::<S>(columns.clone())
            .last()
            .map_or(first, |(n, _)| n);
        for (n, lanes) in panels::<S>(columns) {
            let next = if n < last {
                lanes * depth
            } else {
                u.len() - (last - first) * depth
            };
            let m = m.wrapping_add(n - first);
            for k in (0..depth).step_by(PANEL) {
                let part = PANEL.min(depth - k);
                let panel = u[n * depth + k * lanes..][..part * lanes].as_ptr();
                let start = if k == 0 {
                    ZEROS.as_ptr()
                } else {
                    std::ptr::null()
                };
                let v = v.wrapping_add(k);
                let ahead = if k + part < depth { part * lanes } else { next };
                // SAFETY: `panel` holds `part` rows of `lanes` numbers, `start` is null or two of the widest vectors; the caller
                // vouches for the rows of V and M.
                unsafe {
                    if lanes > S::LANES {
                        rows::<S, WIDE, 2>(s, v, from, part, panel, start, m, to, tiles, ahead);
                    } else {
                        rows::<S, NARROW, 1>(s, v, from, part, panel, start, m, to, tiles, ahead);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn outer<S: Simd>(self, s: S, outer: Outer) {
        for (n, lanes) in panels::<S>(0..outer.columns) {
            // Channels are a multiple of 16, of which sixes leave nothing, four or eight.
            for (k, height) in heights(outer.rows) {
                // SAFETY: as the caller vouches; the heights add up to the rows, the panels to the columns.
                unsafe {
                    match (lanes > S::LANES, height == WIDE) {
                        (true, true) => tile::<S, WIDE, 2>(s, outer, k, n),
                        (true, false) => tile::<S, 4, 2>(s, outer, k, n),
                        (false, true) => tile::<S, WIDE, 1>(s, outer, k, n),
                        (false, false) => tile::<S, 4, 1>(s, outer, k, n),
                    }
                }
            }
        }
    }
}

/// MR rows of P from row `k`, NV vectors from column `n`.
///
/// # Safety
/// As for [`Products::outer`], these rows and columns being inside.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(s: S, outer: Outer, k: usize, n: usize) {
    let mut x = [outer.v; MR];
    let mut p = [outer.p; MR];
    for r in 0..MR {
        x[r] = outer.v.wrapping_add(k + r);
        p[r] = outer.p.wrapping_add((k + r) * outer.stride + n);
    }
    let (from, w) = (pitch(outer.rows), outer.w.wrapping_add(n));
    let offsets = (0..outer.tiles).map(|tile| tile * from);
    // SAFETY: as the caller vouches.
    unsafe { tile::outer::<S, MR, NV>(s, &x, offsets, w, pitch(outer.columns), outer.add, &p) };
}

/// Rows of M (+)= rows of V times a panel of U.
///
/// # Safety
/// `v` holds `tiles` rows of `depth` numbers, `from` apart; `panel` `depth` rows of NV vectors; `start` is null or NV vectors;
/// `m` has (or, if `start` is null, holds) NV vectors in each of `tiles` rows, `to` apart.
#[inline(always)]
unsafe fn rows<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    v: *const f32,
    from: usize,
    depth: usize,
    panel: *const f32,
    start: *const f32,
    m: *mut f32,
    to: usize,
    tiles: usize,
    ahead: usize,
) {
    let runs = Runs {
        runs: 1,
        len: depth,
        pitch: 0,
    };
    for at in (0..tiles).step_by(MR) {
        let mut x = [v; MR];
        let mut y = [m; MR];
        for r in 0..MR {
            // Rows after the last one get the same numbers as it does.
            let row = (at + r).min(tiles - 1);
            x[r] = v.wrapping_add(row * from);
            y[r] = m.wrapping_add(row * to);
        }
        // SAFETY: rows below `tiles`, as the caller vouches. `dot` reads all of y before it writes any.
        unsafe {
            if at == 0 {
                dot::<S, MR, NV, true>(s, &x, runs, panel, start, &y, ahead);
            } else {
                dot::<S, MR, NV, false>(s, &x, runs, panel, start, &y, 0);
            }
        }
    }
}

/// Products of pairs of bf16.
#[cfg(target_arch = "x86_64")]
mod paired {
    use super::*;
    use crate::conv::unit::{self, MOST, Product, Registers, SIDE, STEP, Unit};

    /// Steps of the reduction in a part: 36 KiB of weights in a first-level cache of 48.
    const PART: usize = 18;

    /// By whatever the CPU has for them.
    #[derive(Clone, Copy)]
    pub(in crate::conv) struct Paired(Unit);

    /// The columns of P from `n` on.
    #[inline(always)]
    fn product<const C: usize>(outer: Outer, b: [*const u32; C], n: usize) -> unit::Outer<C> {
        const WORD: usize = size_of::<f32>();
        unit::Outer {
            a: outer.v.cast(),
            a_pitch: pitch(outer.rows) * WORD,
            b,
            b_pitch: pitch(outer.columns) * WORD,
            count: outer.tiles.div_ceil(2),
            c: outer.p.wrapping_add(n),
            c_stride: outer.stride * WORD,
            add: outer.add,
        }
    }

    impl Products for Paired {
        type Along = Halves;
        type Across = Pairs;
        const IN_WORD: usize = 2;
        const ROWS: usize = 8;
        const CHUNK: usize = 1024;
        const BLOCK: usize = 256;

        fn new(cpu: &Cpu) -> Paired {
            Paired(Unit::of(cpu))
        }

        #[inline(always)]
        fn panels<S: Simd>(columns: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
            unit::panels(columns)
        }

        #[inline(always)]
        unsafe fn multiply<S: Simd>(
            self,
            _: S,
            v: *const f32,
            u: &[f32],
            depth: usize,
            m: *mut f32,
            tiles: usize,
            columns: Range<usize>,
        ) {
            const ROW: usize = size_of::<f32>();
            let mut registers = Registers::new(self.0);
            let mut steps = [[0, STEP as u32 / 2]; PART];
            for (i, step) in steps.iter_mut().enumerate() {
                step[0] = (i * STEP * size_of::<Bf16>()) as u32;
            }
            let (from, to) = (pitch(depth / 2), pitch(columns.len()));
            let first = columns.start;
            let last = unit::panels(columns.clone()).last().map_or(0, |(n, _)| n);
            for (n, lanes) in unit::panels(columns) {
                // To the next panel, or to the first one of the next point.
                let next = if n < last {
                    lanes * depth / 2
                } else {
                    u.len() - (last - first) * depth / 2
                };
                for start in (0..depth).step_by(PART * STEP) {
                    let part = (depth - start).min(PART * STEP);
                    let panel = &u[n * depth / 2 + start / 2 * lanes..][..part / 2 * lanes];
                    let together = unit::height(lanes) * SIDE;
                    for tile in (0..tiles).step_by(together) {
                        let mut product = Product {
                            a: [v; MOST].map(<*const f32>::cast),
                            c: [m; MOST],
                            steps: steps.as_ptr(),
                            b: panel.as_ptr().cast(),
                            a_stride: from * ROW,
                            c_stride: to * ROW,
                            count: part / STEP,
                            run: part / 2,
                            add: usize::from(start > 0),
                            ahead: if tile == 0 { next * ROW } else { 0 },
                        };
                        let mut heights = [0; MOST];
                        let mut used = 0;
                        for tile in (tile..tiles.min(tile + together)).step_by(SIDE) {
                            product.a[used] = v.wrapping_add(tile * from + start / 2).cast();
                            product.c[used] = m.wrapping_add(tile * to + n - first);
                            heights[used] = SIDE.min(tiles - tile);
                            used += 1;
                        }
                        // SAFETY: depths are whole steps; the panel was cut to them, and the caller vouches for the rows of V and M.
                        unsafe { registers.multiply(&mut product, &heights[..used], lanes) };
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn outer<S: Simd>(self, _: S, outer: Outer) {
            let mut registers = Registers::new(self.0);
            for (n, lanes) in unit::panels(0..outer.columns) {
                let w = outer.w.wrapping_add(n).cast::<u32>();
                // SAFETY: as the caller vouches, for the panel's columns.
                unsafe {
                    if lanes > SIDE {
                        let b = [w, w.wrapping_add(SIDE)];
                        registers.outer(product(outer, b, n), outer.rows);
                    } else {
                        registers.outer(product(outer, [w], n), outer.rows);
                    }
                }
            }
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub(in crate::conv) use paired::Paired;
