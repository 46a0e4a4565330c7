//! Weight gradient: dw[k][o] = Σ over output pixels of x[pixel][k] · dy[pixel][o], k running over taps and channels.
//!
//! Input blocks are laid out as in the forward pass, so that k is again runs of memory. A tile of dw stays in registers
//! while it runs over some pixels, short enough that x and dy of those stay in the first-level cache for all tiles.
//! Pixels are cut into chunks by shape alone; each chunk's dw is kept apart and they are added in order, so the number of
//! threads changes nothing. Where dw is large there are few chunks, and the output channels are split instead.

use super::axis::{Axis, Blocks};
use super::stage::{Map, Staging};
use super::tile::{NARROW, WIDE, outer};
use super::{Conv2dShape, pack, scratch};
use crate::Cpu;
use crate::columns::{Columns, PARTIAL as COLUMN, Partial, Sums, as_f64, block_sums, f64_scratch};
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};

/// Tasks to aim for: balances some ten threads.
const TASKS: usize = 32;
/// Most numbers in all chunks' dw together (32 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 23;
/// Most columns of a tile: two of the widest vectors.
const LANES: usize = 32;

#[derive(Clone, Copy)]
struct Plan<'a> {
    shape: &'a Conv2dShape,
    staging: Staging,
    blocks: Blocks,
    /// Cuts of the blocks, and of a group's output channels (in units of [`LANES`]).
    chunks: usize,
    split: usize,
    /// Pixels that a tile runs over at a time.
    pixels: usize,
}

impl<'a> Plan<'a> {
    fn new(shape: &'a Conv2dShape) -> Plan<'a> {
        let Conv2dShape {
            n,
            h,
            w,
            c_in,
            c_out,
            kernel,
            stride,
            padding,
            groups,
        } = *shape;
        let rows = Axis::forward(h, shape.h_out(), kernel, stride, padding);
        let columns = Axis::forward(w, shape.w_out(), kernel, stride, padding);
        let target = (24576 * groups / c_in).clamp(192, 1024);
        let most = (u32::MAX as usize / (h * w * c_in)).max(1);
        let blocks = Blocks::new(n, rows.count, columns.count, target, most);
        let panels = (c_out / groups).div_ceil(LANES);
        let chunks = (PARTIAL / shape.w_len())
            .clamp(1, TASKS.div_ceil(groups))
            .min(blocks.count());
        let split = TASKS.div_ceil(chunks * groups).min(panels);
        let pixels = (8192 / (c_in / groups + LANES / 2)).clamp(64, 512);
        Plan {
            shape,
            staging: Staging::new(rows, columns, c_in, groups),
            blocks,
            chunks,
            split,
            pixels,
        }
    }

    /// Numbers in all partial dw; a single one is dw itself.
    fn partial(&self) -> usize {
        if self.chunks == 1 {
            0
        } else {
            self.chunks * self.shape.w_len()
        }
    }

    /// Lengths of a thread's parts of scratch: copy, offsets, dy, tile.
    fn parts(&self) -> [usize; 4] {
        let pixels = self.blocks.pixels();
        [
            self.staging.len(&self.blocks),
            pixels,
            self.pixels * LANES,
            NARROW * LANES,
        ]
    }
}

/// Numbers of scratch.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let plan = Plan::new(shape);
    bias_scratch_len(shape).max(plan.partial() + scratch::len(&plan.parts()) * cpu.threads())
}

/// Numbers of scratch for [`backward_bias`].
pub(super) fn bias_scratch_len(shape: &Conv2dShape) -> usize {
    let columns = Columns::new(shape.y_len() / shape.c_out, shape.c_out);
    f64_scratch(COLUMN * columns.width() * columns.chunks())
}

/// dw = the gradient of w, db = that of the bias.
pub(super) fn backward_weight(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    if let Some(db) = db {
        backward_bias(cpu, dy, db, scratch);
    }
    let plan = Plan::new(shape);
    let each = scratch::len(&plan.parts());
    let (partial, scratch) = scratch.split_at_mut(plan.partial());
    let single = plan.chunks == 1;
    {
        let target = Parts::new(if single { &mut *dw } else { &mut *partial });
        let scratch = Parts::new(scratch);
        let width = shape.c_out / shape.groups;
        let size = width.div_ceil(LANES).div_ceil(plan.split) * LANES;
        cpu.parallel_workers(plan.chunks * shape.groups * plan.split, |worker, task| {
            // SAFETY: no two running tasks have the same worker index.
            let scratch = unsafe { scratch.get(worker * each..(worker + 1) * each) };
            let channels = range(width, size, task % plan.split);
            let task = task / plan.split;
            let (group, chunk) = (task % shape.groups, task / shape.groups);
            if !channels.is_empty() {
                let dw = target.start_of(chunk * shape.w_len()..(chunk + 1) * shape.w_len());
                cpu.run(Gradient {
                    plan: &plan,
                    group,
                    chunk,
                    channels,
                    x,
                    dy,
                    dw,
                    scratch,
                });
            }
        });
    }
    if !single {
        add_partials(cpu, partial, dw);
    }
}

/// dw = the sum of the partial ones.
fn add_partials(cpu: &Cpu, partial: &[f32], dw: &mut [f32]) {
    let len = dw.len();
    let dw = Parts::new(dw);
    cpu.parallel(chunks(len, CHUNK), |i| {
        let part = range(len, CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let dw = unsafe { dw.get(part.clone()) };
        cpu.run(AddPartials {
            partial,
            len,
            start: part.start,
            dw,
        });
    });
}

struct AddPartials<'a> {
    partial: &'a [f32],
    len: usize,
    start: usize,
    dw: &'a mut [f32],
}

impl Task for AddPartials<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let size = self.dw.len();
        for (i, partial) in self.partial.chunks_exact(self.len).enumerate() {
            let partial = &partial[self.start..][..size];
            if i == 0 {
                self.dw.copy_from_slice(partial);
            } else {
                self.dw.iter_mut().zip(partial).for_each(|(dw, p)| *dw += p);
            }
        }
    }
}

/// One chunk's gradient for some channels of one group, written to `dw` (all of w's length).
struct Gradient<'a> {
    plan: &'a Plan<'a>,
    group: usize,
    chunk: usize,
    channels: std::ops::Range<usize>,
    x: &'a [f32],
    dy: &'a [f32],
    dw: *mut f32,
    scratch: &'a mut [f32],
}

impl Task for Gradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient {
            plan,
            group,
            chunk,
            channels,
            x,
            dy,
            dw,
            scratch,
        } = self;
        let shape = plan.shape;
        let c_out = shape.c_out;
        let [copy, offsets, packed, tile] = scratch::split(scratch, plan.parts());
        let offsets = scratch::as_u32(offsets);
        let map = Map {
            values: x,
            channels: shape.c_in,
            groups: shape.groups,
        };
        let first_channel = group * (c_out / shape.groups);
        let blocks = plan.blocks.count();
        let mut add = false;
        for b in blocks * chunk / plan.chunks..blocks * (chunk + 1) / plan.chunks {
            let block = plan.blocks.get(b);
            let x = plan.staging.stage(map, group, block, copy, offsets);
            let pixels = block.images * block.rows * plan.blocks.columns;
            let first_pixel = (block.image * shape.h_out() + block.row) * plan.blocks.columns;
            for start in (0..pixels).step_by(plan.pixels) {
                let offsets = &offsets[start..(start + plan.pixels).min(pixels)];
                let dy = &dy[(first_pixel + start) * c_out..][..offsets.len() * c_out];
                let mut n = channels.start;
                while n < channels.end {
                    let left = channels.end - n;
                    let wide = left > S::LANES;
                    let lanes = if wide { 2 * S::LANES } else { S::LANES };
                    let count = lanes.min(left);
                    let dy = if lanes == c_out && shape.groups == 1 {
                        dy
                    } else {
                        pack::rows(
                            s,
                            &dy[first_channel + n..],
                            c_out,
                            count,
                            lanes,
                            &mut packed[..offsets.len() * lanes],
                        );
                        &*packed
                    };
                    let call = Tiles {
                        x,
                        runs: shape.kernel,
                        len: plan.staging.run(),
                        pitch: plan.staging.pitch,
                        offsets,
                        dy: dy.as_ptr(),
                        add,
                        dw: dw.wrapping_add(first_channel + n),
                        c_out,
                        count,
                        tile: tile.as_mut_ptr(),
                    };
                    // SAFETY: the runs stay inside the laid-out block at every offset by the geometry of `Staging`; `dy`
                    // holds a row of `lanes` numbers for each offset; `dw` holds all of w's length, of which this task
                    // alone touches its group's channels n..n + count; `tile` holds what `parts` says.
                    unsafe {
                        if wide {
                            call.run::<S, WIDE, 2>(s);
                        } else {
                            call.run::<S, NARROW, 1>(s);
                        }
                    }
                    n += count;
                }
                add = true;
            }
        }
    }
}

/// All tiles of dw over some pixels and one panel of dy.
struct Tiles<'a> {
    x: &'a [f32],
    runs: usize,
    len: usize,
    pitch: usize,
    offsets: &'a [u32],
    dy: *const f32,
    add: bool,
    dw: *mut f32,
    c_out: usize,
    /// Columns to write; with fewer than the tile has, tiles go through `tile`.
    count: usize,
    tile: *mut f32,
}

impl Tiles<'_> {
    /// # Safety
    /// `x` holds the runs at every offset, `dy` NV vectors for each offset, `dw` runs·len rows of `c_out` numbers of which
    /// `count` columns are this caller's (initialised if `add`), `tile` MR rows of NV vectors.
    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let lanes = NV * S::LANES;
        for run in 0..self.runs {
            let mut k = 0;
            while k < self.len {
                let rows = MR.min(self.len - k);
                let x = &self.x[run * self.pitch..];
                let mut xs = [x.as_ptr(); MR];
                let mut dw = [self.dw; MR];
                // SAFETY: rows after the last one read what the last one reads and write to their row of `tile`, as all
                // rows do when there are fewer columns than lanes; the rest is as the caller vouches.
                unsafe {
                    for r in 0..MR {
                        let row = k + r.min(rows - 1);
                        xs[r] = x.as_ptr().add(row);
                        dw[r] = self.dw.add((run * self.len + row) * self.c_out);
                    }
                    if rows == MR && self.count == lanes {
                        outer::<S, MR, NV>(s, &xs, self.offsets, self.dy, lanes, self.add, &dw);
                    } else {
                        let mut through = dw;
                        for r in 0..MR {
                            through[r] = self.tile.add(r * lanes);
                            if self.add {
                                dw[r].copy_to_nonoverlapping(through[r], self.count);
                            }
                        }
                        outer::<S, MR, NV>(
                            s,
                            &xs,
                            self.offsets,
                            self.dy,
                            lanes,
                            self.add,
                            &through,
                        );
                        for r in 0..rows {
                            through[r].copy_to_nonoverlapping(dw[r], self.count);
                        }
                    }
                }
                k += MR;
            }
        }
    }
}

/// db[o] = Σ dy[pixel][o].
pub(super) fn backward_bias(cpu: &Cpu, dy: &[f32], db: &mut [f32], scratch: &mut [f32]) {
    let columns = Columns::new(dy.len() / db.len(), db.len());
    let size = COLUMN * columns.width();
    let partial = as_f64(scratch, size * columns.chunks());
    let parts = Parts::new(partial);
    cpu.parallel(columns.chunks(), |chunk| {
        // SAFETY: each chunk has its own part.
        let partial = unsafe { parts.get(chunk * size..(chunk + 1) * size) };
        cpu.run(BiasSums {
            columns,
            chunk,
            dy,
            partial,
        });
    });
    for (o, db) in db.iter_mut().enumerate() {
        let chunks = partial.chunks_exact(size);
        *db = chunks
            .flat_map(|sums| sums[o..columns.width()].iter().step_by(columns.channels))
            .sum::<f64>() as f32;
    }
}

struct BiasSums<'a> {
    columns: Columns,
    chunk: usize,
    dy: &'a [f32],
    partial: &'a mut [f64],
}

#[derive(Clone, Copy)]
struct Plain {
    dy: *const f32,
}

impl Sums for Plain {
    #[inline(always)]
    unsafe fn add<S: Simd>(self, s: S, at: usize, _: S::V, s1: S::V, s2: S::V) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vector at `at`.
        (s.add(s1, unsafe { s.load(self.dy.add(at)) }), s2)
    }
}

impl Task for BiasSums<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BiasSums {
            columns,
            chunk,
            dy,
            partial,
        } = self;
        let (start, rows, rest) = columns.chunk(chunk);
        let width = columns.width();
        let op = Plain {
            dy: dy[start * columns.channels..][..rows * width + rest].as_ptr(),
        };
        let Partial {
            first: sums,
            shift,
            s1,
            s2,
            ..
        } = Partial::new(partial, width);
        shift.fill(0.0);
        let mut row = 0;
        while row < rows || (row == rows && rest > 0) {
            let (size, end) = if row < rows {
                (columns.block().min(rows - row), width)
            } else {
                (1, rest)
            };
            let (shift, s1, s2) = (&shift[..end], &mut s1[..end], &mut s2[..end]);
            // SAFETY: dy was cut to this chunk, whose rows hold `end` columns.
            unsafe { block_sums(s, op, row * width, size, width, shift, s1, s2) };
            for (sum, &s1) in sums.iter_mut().zip(&*s1) {
                *sum += f64::from(s1);
            }
            row += size;
        }
    }
}
