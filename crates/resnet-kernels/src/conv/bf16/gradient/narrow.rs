//! The weight gradient of 3x3 convolutions from sixteen channels to sixteen, where a tile of x has
//! one vector of columns only: the operands change places, so that three taps are columns.
//!
//! ```text
//!            x, pairs of pixels: taps 0, 1, 2 of a row
//!              ┌─────┬─────┬─────┐
//!              │ 16 channels each│
//!              └─────┴─────┴─────┘
//!   dy, pairs  ┌─────┬─────┬─────┐
//!   of pixels  │    sums         │ 8 of 16 output channels
//! ```
//!
//! A tap that begins at an odd position reads pairs of their own, so x is laid out twice, from the
//! first position on and from the second.

use super::plan::{Gradient, Plan};
use super::{rows, transpose};
use crate::conv::axis::Map;
use crate::conv::bf16::ahead::Ahead;
use crate::conv::shape::Conv2dShape;
use crate::conv::unit::{Outer, Registers, SIDE, STEP};
use crate::simd::Simd;
use crate::{Bf16, Number, scratch};

/// Taps of a row.
const TAPS: usize = 3;
/// Numbers of dw for one output channel and one row of taps.
const ROW: usize = TAPS * SIDE;
/// Pairs of positions that all rows of taps run over together: 24 KiB of x and dy in a first-level
/// cache of 48.
const PART: usize = 128;

pub(super) fn accepts(shape: &Conv2dShape) -> bool {
    let ends = [shape.c_in, shape.c_out, shape.kernel, shape.stride, shape.groups];
    ends == [SIDE, SIDE, TAPS, 1, 1]
}

/// Pairs of positions that x is read at where outputs lie in `steps`.
fn pairs(plan: &Plan, steps: usize) -> usize {
    steps * STEP / 2 + plan.shift(TAPS - 1, TAPS - 1) / 2 + 1
}

/// Lengths of a thread's parts of scratch: copy, x in pairs from even and from odd positions on,
/// offsets of dy, dy in pairs, sums.
pub(super) fn parts(plan: &Plan) -> [usize; 6] {
    let [copy, _, _, at, ..] = rows::parts(plan);
    let x = pairs(plan, plan.pitch().0) * SIDE;
    [copy, x, x, at, at / 2 * SIDE, TAPS * SIDE * ROW]
}

/// One task's gradient: that of a whole chunk.
#[inline(always)]
pub(super) fn run<S: Simd>(s: S, work: Gradient) {
    let Gradient { plan, unit, chunk, x, dy, dw, scratch, .. } = work;
    debug_assert_eq!(plan.split_in * plan.split_out, 1);
    let (shape, layout) = (&plan.shape, &plan.layout);
    let [copy, even, odd, at, dy_pairs, sums] = scratch::split(scratch, parts(plan));
    let [even, odd, at, dy_pairs] = [even, odd, at, dy_pairs].map(scratch::as_u32);
    let map = Map { values: x, channels: SIDE, groups: 1 };
    let image = shape.h_out() * shape.w_out() * SIDE;
    let mut registers = Registers::new(unit);
    let mut add = false;
    let mut blocks = plan.chunk(chunk).peekable();
    while let Some(block) = blocks.next() {
        let next = plan.ahead(blocks.peek(), x, dy);
        let copy = Bf16::view_mut(copy, layout.len(&plan.blocks));
        let staged = layout.stage(map, 0, block, copy, false);
        let steps = plan.place(block.images, block.row..block.row + block.rows, at);
        let count = steps * STEP / 2;
        let read = pairs(plan, steps);
        let mut ahead = Ahead::new(next, count.div_ceil(PART) * TAPS);
        lay_out(s, staged, 0, &mut even[..read * SIDE]);
        lay_out(s, staged, 1, &mut odd[..read * SIDE]);
        let dy = &dy[block.image * image..(block.image + block.images) * image];
        transpose::pairs(s, dy, &at[..steps * STEP], 0..SIDE, dy_pairs);
        for start in (0..count).step_by(PART) {
            let part = PART.min(count - start);
            let a = &dy_pairs[start * SIDE..][..part * SIDE];
            for (row, sums) in sums.chunks_exact_mut(SIDE * ROW).enumerate() {
                let b = [0, 1, 2].map(|column| {
                    let shift = plan.shift(row, column);
                    let x = if shift.is_multiple_of(2) { &even } else { &odd };
                    x[(start + shift / 2) * SIDE..][..part * SIDE].as_ptr()
                });
                let (ahead, lines) = ahead.next();
                let product = Outer {
                    a: a.as_ptr(),
                    a_pitch: SIDE * size_of::<u32>(),
                    b,
                    b_pitch: SIDE * size_of::<u32>(),
                    count: part,
                    c: sums.as_mut_ptr(),
                    c_stride: ROW * size_of::<f32>(),
                    add: add || start > 0,
                    ahead,
                    lines,
                };
                // SAFETY: all operands were cut to `part` pairs of sixteen words, the sums to
                // sixteen rows.
                unsafe { registers.outer(product, SIDE) };
            }
        }
        add = true;
    }
    // dw is [row][column][channel of x][channel of dy].
    for (row, sums) in sums.chunks_exact(SIDE * ROW).enumerate() {
        for column in (0..ROW).step_by(transpose::BLOCK) {
            for o in (0..SIDE).step_by(transpose::BLOCK) {
                // SAFETY: the sums of a row of taps are sixteen rows of ROW numbers; dw is this
                // chunk's, three times ROW rows of sixteen numbers, which this task alone writes.
                unsafe {
                    let from = sums.as_ptr().add(o * ROW + column);
                    s.transpose(from, ROW, dw.add((row * ROW + column) * SIDE + o), SIDE);
                }
            }
        }
    }
}

/// Fills `to` with pairs of x's pixels from the position `first` on, zeros after the last one.
#[inline(always)]
fn lay_out<S: Simd>(s: S, x: &[Bf16], first: usize, to: &mut [u32]) {
    const ZEROS: [Bf16; SIDE] = [Bf16::from_bits(0); SIDE];
    let pixel = |i: usize| x.get(i * SIDE..(i + 1) * SIDE).unwrap_or(&ZEROS);
    for (i, to) in to.chunks_exact_mut(SIDE).enumerate() {
        let at = first + 2 * i;
        transpose::interleave(s, pixel(at), pixel(at + 1), to);
    }
}
