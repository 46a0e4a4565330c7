//! Forward pass and input gradient: blocks of outputs, laid out by [`Staging`], times panels of weights.
//!
//! Weights are packed first, into panels [k][lanes] of two vectors of output channels, by all threads for all blocks. For each block,
//! each panel and each part of the reduction that fits the first-level cache, all tiles of the block run over the part. Every
//! output is summed in one fixed order, whatever the blocks, so neither they nor the number of threads change a bit.

use super::axis::{Axis, Block, Blocks};
use super::stage::{Map, Staging};
use super::tile::{NARROW, Runs, WIDE, dot};
use super::{Conv2dShape, Epilogue, pack, scratch};
use crate::Cpu;
use crate::cpu::Parts;
use crate::simd::{One, Simd, Task};
use crate::split::range;

/// Rows of weights in a panel: 384 x 16 numbers are 24 KiB, three quarters of a 32 KiB first-level cache.
const PANEL: usize = 384;
/// Most columns of a panel: two of the widest vectors.
const LANES: usize = 32;
/// Columns that are packed together, and rows: a row of w is read in pieces longer than a cache line, and what a piece brings
/// with it is still there for the next panel.
const PACK: (usize, usize) = (64, 64);

/// A correlation: x [n][..][..][c_in] to y [n][..][..][c_out], per group.
#[derive(Clone, Copy)]
struct Correlation<'a> {
    shape: &'a Conv2dShape,
    /// Whether this is the input gradient, so that weights are read transposed.
    transposed: bool,
    staging: Staging,
    blocks: Blocks,
    /// Channels of x and y, all groups.
    c_in: usize,
    c_out: usize,
    /// Output map's sides.
    h_out: usize,
    w_out: usize,
    /// Parts that a group's output channels are cut into, in panels.
    split: usize,
}

/// Numbers of scratch for both passes, packed weights of the backward pass included.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let mut most = 0;
    each(cpu, shape, false, |c| most = most.max(c.scratch_len(cpu)));
    each(cpu, shape, true, |c| {
        most = most.max(scratch::len(&[c.packed_len()]) + c.scratch_len(cpu));
    });
    most
}

/// Numbers of the weights packed for [`forward`].
pub(super) fn packed_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let mut len = 0;
    each(cpu, shape, false, |c| len = c.packed_len());
    len
}

/// Packs w for [`forward`].
pub(super) fn pack(cpu: &Cpu, shape: &Conv2dShape, w: &[f32], packed: &mut [f32]) {
    each(cpu, shape, false, |c| c.pack(cpu, w, packed));
}

/// y = x * w, and what `epilogue` makes of it.
pub(super) fn forward(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[f32],
    packed: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    each(cpu, shape, false, |c| {
        c.run(cpu, x, packed, epilogue, y, false, scratch)
    });
}

/// dx (+)= dy * wᵀ.
pub(super) fn backward_input(
    cpu: &Cpu,
    shape: &Conv2dShape,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: &mut [f32],
) {
    each(cpu, shape, true, |c| {
        let len = [c.packed_len()];
        let (packed, scratch) = scratch.split_at_mut(scratch::len(&len));
        let [packed] = scratch::split(packed, len);
        c.pack(cpu, w, packed);
        c.run(
            cpu,
            dy,
            packed,
            Epilogue::default(),
            dx,
            accumulate,
            scratch,
        );
    });
}

/// Calls `f` with the correlations that a pass consists of: one forward, stride² backward.
fn each(cpu: &Cpu, shape: &Conv2dShape, transposed: bool, mut f: impl FnMut(Correlation)) {
    let Conv2dShape {
        h,
        w,
        kernel,
        stride,
        padding,
        ..
    } = *shape;
    let (h_out, w_out) = (shape.h_out(), shape.w_out());
    if !transposed {
        let rows = Axis::forward(h, h_out, kernel, stride, padding);
        let columns = Axis::forward(w, w_out, kernel, stride, padding);
        return f(Correlation::new(cpu, shape, false, rows, columns));
    }
    for a in 0..stride {
        for b in 0..stride {
            let rows = Axis::backward(h, h_out, kernel, stride, padding, a);
            let columns = Axis::backward(w, w_out, kernel, stride, padding, b);
            if rows.count > 0 && columns.count > 0 {
                f(Correlation::new(cpu, shape, true, rows, columns));
            }
        }
    }
}

impl<'a> Correlation<'a> {
    fn new(
        cpu: &Cpu,
        shape: &'a Conv2dShape,
        transposed: bool,
        rows: Axis,
        columns: Axis,
    ) -> Correlation<'a> {
        let (mut c_in, mut c_out) = (shape.c_in, shape.c_out);
        let (mut h_out, mut w_out) = (shape.h_out(), shape.w_out());
        if transposed {
            (c_in, c_out) = (c_out, c_in);
            (h_out, w_out) = (shape.h, shape.w);
        }
        let staging = Staging::new(rows, columns, c_in, shape.groups);
        // A block's input is about a fifth of a 512 KiB second-level cache, and has enough pixels to pay for packing.
        let mut target = (24576 * shape.groups / c_in).clamp(192, 2048);
        // Offsets within a block are 32-bit.
        let image = (rows.len * columns.len * c_in).max(h_out * w_out * c_out);
        let most = (u32::MAX as usize / image).max(1);
        let wanted = 4 * cpu.threads();
        let blocks = loop {
            let blocks = Blocks::new(shape.n, rows.count, columns.count, target, most);
            if blocks.count() * shape.groups >= wanted || target <= 128 {
                break blocks;
            }
            target /= 2;
        };
        let panels = (c_out / shape.groups).div_ceil(LANES);
        let split = if cpu.threads() == 1 {
            1
        } else {
            wanted.div_ceil(blocks.count() * shape.groups).min(panels)
        };
        Correlation {
            shape,
            transposed,
            staging,
            blocks,
            c_in,
            c_out,
            h_out,
            w_out,
            split,
        }
    }

    /// Terms of an output's sum.
    fn depth(&self) -> usize {
        self.staging.rows.taps * self.staging.run()
    }

    /// Numbers of a group's packed weights: panels of all its terms, the last one perhaps wider than the channels left.
    fn group_len(&self) -> usize {
        self.depth() * (self.c_out / self.shape.groups).next_multiple_of(LANES / 2)
    }

    fn packed_len(&self) -> usize {
        self.group_len() * self.shape.groups
    }

    fn pack(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        let width = self.c_out / self.shape.groups;
        let pieces = width.div_ceil(PACK.0);
        let packed = Parts::new(packed);
        cpu.parallel(self.shape.groups * pieces, |task| {
            let group = task / pieces;
            let start = group * self.group_len();
            cpu.run(PackTask {
                c: self,
                group,
                channels: range(width, PACK.0, task % pieces),
                w,
                packed: packed.start_of(start..start + self.group_len()),
            });
        });
    }

    /// Lengths of a thread's parts of scratch: copy, offsets of inputs and outputs, start, tile.
    fn parts(&self) -> [usize; 5] {
        let pixels = self.blocks.pixels();
        [
            self.staging.len(&self.blocks),
            pixels,
            pixels,
            LANES,
            NARROW * LANES,
        ]
    }

    fn scratch_len(&self, cpu: &Cpu) -> usize {
        scratch::len(&self.parts()) * cpu.threads()
    }

    fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        packed: &[f32],
        epilogue: Epilogue,
        y: &mut [f32],
        accumulate: bool,
        scratch: &mut [f32],
    ) {
        let groups = self.shape.groups;
        let each = scratch::len(&self.parts());
        let (scratch, y) = (Parts::new(scratch), Parts::new(y));
        let panels = (self.c_out / groups).div_ceil(LANES);
        let size = panels.div_ceil(self.split) * LANES;
        let tasks = self.blocks.count() * groups * self.split;
        cpu.parallel_workers(tasks, |worker, task| {
            // SAFETY: no two running tasks have the same worker index.
            let scratch = unsafe { scratch.get(worker * each..(worker + 1) * each) };
            let part = range(self.c_out / groups, size, task % self.split);
            if part.is_empty() {
                return;
            }
            let task = task / self.split;
            cpu.run(BlockTask {
                c: self,
                group: task % groups,
                block: self.blocks.get(task / groups),
                channels: part,
                x,
                packed: &packed[task % groups * self.group_len()..][..self.group_len()],
                epilogue,
                y,
                accumulate,
                scratch,
            });
        });
    }
}

/// One block of outputs, some channels of one group.
struct BlockTask<'a> {
    c: &'a Correlation<'a>,
    group: usize,
    block: Block,
    channels: std::ops::Range<usize>,
    x: &'a [f32],
    /// The group's.
    packed: &'a [f32],
    epilogue: Epilogue<'a>,
    y: Parts<'a>,
    accumulate: bool,
    scratch: &'a mut [f32],
}

impl Task for BlockTask<'_> {
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
            scratch,
        } = self;
        let [copy, from, to, start, tile] = scratch::split(scratch, c.parts());
        let (from, to) = (scratch::as_u32(from), scratch::as_u32(to));
        let map = Map {
            values: x,
            channels: c.c_in,
            groups: c.shape.groups,
        };
        let x = c.staging.stage(map, group, block, copy, from);
        let pixels = output_offsets(c, block, to);
        let (from, to) = (&from[..pixels], &to[..pixels]);
        let image = c.h_out * c.w_out * c.c_out;
        let first_channel = group * (c.c_out / c.shape.groups);
        // Other tasks write other numbers of the same images, so only a pointer is kept.
        let y = y.start_of(block.image * image..(block.image + block.images) * image);
        let (bias, epilogue) = epilogue.start();

        let mut n = channels.start;
        while n < channels.end {
            let left = channels.end - n;
            let wide = left > S::LANES;
            let lanes = if wide { 2 * S::LANES } else { S::LANES };
            let count = lanes.min(left);
            for (j, start) in start[..lanes].iter_mut().enumerate() {
                *start = bias
                    .filter(|_| j < count)
                    .map_or(0.0, |bias| bias[first_channel + n + j]);
            }
            let mut continues = accumulate;
            for k in Reduction::new(c.staging.rows.taps, c.staging.run()) {
                let first = n * c.depth() + (k.run * c.staging.run() + k.offset) * lanes;
                let panel = &packed[first..][..k.runs * k.len * lanes];
                let call = Tiles {
                    x: x[k.run * c.staging.pitch + k.offset..].as_ptr(),
                    from,
                    runs: Runs {
                        runs: k.runs,
                        len: k.len,
                        pitch: c.staging.pitch,
                    },
                    panel: panel.as_ptr(),
                    start: if continues {
                        std::ptr::null()
                    } else {
                        start.as_ptr()
                    },
                    y: y.wrapping_add(first_channel + n),
                    to,
                    count,
                    tile: tile.as_mut_ptr(),
                };
                // SAFETY: `from` and the runs stay inside the laid-out block by the geometry of `Staging`, `to` inside the
                // images that `y` starts, where this task alone touches its pixels and channels; `panel` holds the
                // rows of `k`; `start` and `tile` hold what `parts` says.
                unsafe {
                    if wide {
                        call.run::<S, WIDE, 2>(s);
                    } else {
                        call.run::<S, NARROW, 1>(s);
                    }
                }
                continues = true;
            }
            n += count;
        }
        if !epilogue.is_nothing() {
            let channel = first_channel + channels.start;
            // SAFETY: this task has just written these channels at every offset; lengths were checked on entry.
            unsafe {
                finish(
                    s,
                    &epilogue,
                    y,
                    to,
                    block.image * image,
                    channel,
                    channels.len(),
                )
            };
        }
    }
}

/// Applies the epilogue to `count` channels from `channel` on of the outputs at the offsets `to` from y, which is `first` numbers
/// from the start of the output.
///
/// # Safety
/// y holds `count` numbers from `channel` on at every offset, none of them read or written by another task meanwhile.
#[inline(always)]
unsafe fn finish<S: Simd>(
    s: S,
    epilogue: &Epilogue,
    y: *mut f32,
    to: &[u32],
    first: usize,
    channel: usize,
    count: usize,
) {
    let whole = count / S::LANES * S::LANES;
    for &to in to {
        let at = to as usize + channel;
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and of y.
        unsafe {
            for j in (0..whole).step_by(S::LANES) {
                let y = y.add(at + j);
                s.store(y, epilogue.apply(s, s.load(y), channel + j, first + at + j));
            }
            for j in whole..count {
                let y = y.add(at + j);
                *y = epilogue.apply(One, *y, channel + j, first + at + j);
            }
        }
    }
}

/// Fills `to` with the offset of every output from the start of the block's first image; returns how many there are.
fn output_offsets(c: &Correlation, block: Block, to: &mut [u32]) -> usize {
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
    block.images * block.rows * columns.count
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
        Some(Part {
            run,
            runs,
            offset,
            len,
        })
    }
}

/// Packs some output channels of a group.
struct PackTask<'a> {
    c: &'a Correlation<'a>,
    group: usize,
    channels: std::ops::Range<usize>,
    w: &'a [f32],
    /// The group's panels.
    packed: *mut f32,
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
        let len = c.staging.run();
        for run in 0..c.staging.rows.taps {
            for offset in (0..len).step_by(PACK.1) {
                let k = Part {
                    run,
                    runs: 1,
                    offset,
                    len: PACK.1.min(len - offset),
                };
                let mut n = channels.start;
                while n < channels.end {
                    let left = channels.end - n;
                    let lanes = if left > S::LANES {
                        2 * S::LANES
                    } else {
                        S::LANES
                    };
                    let count = lanes.min(left);
                    let first = n * c.depth() + (run * len + offset) * lanes;
                    // SAFETY: a panel of `depth` rows of `lanes` numbers begins at n · depth, channels begin at multiples of PACK, and
                    // panels do not overlap; the last one ends within the group's numbers, which are rounded up to a multiple of
                    // the widest vector.
                    let panel =
                        unsafe { std::slice::from_raw_parts_mut(packed.add(first), k.len * lanes) };
                    fill(s, c, w, group, n, count, lanes, &k, panel);
                    n += count;
                }
            }
        }
    }
}

/// Fills `panel` = [k][lanes] with the weights of output channels `n..n + count` of the group, zero in the other lanes.
#[inline(always)]
fn fill<S: Simd>(
    s: S,
    c: &Correlation,
    w: &[f32],
    group: usize,
    n: usize,
    count: usize,
    lanes: usize,
    k: &Part,
    panel: &mut [f32],
) {
    let all = c.shape.c_out;
    let rows = k.runs * k.len;
    let panel = &mut panel[..rows * lanes];
    if !c.transposed {
        // w is [k][c_out] already.
        let first =
            (k.run * c.staging.run() + k.offset) * all + group * (c.c_out / c.shape.groups) + n;
        pack::rows(
            s,
            w.get(first..).unwrap_or_default(),
            all,
            count,
            lanes,
            panel,
        );
        return;
    }
    let (depth, width) = (c.c_in / c.shape.groups, c.c_out / c.shape.groups);
    let mut done = 0;
    while done < rows {
        // One tap at a time: there w is [n][depth].
        let at = k.offset + done % k.len;
        let (tap, from) = (at / depth, at % depth);
        let len = (depth - from).min(k.len - done % k.len);
        let (row, column) = (
            c.staging.rows.tap(k.run + done / k.len),
            c.staging.columns.tap(tap),
        );
        let first = ((row * c.shape.kernel + column) * width + n) * all + group * depth + from;
        pack::transposed(
            s,
            &w[first..],
            all,
            len,
            count,
            lanes,
            &mut panel[done * lanes..],
        );
        done += len;
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
    /// `x` is valid for the runs at every offset of `from`, `panel` for their rows of NV vectors, `start` is null or valid
    /// for NV vectors, `y` for `count` numbers at every offset of `to` (initialised if `start` is null), `tile` for MR
    /// rows of NV vectors.
    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let lanes = NV * S::LANES;
        let pixels = self.from.len();
        let mut p = 0;
        while p < pixels {
            let rows = MR.min(pixels - p);
            let mut x = [self.x; MR];
            let mut y = [self.y; MR];
            // SAFETY: offsets are valid as the caller vouches. Rows after the last pixel read what the last one reads and
            // write to their row of `tile`, as all rows do when there are fewer columns than lanes.
            unsafe {
                let through = rows < MR || self.count < lanes;
                for r in 0..MR {
                    let pixel = (p + r).min(pixels - 1);
                    x[r] = self.x.add(self.from[pixel] as usize);
                    y[r] = self.y.add(self.to[pixel] as usize);
                }
                if !through {
                    dot::<S, MR, NV>(s, &x, self.runs, self.panel, self.start, &y);
                } else {
                    let mut through = y;
                    for r in 0..MR {
                        through[r] = self.tile.add(r * lanes);
                        if self.start.is_null() {
                            y[r].copy_to_nonoverlapping(through[r], self.count);
                        }
                    }
                    dot::<S, MR, NV>(s, &x, self.runs, self.panel, self.start, &through);
                    for r in 0..rows {
                        through[r].copy_to_nonoverlapping(y[r], self.count);
                    }
                }
            }
            p += MR;
        }
    }
}
