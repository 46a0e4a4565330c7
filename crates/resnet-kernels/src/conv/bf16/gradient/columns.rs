//! Pairs of pixels of x times pairs of pixels of dy: neither is transposed.
//!
//! ```text
//!                       dy: 32 channels
//!                     ┌────────────────┐
//!   x: 32 channels    │                │ pairs of output pixels
//!   ┌──────────────┐  └────────────────┘
//!   │              │  ┌────────────────┐
//!   └──────────────┘  │ dw of a tap    │ 8 rows at a time in registers
//!    pairs of pixels  └────────────────┘
//! ```
//!
//! For each tap the pixels of x that the block's outputs read there are laid out next to each
//! other, zeros for those on the rim. With 128 output channels that takes a thirtieth of the
//! products' time.

use super::plan::{Gradient, Plan};
use super::transpose;
use crate::conv::axis::Block;
use crate::conv::bf16::ahead::Ahead;
use crate::conv::bf16::layout::WIDE;
use crate::conv::outputs::NONE;
use crate::conv::shape::Conv2dShape;
use crate::conv::unit::{Outer, Registers, SIDE, padded, panels};
use crate::scratch;
use crate::simd::Simd;

/// Output channels from which on it pays to lay x out again for each of several taps.
const MANY: usize = 64;

/// Several input channels, and vectors of output channels.
pub(super) fn accepts(shape: &Conv2dShape) -> bool {
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    let fewest = if shape.kernel > 1 { MANY } else { SIDE };
    c_in >= WIDE && c_out.is_multiple_of(SIDE) && c_out >= fewest
}

/// Pairs of outputs in the largest block.
fn pairs(plan: &Plan) -> usize {
    plan.blocks.pixels().div_ceil(2)
}

/// Lengths of a thread's parts of scratch: offsets of pixels, x in pairs, dy in pairs.
pub(super) fn parts(plan: &Plan) -> [usize; 3] {
    let pairs = pairs(plan);
    let (x, dy) = (padded(plan.channels), plan.part_out());
    [2 * pairs, pairs * x, pairs * dy]
}

/// One task's gradient.
#[inline(always)]
pub(super) fn run<S: Simd>(s: S, work: Gradient) {
    let Gradient { plan, unit, group, chunk, part, channels, x, dy, dw, scratch } = work;
    let Conv2dShape { h, w, c_in, c_out, kernel, groups, .. } = plan.shape;
    let [at, x_pairs, dy_pairs] = scratch::split(scratch, parts(plan));
    let [at, x_pairs, dy_pairs] = [at, x_pairs, dy_pairs].map(scratch::as_u32);
    let mut registers = Registers::new(unit);
    let (x_image, dy_image) = (h * w * c_in, plan.rows.count * plan.columns.count * c_out);
    let of_x = group * (c_in / groups) + part * plan.channels;
    let of_x = of_x..of_x + plan.channels;
    let first = group * (c_out / groups);
    let of_dy = first + channels.start..first + channels.end;
    let mut blocks = plan.chunk(chunk).peekable();
    let mut add = false;
    let calls = kernel * kernel * panels(0..of_dy.len()).count() * panels(0..of_x.len()).count();
    while let Some(block) = blocks.next() {
        let mut ahead = Ahead::new(plan.ahead(blocks.peek(), x, dy), calls);
        let x = &x[block.image * x_image..][..block.images * x_image];
        let dy = &dy[block.image * dy_image..][..block.images * dy_image];
        let count = (block.images * block.rows * plan.columns.count).div_ceil(2);
        let at = &mut at[..2 * count];
        outputs(plan, block, at);
        transpose::pairs(s, dy, at, of_dy.clone(), dy_pairs);
        for tap in 0..kernel * kernel {
            inputs(plan, block, (tap / kernel, tap % kernel), at);
            transpose::pairs(s, x, at, of_x.clone(), x_pairs);
            for (n, columns) in panels(0..of_dy.len()) {
                let lanes = padded(columns);
                let b = &dy_pairs[n * count..][..count * lanes];
                for (k, rows) in panels(0..of_x.len()) {
                    let pitch = padded(rows);
                    let a = &x_pairs[k * count..][..count * pitch];
                    let (ahead, lines) = ahead.next();
                    let row = tap * (c_in / groups) + part * plan.channels + k;
                    let product = Outer {
                        a: a.as_ptr(),
                        a_pitch: pitch * size_of::<u32>(),
                        b: [b.as_ptr(), b.as_ptr().wrapping_add(SIDE)],
                        b_pitch: lanes * size_of::<u32>(),
                        count,
                        c: dw.wrapping_add(row * c_out + of_dy.start + n),
                        c_stride: c_out * size_of::<f32>(),
                        add,
                        ahead,
                        lines,
                    };
                    // SAFETY: the panels were cut to `count` pairs; output channels come in
                    // vectors, so that all columns are the task's own, and the rows are a tap's: dw
                    // has them all, and the first block fills them.
                    unsafe { registers.outer_panel(product, rows, lanes) };
                }
            }
        }
        add = true;
    }
}

/// Fills in where the outputs of a block lie in dy, from its first image on, and [`NONE`] after an
/// odd number.
fn outputs(plan: &Plan, block: Block, at: &mut [u32]) {
    let first = block.row * plan.columns.count;
    let count = block.images * block.rows * plan.columns.count;
    for (i, at) in at.iter_mut().enumerate() {
        *at = if i < count { ((first + i) * plan.shape.c_out) as u32 } else { NONE };
    }
}

/// Fills in where each output of a block reads x for a tap, from its first image on; [`NONE`]
/// outside, and after an odd number.
fn inputs(plan: &Plan, block: Block, (row, column): (usize, usize), at: &mut [u32]) {
    let (rows, columns) = (&plan.rows, &plan.columns);
    let mut at = at.iter_mut();
    for image in 0..block.images {
        for i in block.row..block.row + block.rows {
            let row = rows.input(i, row);
            for (j, at) in (0..columns.count).zip(at.by_ref()) {
                *at = match (row, columns.input(j, column)) {
                    (Some(row), Some(column)) => {
                        let pixel = (image * rows.len + row) * columns.len + column;
                        (pixel * plan.shape.c_in) as u32
                    }
                    _ => NONE,
                };
            }
        }
    }
    at.for_each(|at| *at = NONE);
}
