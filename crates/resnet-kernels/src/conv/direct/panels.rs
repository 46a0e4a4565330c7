//! Weights as the blocks read them: panels [k][lanes] of two vectors of output channels, the whole
//! reduction in each.

use std::marker::PhantomData;
use std::ops::Range;

use super::correlate::Correlation;
use super::pack;
use crate::Number;
use crate::conv::axis::transposed;
use crate::conv::tile::panels;
use crate::simd::{Simd, Task};

/// Columns that are packed together, and rows: a row of w is read in pieces longer than a cache
/// line, and what a piece brings with it is still there for the next panel.
pub(super) const PACK: (usize, usize) = (64, 64);

/// Packs some output channels of a group, rounded as maps are stored.
pub(super) struct PackTask<'a, T> {
    pub(super) c: &'a Correlation<'a>,
    pub(super) group: usize,
    pub(super) channels: Range<usize>,
    pub(super) w: &'a [f32],
    /// The group's panels.
    pub(super) packed: *mut f32,
    pub(super) stored: PhantomData<T>,
}

impl<T: Number> Task for PackTask<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackTask { c, group, channels, w, packed, .. } = self;
        let len = c.staging.run();
        for run in 0..c.staging.rows.taps {
            for offset in (0..len).step_by(PACK.1) {
                let rows = offset..(offset + PACK.1).min(len);
                for (n, lanes) in panels::<S>(channels.clone()) {
                    let count = lanes.min(channels.end - n);
                    let first = n * c.depth() + (run * len + offset) * lanes;
                    // SAFETY: a panel of `depth` rows of `lanes` numbers begins at n · depth,
                    // channels begin at multiples of PACK, and panels do not overlap; the last one
                    // ends within the group's numbers, which are rounded up to a multiple of the
                    // widest vector.
                    let panel = unsafe {
                        std::slice::from_raw_parts_mut(packed.add(first), rows.len() * lanes)
                    };
                    fill(s, c, w, group, n, count, lanes, run, rows.clone(), panel);
                    panel.iter_mut().for_each(|w| *w = T::of(*w).get());
                }
            }
        }
    }
}

/// Fills `panel` = [k][lanes] with the weights of output channels `n..n + count` of the group, zero
/// in the other lanes; k runs over the numbers `rows` of a run.
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
    panel: &mut [f32],
) {
    let all = c.shape.c_out;
    if !c.transposed {
        // w is [k][c_out] already.
        let first =
            (run * c.staging.run() + rows.start) * all + group * (c.c_out / c.shape.groups) + n;
        pack::rows(s, &w[first..], all, count, lanes, panel);
        return;
    }
    let (axis_rows, columns) = (&c.staging.rows, &c.staging.columns);
    for (k, len, first) in transposed(c.shape, axis_rows, columns, group, n, run, rows.clone()) {
        let to = &mut panel[(k - rows.start) * lanes..];
        pack::transposed(s, &w[first..], all, len, count, lanes, to);
    }
}
