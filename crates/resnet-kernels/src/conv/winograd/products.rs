//! What multiplies at the points. Here in f32, V being rows of [tile][c_in] and U panels of
//! [panel][c_in][lanes]; in pairs of bf16 in `paired`.

use std::ops::Range;

use super::tiles::{self, pitch};
use crate::Cpu;
use crate::conv::tile::{Ahead, LANES, NARROW, Runs, TALL, WIDE, dot, heights, outer, panels};
use crate::simd::Simd;

/// Where vectors of a matrix go.
pub(in crate::conv) trait Arrange {
    /// Writes a vector of row `row` from column `at` on. `to` is the matrix, whose rows take
    /// `pitch` words.
    ///
    /// # Safety
    /// `to` is valid for writing all rows up to this one (in pairs, up to the pair's other one); of
    /// a pair's rows the even one was put before the odd one.
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

/// Words from the panel at column `n` to the one that is used after it: its neighbour, or the first
/// one of the next point. A column takes `depth` words, a point `len`.
#[inline(always)]
pub(super) fn next(
    columns: &Range<usize>,
    n: usize,
    lanes: usize,
    depth: usize,
    len: usize,
) -> usize {
    if n + lanes < columns.end { lanes * depth } else { len - (n - columns.start) * depth }
}

/// Vᵀ W at one point, summed over tiles.
#[derive(Clone, Copy)]
pub(in crate::conv) struct PointGradient {
    /// V and W: a row of so many numbers for each tile, arranged [`Across`](Products::Across) in
    /// [`pitch`] words, after the last tile zeros up to a whole word.
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
    /// V holds a row of `depth` numbers, arranged [`Along`](Products::Along), and M has room for
    /// one of `columns.len()`, for each of `tiles`; rows are [`pitch`] words apart. Columns come in
    /// vectors of the widest instruction set, `depth` in whole steps of what multiplies.
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
    /// V, W and P are as [`PointGradient`] says, P initialised if `add`; rows and columns come in
    /// vectors of the widest instruction set.
    unsafe fn outer<S: Simd>(self, s: S, point: PointGradient);
}

/// Products in f32.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Plain;

/// Rows of U in a panel: 256 x 16 numbers are half of a 32 KiB first-level cache (256 x 32, with
/// AVX-512, two thirds of 48 KiB).
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
        for (n, lanes) in panels::<S>(columns.clone()) {
            let next = next(&columns, n, lanes, depth, u.len());
            let m = m.wrapping_add(n - first);
            for k in (0..depth).step_by(PANEL) {
                let part = PANEL.min(depth - k);
                let panel = u[n * depth + k * lanes..][..part * lanes].as_ptr();
                let start = if k == 0 { ZEROS.as_ptr() } else { std::ptr::null() };
                let v = v.wrapping_add(k);
                let next = panel.wrapping_add(if k + part < depth {
                    part * lanes
                } else {
                    next - k * lanes
                });
                // SAFETY: `panel` holds `part` rows of `lanes` numbers, `start` is null or two of
                // the widest vectors; the caller vouches for the rows of V and M.
                unsafe {
                    if lanes > S::LANES && tall::<S>(tiles) {
                        rows::<S, TALL, 2>(s, v, from, part, panel, start, m, to, tiles, next);
                    } else if lanes > S::LANES {
                        rows::<S, WIDE, 2>(s, v, from, part, panel, start, m, to, tiles, next);
                    } else {
                        rows::<S, NARROW, 1>(s, v, from, part, panel, start, m, to, tiles, next);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn outer<S: Simd>(self, s: S, point: PointGradient) {
        for (n, lanes) in panels::<S>(0..point.columns) {
            // Channels are a multiple of 16, of which sixes leave nothing, four or eight.
            for (k, height) in heights(point.rows) {
                // SAFETY: as the caller vouches; the heights add up to the rows, the panels to the
                // columns.
                unsafe {
                    match (lanes > S::LANES, height == WIDE) {
                        (true, true) => register_tile::<S, WIDE, 2>(s, point, k, n),
                        (true, false) => register_tile::<S, 4, 2>(s, point, k, n),
                        (false, true) => register_tile::<S, WIDE, 1>(s, point, k, n),
                        (false, false) => register_tile::<S, 4, 1>(s, point, k, n),
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
unsafe fn register_tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    point: PointGradient,
    k: usize,
    n: usize,
) {
    let mut x = [point.v; MR];
    let mut p = [point.p; MR];
    for r in 0..MR {
        x[r] = point.v.wrapping_add(k + r);
        p[r] = point.p.wrapping_add((k + r) * point.stride + n);
    }
    let (from, w) = (pitch(point.rows), point.w.wrapping_add(n));
    let offsets = (0..point.tiles).map(|tile| tile * from);
    // SAFETY: as the caller vouches.
    unsafe { outer::<S, MR, NV>(s, &x, offsets, w, pitch(point.columns), point.add, &p) };
}

/// Whether tall tiles leave fewer rows empty, where there are registers for them.
#[inline(always)]
fn tall<S: Simd>(tiles: usize) -> bool {
    S::LANES == tiles::LANES && tiles.next_multiple_of(TALL) < tiles.next_multiple_of(WIDE)
}

/// Rows of M (+)= rows of V times a panel of U.
///
/// # Safety
/// `v` holds `tiles` rows of `depth` numbers, `from` apart; `panel` `depth` rows of NV vectors;
/// `start` is null or NV vectors; `m` has (or, if `start` is null, holds) NV vectors in each of
/// `tiles` rows, `to` apart.
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
    next: *const f32,
) {
    let runs = Runs { runs: 1, len: depth, pitch: 0 };
    for at in (0..tiles).step_by(MR) {
        let mut x = [v; MR];
        let mut y = [m; MR];
        for r in 0..MR {
            // Rows after the last one get the same numbers as it does.
            let row = (at + r).min(tiles - 1);
            x[r] = v.wrapping_add(row * from);
            y[r] = m.wrapping_add(row * to);
        }
        let ahead = Ahead::share(next, depth, NV * S::LANES, at / MR, tiles.div_ceil(MR));
        // SAFETY: rows below `tiles`, as the caller vouches. `dot` reads all of y before it writes
        // any.
        unsafe { dot::<S, MR, NV>(s, &x, runs, panel, start, &y, ahead) };
    }
}
