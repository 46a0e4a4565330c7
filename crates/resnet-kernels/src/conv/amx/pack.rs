//! Weights as tiles read them, rounded to bf16.
//!
//! ```text
//!  panel: 32 output channels         step: 32 numbers of a run          row: 2 numbers of the reduction side by side
//!  ┌────────┬────────┬──             ┌────────────────────┐             ┌────┬────┬────┬────┬──
//!  │ step 0 │ step 1 │    ...        │ 16 rows            │             │ 0 0│ 1 0│ 0 1│ 1 1│    ... (k, channel)
//!  └────────┴────────┴──             └────────────────────┘             └────┴────┴────┴────┴──
//! ```
//!
//! A run is the taps of one row of the kernel times the channels; its last step is filled with zeros, so that what tiles of x hold
//! there does not matter. The last panel is 16 channels wide where that is enough.

use std::ops::Range;

use super::correlate::Correlation;
use super::tile::{PANEL, STEP, padded, panels};
use crate::conv::pack;
use crate::simd::{Simd, Task};
use crate::{Bf16, Number};

/// Panels that are packed together.
pub(super) const TOGETHER: usize = 2 * PANEL;

/// Packs some output channels of a group.
pub(super) struct PackTask<'a> {
    pub(super) c: &'a Correlation<'a>,
    pub(super) group: usize,
    pub(super) channels: Range<usize>,
    pub(super) w: &'a [f32],
    /// The panels of these channels.
    pub(super) packed: &'a mut [Bf16],
}

impl Task for PackTask<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackTask {
            c,
            group,
            channels,
            w,
            packed,
        } = self;
        let mut square = [0f32; STEP * PANEL];
        let len = c.layout.run();
        let per_run = len.div_ceil(STEP);
        for run in 0..c.rows.taps {
            for i in 0..per_run {
                let rows = i * STEP..((i + 1) * STEP).min(len);
                for (n, count) in panels(channels.clone()) {
                    let lanes = padded(count);
                    let square = &mut square[..STEP * lanes];
                    let (used, rest) = square.split_at_mut(rows.len() * lanes);
                    rest.fill(0.0);
                    fill(s, c, w, group, n, count, lanes, run, rows.clone(), used);
                    let first =
                        c.depth() * (n - channels.start) + (run * per_run + i) * STEP * lanes;
                    let to = packed[first..][..STEP * lanes].chunks_exact_mut(2 * lanes);
                    for (to, from) in to.zip(square.chunks_exact(2 * lanes)) {
                        let (a, b) = from.split_at(lanes);
                        for ((to, &a), &b) in to.chunks_exact_mut(2).zip(a).zip(b) {
                            (to[0], to[1]) = (Bf16::of(a), Bf16::of(b));
                        }
                    }
                }
            }
        }
    }
}

/// Fills `to` = [k][lanes] with the weights of output channels `n..n + count` of the group, zero in the other lanes; k runs over the numbers
/// `rows` of a run.
#[inline(always)]
fn fill<S: Simd>(
    s: S,
    c: &Correlation,
    w: &[f32],
    group: usize,
    n: usize,
    count: usize,
    lanes: usize,
    run: usize,
    rows: Range<usize>,
    to: &mut [f32],
) {
    let all = c.shape.c_out;
    let (depth, width) = (c.c_in / c.shape.groups, c.c_out / c.shape.groups);
    if !c.transposed {
        // w is [k][c_out] already.
        let first = (run * c.layout.run() + rows.start) * all + group * width + n;
        pack::rows(s, &w[first..], all, count, lanes, to);
        return;
    }
    let mut k = rows.start;
    while k < rows.end {
        // One tap at a time: there w is [n][depth].
        let (tap, from) = (k / depth, k % depth);
        let len = (depth - from).min(rows.end - k);
        let (row, column) = (c.rows.tap(run), c.columns.tap(tap));
        let first = ((row * c.shape.kernel + column) * width + n) * all + group * depth + from;
        let to = &mut to[(k - rows.start) * lanes..];
        pack::transposed(s, &w[first..], all, len, count, lanes, to);
        k += len;
    }
}
