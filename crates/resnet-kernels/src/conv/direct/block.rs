//! One block of outputs: for each panel of weights and each part of the reduction that fits the
//! first-level cache, all tiles of the block run over the part. Every output is summed in one fixed
//! order, whatever the blocks, so neither they nor the number of threads change a bit.

use std::ops::Range;

use super::correlate::Correlation;
use crate::conv::axis::{Block, Map};
use crate::conv::epilogue::Epilogue;
use crate::conv::outputs::Outputs;
use crate::conv::tile::{Ahead, LANES, NARROW, Runs, WIDE, dot, panels};
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::{Number, scratch};

/// Rows of weights in a panel: 384 x 16 numbers are 24 KiB, three quarters of a 32 KiB first-level
/// cache (384 x 32, with AVX-512, all of 48 KiB).
const PANEL: usize = 384;

/// One block of outputs, some channels of one group.
pub(super) struct BlockTask<'a, T> {
    pub(super) c: &'a Correlation<'a>,
    pub(super) group: usize,
    pub(super) block: Block,
    pub(super) channels: Range<usize>,
    pub(super) x: &'a [T],
    /// The group's.
    pub(super) packed: &'a [f32],
    pub(super) epilogue: Epilogue<'a, T>,
    pub(super) y: Parts<'a, T>,
    pub(super) accumulate: bool,
    /// Whether the block is laid out in scratch, with the offsets of its pixels.
    pub(super) laid_out: bool,
    pub(super) scratch: &'a mut [f32],
}

impl<T: Number> Task for BlockTask<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BlockTask {
            c,
            group,
            block,
            channels,
            x,
            packed,
            epilogue,
            y,
            accumulate,
            laid_out,
            scratch,
        } = self;
        let [copy, from, to, own, start, tile, sums] = scratch::split(scratch, c.parts::<T>());
        let [from, to, own] = [from, to, own].map(scratch::as_u32);
        let map = Map { values: x, channels: c.c_in, groups: c.shape.groups };
        if !laid_out {
            c.staging.place(block, from);
            output_offsets(c, block, to);
        }
        let x = c.staging.stage(map, group, block, copy, laid_out);
        let pixels = block.images * block.rows * c.staging.columns.count;
        let (from, to) = (&from[..pixels], &to[..pixels]);
        let image = c.h_out * c.w_out * c.c_out;
        let first_channel = group * (c.c_out / c.shape.groups);
        // Other tasks write other numbers of the same images, so only a pointer is kept.
        let y = y.start_of(block.image * image..(block.image + block.images) * image);
        let (bias, epilogue) = epilogue.start();
        let in_y = T::as_sums(y);
        for (i, offset) in own.iter_mut().enumerate() {
            *offset = (i * LANES) as u32;
        }

        for (n, lanes) in panels::<S>(channels.clone()) {
            let count = lanes.min(channels.end - n);
            for (j, start) in start[..lanes].iter_mut().enumerate() {
                *start = bias.filter(|_| j < count).map_or(0.0, |bias| bias[first_channel + n + j]);
            }
            let (sums_at, sums_to) = match in_y {
                Some(y) => (y.wrapping_add(first_channel + n), to),
                None => (sums.as_mut_ptr(), &own[..pixels]),
            };
            let mut continues = accumulate && in_y.is_some();
            for k in Reduction::new(c.staging.rows.taps, c.staging.run()) {
                let first = n * c.depth() + (k.run * c.staging.run() + k.offset) * lanes;
                let panel = &packed[first..][..k.runs * k.len * lanes];
                let call = Tiles {
                    x: x[k.run * c.staging.pitch + k.offset..].as_ptr(),
                    from,
                    runs: Runs { runs: k.runs, len: k.len, pitch: c.staging.pitch },
                    panel: panel.as_ptr(),
                    start: if continues { std::ptr::null() } else { start.as_ptr() },
                    y: sums_at,
                    to: sums_to,
                    count,
                    tile: tile.as_mut_ptr(),
                };
                // SAFETY: `from` and the runs stay inside the block, which this task or the
                // thread's task before laid out, by the geometry of `Staging`, `to` inside the
                // images that `y` starts, where this task alone touches its pixels and channels,
                // `own` inside `sums`; `panel` holds the rows of `k`; `start`, `tile` and `sums`
                // hold what `parts` says.
                unsafe {
                    if lanes > S::LANES {
                        call.run::<S, WIDE, 2>(s);
                    } else {
                        call.run::<S, NARROW, 1>(s);
                    }
                }
                continues = true;
            }
            if in_y.is_none() {
                let outputs = Outputs {
                    epilogue: &epilogue,
                    y,
                    to,
                    first: block.image * image,
                    channel: first_channel + n,
                    count,
                };
                // SAFETY: this task alone touches these channels at every offset; `sums` holds a
                // row for each.
                unsafe { outputs.write(s, sums, accumulate) };
            }
        }
        if let Some(y) = in_y
            && !epilogue.is_nothing()
        {
            let outputs = Outputs {
                epilogue: &epilogue,
                y,
                to,
                first: block.image * image,
                channel: first_channel + channels.start,
                count: channels.len(),
            };
            // SAFETY: this task has just written these channels at every offset; lengths were
            // checked on entry.
            unsafe { outputs.finish(s) };
        }
    }
}

/// Fills `to` with the offset of every output from the start of the block's first image.
fn output_offsets(c: &Correlation, block: Block, to: &mut [u32]) {
    let (rows, columns) = (c.staging.rows, c.staging.columns);
    let mut outputs = to.iter_mut();
    for image in 0..block.images {
        for i in 0..block.rows {
            let row = image * c.h_out + rows.out_first + (block.row + i) * rows.out_step;
            for (j, to) in (0..columns.count).zip(outputs.by_ref()) {
                *to = ((row * c.w_out + columns.out_first + j * columns.out_step) * c.c_out) as u32;
            }
        }
    }
}

/// A part of the reduction: `len` numbers from `offset` on of each of `runs` runs from `run` on.
struct Part {
    run: usize,
    runs: usize,
    offset: usize,
    len: usize,
}

/// The parts, in order, each of at most [`PANEL`] numbers; at least one, perhaps empty.
struct Reduction {
    runs: usize,
    len: usize,
    /// Runs in a part, or 1 and numbers of a run in a part.
    step_runs: usize,
    step_len: usize,
    next: Option<(usize, usize)>,
}

impl Reduction {
    fn new(runs: usize, len: usize) -> Reduction {
        let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most)).max(1);
        let (step_runs, step_len) = match PANEL / len.max(1) {
            0 => (1, even(len, PANEL)),
            most => (even(runs.max(1), most), len),
        };
        Reduction {
            runs: if len == 0 { 0 } else { runs },
            len,
            step_runs,
            step_len,
            next: Some((0, 0)),
        }
    }
}

impl Iterator for Reduction {
    type Item = Part;

    #[inline(always)]
    fn next(&mut self) -> Option<Part> {
        let (run, offset) = self.next?;
        let runs = self.step_runs.min(self.runs - run);
        let len = self.step_len.min(self.len - offset);
        self.next = if offset + len < self.len && runs > 0 {
            Some((run, offset + len))
        } else if run + runs < self.runs {
            Some((run + runs, 0))
        } else {
            None
        };
        Some(Part { run, runs, offset, len })
    }
}

/// All tiles of a block over one panel.
struct Tiles<'a> {
    x: *const f32,
    from: &'a [u32],
    runs: Runs,
    panel: *const f32,
    start: *const f32,
    y: *mut f32,
    to: &'a [u32],
    /// Columns to write; with fewer than the tile has, tiles go through `tile`.
    count: usize,
    tile: *mut f32,
}

impl Tiles<'_> {
    /// # Safety
    /// `x` is valid for the runs at every offset of `from`, `panel` for their rows of NV vectors,
    /// `start` is null or valid for NV vectors, `y` for `count` numbers at every offset of `to`
    /// (initialised if `start` is null), `tile` for MR rows of NV vectors.
    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let lanes = NV * S::LANES;
        let pixels = self.from.len();
        let mut p = 0;
        while p < pixels {
            let rows = MR.min(pixels - p);
            let mut x = [self.x; MR];
            let mut y = [self.y; MR];
            // SAFETY: offsets are valid as the caller vouches. Rows after the last pixel read what
            // the last one reads and write to their row of `tile`, as all rows do when there are
            // fewer columns than lanes.
            unsafe {
                let through = rows < MR || self.count < lanes;
                for r in 0..MR {
                    let pixel = (p + r).min(pixels - 1);
                    x[r] = self.x.add(self.from[pixel] as usize);
                    y[r] = self.y.add(self.to[pixel] as usize);
                }
                let mut ahead = None;
                let mut to = y;
                if through {
                    for r in 0..MR {
                        to[r] = self.tile.add(r * lanes);
                        if self.start.is_null() {
                            y[r].copy_to_nonoverlapping(to[r], self.count);
                        }
                    }
                } else {
                    let depth = self.runs.runs * self.runs.len;
                    let next = self.panel.wrapping_add(depth * lanes);
                    ahead = Ahead::share(next, depth, lanes, p / MR, pixels.div_ceil(MR));
                }
                dot::<S, MR, NV>(s, &x, self.runs, self.panel, self.start, &to, ahead);
                if through {
                    for r in 0..rows {
                        to[r].copy_to_nonoverlapping(y[r], self.count);
                    }
                }
            }
            p += MR;
        }
    }
}
