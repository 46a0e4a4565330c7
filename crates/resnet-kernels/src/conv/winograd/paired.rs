//! Points in bf16: V, W and U are rounded to it, two rows of the reduction side by side where sums
//! run from row to row.
//!
//! ```text
//!  V forward   [tile][c_in]             U   [panel][c_in / 2][lanes][2]           in a word of 32 bits two numbers
//!  V, W of dw  [tile / 2][channel][2]
//! ```

use std::ops::Range;

use super::products::{Arrange, PointGradient, Products, next};
use super::tiles::pitch;
use crate::conv::unit::{self, MOST, Outer, PART, Product, Registers, SIDE, STEP, Unit};
use crate::simd::Simd;
use crate::{Bf16, Cpu};

/// Bytes of a word.
const WORD: usize = size_of::<f32>();

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

/// Products by whatever the CPU has for them.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Paired(Unit);

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
        debug_assert!(depth.is_multiple_of(STEP));
        let mut registers = Registers::new(self.0);
        let mut steps = [[0, STEP as u32 / 2]; PART];
        for (i, step) in steps.iter_mut().enumerate() {
            step[0] = (i * STEP * size_of::<Bf16>()) as u32;
        }
        let (from, to) = (pitch(depth / 2), pitch(columns.len()));
        let first = columns.start;
        for (n, lanes) in unit::panels(columns.clone()) {
            let after = n * depth / 2 + next(&columns, n, lanes, depth / 2, u.len());
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
                        a_stride: from * WORD,
                        c_stride: to * WORD,
                        count: part / STEP,
                        overlaps: false,
                        add: usize::from(start > 0),
                        ahead: if tile == 0 {
                            u.as_ptr().wrapping_add(after + start / 2 * lanes).cast()
                        } else {
                            std::ptr::null()
                        },
                    };
                    let mut heights = [0; MOST];
                    let mut used = 0;
                    for tile in (tile..tiles.min(tile + together)).step_by(SIDE) {
                        product.a[used] = v.wrapping_add(tile * from + start / 2).cast();
                        product.c[used] = m.wrapping_add(tile * to + n - first);
                        heights[used] = SIDE.min(tiles - tile);
                        used += 1;
                    }
                    // SAFETY: depths are whole steps; the panel was cut to them, and the caller
                    // vouches for the rows of V and M.
                    unsafe { registers.multiply(&mut product, &heights[..used], lanes, None) };
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn outer<S: Simd>(self, _: S, point: PointGradient) {
        let mut registers = Registers::new(self.0);
        for (n, lanes) in unit::panels(0..point.columns) {
            let w = point.w.wrapping_add(n).cast::<u32>();
            let product = Outer {
                a: point.v.cast(),
                a_pitch: pitch(point.rows) * WORD,
                b: [w, w.wrapping_add(SIDE)],
                b_pitch: pitch(point.columns) * WORD,
                count: point.tiles.div_ceil(2),
                c: point.p.wrapping_add(n),
                c_stride: point.stride * WORD,
                add: point.add,
                ahead: std::ptr::null(),
                lines: 0,
            };
            // SAFETY: as the caller vouches, for the panel's columns.
            unsafe { registers.outer_panel(product, point.rows, lanes) };
        }
    }
}
