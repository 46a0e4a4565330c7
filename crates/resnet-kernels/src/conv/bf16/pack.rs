//! Weights as tiles read them, rounded to bf16.
//!
//! ```text
//!  panel: 32 output channels         step: 32 numbers of a run          row: 2 numbers of the reduction side by side
//!  ┌────────┬────────┬──             ┌────────────────────┐             ┌────┬────┬────┬────┬──
//!  │ step 0 │ step 1 │    ...        │ 16 rows            │             │ 0 0│ 1 0│ 0 1│ 1 1│    ... (k, channel)
//!  └────────┴────────┴──             └────────────────────┘             └────┴────┴────┴────┴──
//! ```
//!
//! A run is the taps of one row of the kernel times the channels; its last step is filled with
//! zeros, so that no number that tiles of x hold there counts; one that is not finite makes NaN of
//! the outputs that meet it. The last panel is 16 channels wide where that is enough.

use std::ops::Range;

use super::correlate::Correlation;
use super::transpose::{BLOCK, interleave};
use crate::conv::axis::transposed;
use crate::conv::unit::{PANEL, STEP, padded, panels};
use crate::each::{Each, each};
use crate::simd::{Simd, Task};
use crate::{Bf16, Number};

/// Steps that are packed together where w has the order of the reduction.
pub(super) const STEPS: usize = 4;

/// Packs some steps of some output channels of a group.
pub(super) struct PackTask<'a> {
    pub(super) c: &'a Correlation<'a>,
    pub(super) group: usize,
    /// From a whole panel on.
    pub(super) channels: Range<usize>,
    pub(super) steps: Range<usize>,
    pub(super) w: &'a [f32],
    /// All panels of the group.
    pub(super) packed: *mut Bf16,
}

impl Task for PackTask<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackTask { c, group, channels, steps, w, packed } = self;
        let len = c.layout.run();
        let per_run = len.div_ceil(STEP);
        let mut words = [0f32; STEP * PANEL / 2];
        for step in steps {
            let (run, start) = (step / per_run, step % per_run * STEP);
            let rows = start..(start + STEP).min(len);
            for (n, count) in panels(channels.clone()) {
                let lanes = padded(count);
                let first = n * c.depth() + step * STEP * lanes;
                // SAFETY: the panel from channel n on begins at n · depth, each step takes as much
                // of it as 32 rows of the panel; tasks have different channels or steps, and the
                // group's numbers end with the last panel.
                let to = unsafe {
                    let to = packed.add(first).cast::<u32>();
                    std::slice::from_raw_parts_mut(to, STEP / 2 * lanes)
                };
                let square = Bf16::view_mut(&mut words, STEP * PANEL);
                if count < lanes || rows.len() < STEP {
                    square.fill(Bf16::default());
                }
                if c.transposed {
                    across(s, c, w, group, n, count, run, rows.clone(), square);
                    for i in (0..STEP / 2).step_by(BLOCK) {
                        for j in (0..lanes).step_by(BLOCK) {
                            // SAFETY: the square has 32 rows of 16 pairs, `to` 16 rows of `lanes`
                            // of them, at most 32; both are multiples of BLOCK. They are different
                            // memory.
                            unsafe {
                                let from = words.as_ptr().add(j * STEP / 2 + i);
                                let to = to.as_mut_ptr().cast::<f32>().add(i * lanes + j);
                                s.transpose(from, STEP / 2, to, lanes);
                            }
                        }
                    }
                } else {
                    along(s, c, w, group, n, count, run, rows.clone(), square);
                    let pairs = square.chunks_exact(2 * PANEL);
                    for (to, pair) in to.chunks_exact_mut(lanes).zip(pairs) {
                        let (a, b) = pair.split_at(PANEL);
                        interleave(s, a, b, to);
                    }
                }
            }
        }
    }
}

/// Rounds `from`.
#[inline(always)]
fn round<S: Simd>(s: S, from: &[f32], to: &mut [Bf16]) {
    assert!(to.len() >= from.len());
    let work = Round { from: from.as_ptr(), to: to.as_mut_ptr() };
    // SAFETY: both hold as many numbers, by the assertion.
    unsafe { each(s, from.len(), work) };
}

struct Round {
    from: *const f32,
    to: *mut Bf16,
}

impl Each for Round {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe { s.store_bf16(self.to.add(at), s.load(self.from.add(at))) };
    }
}

/// Fills `square` = [k][32] with the weights of output channels `n..n + count` of the group; k runs
/// over the numbers `rows` of a run.
#[inline(always)]
fn along<S: Simd>(
    s: S,
    c: &Correlation,
    w: &[f32],
    group: usize,
    n: usize,
    count: usize,
    run: usize,
    rows: Range<usize>,
    square: &mut [Bf16],
) {
    let all = c.shape.c_out;
    let first = group * (c.c_out / c.shape.groups) + n;
    for (k, to) in rows.zip(square.chunks_exact_mut(PANEL)) {
        // w is [k][c_out] already.
        round(s, &w[(run * c.layout.run() + k) * all + first..][..count], to);
    }
}

/// Fills `square` = [n][32] with the transposed weights.
#[inline(always)]
fn across<S: Simd>(
    s: S,
    c: &Correlation,
    w: &[f32],
    group: usize,
    n: usize,
    count: usize,
    run: usize,
    rows: Range<usize>,
    square: &mut [Bf16],
) {
    let all = c.shape.c_out;
    let start = rows.start;
    for (k, len, first) in transposed(c.shape, &c.rows, &c.columns, group, n, run, rows) {
        for (i, to) in square.chunks_exact_mut(STEP).take(count).enumerate() {
            round(s, &w[first + i * all..][..len], &mut to[k - start..]);
        }
    }
}
