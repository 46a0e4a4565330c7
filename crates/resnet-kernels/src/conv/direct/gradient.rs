//! Weight gradient: dw[k][o] = Σ over output pixels of x[pixel][k] · dy[pixel][o], k running over
//! taps and channels.
//!
//! Input blocks are laid out as in the forward pass, so that k is again runs of memory. A tile of
//! dw stays in registers while it runs over some pixels. Of those, some columns of x and a panel of
//! dy fit the first-level cache:
//!
//! ```text
//!            BLOCK columns                      panel
//!          ┌───────────────┐                  ┌───────┐
//!   PIXELS │ x             │ 6 or 4 at a time │ dy    │ PIXELS   dw tile = 6 columns of x, transposed, times the panel
//!          └───────────────┘                  └───────┘
//! ```
//!
//! Where pixels of x lie so far apart that a column falls into a few sets of that cache, the
//! columns are copied together. Pixels are cut into chunks by shape alone; each chunk's dw is kept
//! apart and they are added in order, so the number of threads changes nothing. Where dw is large
//! there are few chunks, and the output channels are split instead.

use std::ops::Range;

use super::pack;
use super::stage::Staging;
use crate::conv::axis::{Axis, Blocks, Map};
use crate::conv::bias;
use crate::conv::partials::add_partials;
use crate::conv::shape::Conv2dShape;
use crate::conv::tile::{LANES, WIDE, heights, outer, panels as panels_in};
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number, Scratch, ScratchLen, scratch};

/// Tasks to aim for: balances some ten threads.
const TASKS: usize = 32;
/// Most numbers in all chunks' dw together (32 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 23;
/// Pixels that a tile runs over at a time, and columns of x that are used together: 24 KiB of a 32
/// KiB first-level cache, the rest for dy.
const PIXELS: usize = 128;
const BLOCK: usize = 48;
/// Numbers between pixels of x from which on their columns are copied: 512 bytes leave a column
/// eight sets of the cache.
const FAR: usize = 128;

#[derive(Clone, Copy)]
struct Plan<'a> {
    shape: &'a Conv2dShape,
    staging: Staging,
    blocks: Blocks,
    /// Cuts of the blocks, and of a group's output channels (in units of [`LANES`]).
    chunks: usize,
    split: usize,
    /// Whether columns of x are copied together.
    copies: bool,
}

impl<'a> Plan<'a> {
    fn new<T: Number>(shape: &'a Conv2dShape) -> Plan<'a> {
        let Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups } = *shape;
        let rows = Axis::forward(h, shape.h_out(), kernel, stride, padding);
        let columns = Axis::forward(w, shape.w_out(), kernel, stride, padding);
        let target = (24576 * groups / c_in).clamp(192, 1024);
        let most = (u32::MAX as usize / (h * w * c_in)).max(1);
        let blocks = Blocks::new(n, rows.count, columns.count, target, most, WIDE);
        let panels = (c_out / groups).div_ceil(LANES);
        let chunks = (PARTIAL / shape.w_len()).clamp(1, TASKS.div_ceil(groups)).min(blocks.count());
        let split = TASKS.div_ceil(chunks * groups).min(panels);
        Plan {
            shape,
            staging: Staging::new::<T>(rows, columns, c_in, groups),
            blocks,
            chunks,
            split,
            copies: c_in / groups * stride >= FAR,
        }
    }

    /// Output channels of a group in a part.
    fn part(&self) -> usize {
        let width = self.shape.c_out / self.shape.groups;
        width.div_ceil(LANES).div_ceil(self.split) * LANES
    }

    /// Numbers in all partial dw; a single one is dw itself.
    fn partial(&self) -> usize {
        if self.chunks == 1 { 0 } else { self.chunks * self.shape.w_len() }
    }

    /// Lengths of a thread's parts of scratch: copy, offsets, columns of x, their offsets, panels
    /// of dy, tile.
    fn parts(&self) -> [usize; 6] {
        [
            self.staging.len(&self.blocks),
            self.blocks.pixels(),
            PIXELS * BLOCK,
            PIXELS,
            PIXELS * self.part(),
            WIDE * LANES,
        ]
    }
}

/// Numbers of scratch.
pub(in crate::conv) fn scratch_len<T: Number>(shape: &Conv2dShape) -> ScratchLen {
    let plan = Plan::new::<T>(shape);
    let shared = plan.partial().max(bias::scratch_len(shape));
    ScratchLen::of(shared, &plan.parts())
}

/// dw = the gradient of w, db = that of the bias.
pub(in crate::conv) fn backward_weight<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    mut scratch: Scratch,
) {
    if let Some(db) = db {
        bias::backward(cpu, dy, db, scratch.again().shared());
    }
    let plan = Plan::new::<T>(shape);
    let partial = scratch.take(plan.partial());
    let single = plan.chunks == 1;
    {
        let target = Parts::new(if single { &mut *dw } else { &mut *partial });
        let width = shape.c_out / shape.groups;
        let size = plan.part();
        let tasks = plan.chunks * shape.groups * plan.split;
        scratch::parallel(cpu, tasks, scratch, |own, task| {
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
                    scratch: own.memory,
                });
            }
        });
    }
    if !single {
        add_partials(cpu, partial, dw);
    }
}

/// One chunk's gradient for some channels of one group, written to `dw` (all of w's length).
struct Gradient<'a, T> {
    plan: &'a Plan<'a>,
    group: usize,
    chunk: usize,
    channels: Range<usize>,
    x: &'a [T],
    dy: &'a [T],
    dw: *mut f32,
    scratch: &'a mut [f32],
}

impl<T: Number> Task for Gradient<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { plan, group, chunk, channels, x, dy, dw, scratch } = self;
        let shape = plan.shape;
        let c_out = shape.c_out;
        let [copy, offsets, columns, own, panels, tile] = scratch::split(scratch, plan.parts());
        let (offsets, own) = (scratch::as_u32(offsets), scratch::as_u32(own));
        for (i, offset) in own.iter_mut().enumerate() {
            *offset = (i * BLOCK) as u32;
        }
        let map = Map { values: x, channels: shape.c_in, groups: shape.groups };
        let first_channel = group * (c_out / shape.groups);
        let blocks = plan.blocks.count();
        let (len, pitch) = (plan.staging.run(), plan.staging.pitch);
        let mut add = false;
        for b in blocks * chunk / plan.chunks..blocks * (chunk + 1) / plan.chunks {
            let block = plan.blocks.get(b);
            plan.staging.place(block, offsets);
            let x = plan.staging.stage(map, group, block, copy, false);
            let pixels = block.images * block.rows * plan.blocks.columns;
            let first_pixel = (block.image * shape.h_out() + block.row) * plan.blocks.columns;
            for start in (0..pixels).step_by(PIXELS) {
                let offsets = &offsets[start..(start + PIXELS).min(pixels)];
                let count = offsets.len();
                let dy = &dy[(first_pixel + start) * c_out..][..count * c_out];
                // One panel of all channels is in place already.
                let whole = c_out == channels.len() && [S::LANES, 2 * S::LANES].contains(&c_out);
                let in_place = if whole { T::in_place(dy) } else { None };
                if in_place.is_none() {
                    for (n, lanes) in panels_in::<S>(channels.clone()) {
                        let to = &mut panels[(n - channels.start) * count..][..count * lanes];
                        let used = lanes.min(channels.end - n);
                        pack::rows(s, &dy[first_channel + n..], c_out, used, lanes, to);
                    }
                }
                let panels = in_place.unwrap_or(panels);
                for k in column_blocks(shape.kernel, len) {
                    let from = &x[k.start / len * pitch + k.start % len..];
                    let (x, offsets) = if plan.copies {
                        gather(s, from, offsets, k.len(), columns);
                        (&*columns, &own[..count])
                    } else {
                        (from, offsets)
                    };
                    for (n, lanes) in panels_in::<S>(channels.clone()) {
                        let call = Tiles {
                            x,
                            offsets,
                            rows: k.len(),
                            dy: panels[(n - channels.start) * count..].as_ptr(),
                            add,
                            dw: dw.wrapping_add(k.start * c_out + first_channel + n),
                            c_out,
                            count: lanes.min(channels.end - n),
                            tile: tile.as_mut_ptr(),
                        };
                        // SAFETY: x holds the columns at every offset, by the geometry of `Staging`
                        // or by `gather`; the panel of dy a row of `lanes` numbers for each; dw all
                        // of w's length, of which this task alone touches its group's channels;
                        // `tile` what `parts` says.
                        unsafe {
                            if lanes > S::LANES {
                                call.run::<S, 2>(s);
                            } else {
                                call.run::<S, 1>(s);
                            }
                        }
                    }
                }
                add = true;
            }
        }
    }
}

/// Columns of x that are used together: at most [`BLOCK`], of one run of `len`.
#[inline(always)]
fn column_blocks(runs: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        let left = (runs * len - start).min(len - start % len.max(1));
        next += left.min(BLOCK);
        (left > 0).then_some(start..next)
    })
}

/// Copies `count` numbers at each offset together, [`BLOCK`] apart.
#[inline(always)]
fn gather<S: Simd>(s: S, x: &[f32], offsets: &[u32], count: usize, columns: &mut [f32]) {
    assert!(count <= BLOCK && columns.len() >= offsets.len() * BLOCK);
    let whole = count / S::LANES * S::LANES;
    for (&offset, to) in offsets.iter().zip(columns.chunks_exact_mut(BLOCK)) {
        let from = &x[offset as usize..][..count];
        for at in (0..whole).step_by(S::LANES) {
            // SAFETY: both hold `count` numbers.
            unsafe { s.store(to.as_mut_ptr().add(at), s.load(from.as_ptr().add(at))) };
        }
        to[whole..count].copy_from_slice(&from[whole..count]);
    }
}

/// All tiles of some rows of dw and one panel of dy.
struct Tiles<'a> {
    /// Column r of x begins at r.
    x: &'a [f32],
    offsets: &'a [u32],
    rows: usize,
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
    /// `x` holds `rows` numbers at every offset, `dy` NV vectors for each offset, `dw` `rows` rows
    /// of `c_out` numbers of which `count` columns are this caller's (initialised if `add`), `tile`
    /// [`WIDE`] rows of NV vectors.
    #[inline(always)]
    unsafe fn run<S: Simd, const NV: usize>(&self, s: S) {
        for (k, height) in heights(self.rows) {
            // SAFETY: as the caller vouches.
            unsafe {
                if height == WIDE {
                    self.tile::<S, WIDE, NV>(s, k, WIDE.min(self.rows - k));
                } else {
                    self.tile::<S, 4, NV>(s, k, 4);
                }
            }
        }
    }

    /// `rows` rows of dw from `k` on.
    ///
    /// # Safety
    /// As for [`Tiles::run`]; `rows` is from 1 to MR, `k + rows` at most all rows.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, s: S, k: usize, rows: usize) {
        let lanes = NV * S::LANES;
        let mut x = [self.x.as_ptr(); MR];
        let mut dw = [self.dw; MR];
        // SAFETY: rows after the last one read what the last one reads and write to their row of
        // `tile`, as all rows do when there are fewer columns than lanes; the rest is as the caller
        // vouches.
        unsafe {
            for r in 0..MR {
                let row = k + r.min(rows - 1);
                x[r] = self.x.as_ptr().add(row);
                dw[r] = self.dw.add(row * self.c_out);
            }
            let through = rows < MR || self.count < lanes;
            let mut to = dw;
            if through {
                for r in 0..MR {
                    to[r] = self.tile.add(r * lanes);
                    if self.add {
                        dw[r].copy_to_nonoverlapping(to[r], self.count);
                    }
                }
            }
            let offsets = self.offsets.iter().map(|&at| at as usize);
            outer::<S, MR, NV>(s, &x, offsets, self.dy, lanes, self.add, &to);
            if through {
                for r in 0..rows {
                    to[r].copy_to_nonoverlapping(dw[r], self.count);
                }
            }
        }
    }
}
