//! Weight gradient: dw[k][o] = Σ over output pixels of x[pixel][k] · dy[pixel][o], k running over taps and channels.
//!
//! ```text
//!  x transposed: a channel's pixels in a row         dy: pairs of pixels, a panel of 32 channels
//!
//!      ┌──────────────────────────┐                    ┌────┬────┐
//!      │ zeros of the rim, pixels │                    │    │    │ a pixel
//!   16 │ [···32···]               │  channels          ├────┼────┤
//!      │   [···32···]             │                    │  zeros  │ no output's position
//!      └──────────────────────────┘                    └────┴────┘
//!          a tap is another place to begin
//! ```
//!
//! Blocks are laid out as in the forward pass, with the rim, and transposed; dy is laid out by the same positions. Then a tile of x
//! for one tap is 16 rows of 32 neighbouring positions, and all taps use the same dy. Tiles of dw stay in registers over the positions
//! whose dy fits the first-level cache, wait in a panel of sums of the second-level cache meanwhile, and are added to dw once a
//! block. Where there are too few channels to fill a tile, each tap's rows are copied out, so that tiles take rows of several taps.
//!
//! Blocks are cut into chunks by shape alone; each chunk's dw is kept apart and they are added in order, so the number of threads
//! changes nothing. Where dw is large there are few chunks, and channels on both sides are split instead.

use std::ops::Range;

use super::layout::{Laid, Layout};
use super::tile::{MOST, PANEL, Product, SIDE, STEP, Tiles, height, padded, panels};
use super::{WIDE, transpose};
use crate::conv::axis::{Axis, Blocks, Map, flat};
use crate::conv::outputs::NONE;
use crate::conv::{Conv2dShape, bias, direct, scratch};
use crate::cpu::Parts;
use crate::simd::{Amx, One, Simd, Task};
use crate::split::range;
use crate::{Bf16, Cpu, Number};

/// Tasks to aim for: each lays x and dy out for itself, so that more cost more.
const TASKS: usize = 8;
/// Most chunks, where dw is small.
const CHUNKS: usize = 32;
/// Most numbers in all chunks' dw together (2 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 19;
/// Most numbers of x transposed (768 KiB), and of dy in pairs (512 KiB): of a second-level cache of 2 MiB.
const X: usize = 384 << 10;
const DY: usize = 256 << 10;
/// Steps between visits to a tile of dw: 32 KiB of dy in a first-level cache of 48.
const PART: usize = 16;

#[derive(Clone, Copy)]
struct Plan {
    shape: Conv2dShape,
    rows: Axis,
    columns: Axis,
    layout: Layout,
    blocks: Blocks,
    /// Cuts of the blocks, and of a group's channels of x and dy (the latter in units of [`PANEL`]).
    chunks: usize,
    split_in: usize,
    split_out: usize,
    /// Input channels in a part.
    channels: usize,
}

impl Plan {
    fn new(shape: &Conv2dShape) -> Plan {
        let shape = flat(shape);
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
        } = shape;
        let rows = Axis::forward(h, shape.h_out(), kernel, stride, padding);
        let columns = Axis::forward(w, shape.w_out(), kernel, stride, padding);
        let (width_in, width_out) = (c_in / groups, c_out / groups);
        let most = (PARTIAL / shape.w_len()).clamp(1, CHUNKS.div_ceil(groups));
        let wanted = TASKS.div_ceil(most * groups);
        let panels = width_out.div_ceil(PANEL);
        // x is laid out once for each part of dy, which takes twice as long for a number, and dy once for each part of x.
        let splits = (0..usize::BITS)
            .map(|i| 1 << i)
            .take_while(|&split| {
                split <= wanted && (split == 1 || width_in.is_multiple_of(4 * WIDE * split))
            })
            .map(|split| (split, wanted.div_ceil(split).min(panels)));
        let cost = |&(split_in, split_out): &(usize, usize)| {
            2 * width_in * split_out + width_out * split_in
        };
        let (split_in, split_out) = splits.min_by_key(cost).unwrap_or((1, 1));
        let channels = width_in / split_in;
        let layout = Layout::new(rows, columns, c_in, groups * split_in, false);
        let plan = Plan {
            shape,
            rows,
            columns,
            layout,
            blocks: Blocks::new(n, rows.count, columns.count, 1, 1, STEP),
            chunks: 1,
            split_in,
            split_out,
            channels,
        };
        let image = (2 * h * w * c_in).max(shape.h_out() * shape.w_out() * c_out);
        let most_images = (u32::MAX as usize / (2 * image)).max(1);
        let target = (X / plan.transposed_rows().max(plan.copied_rows())).clamp(512, 2048);
        let blocks = Blocks::new(n, rows.count, columns.count, target, most_images, STEP);
        Plan {
            blocks,
            chunks: most.min(blocks.count()),
            ..plan
        }
    }

    /// Rows of x transposed: of all planes.
    fn transposed_rows(&self) -> usize {
        self.layout.planes * self.plane_rows()
    }

    fn plane_rows(&self) -> usize {
        self.layout.cell.next_multiple_of(transpose::ROWS)
    }

    /// Rows that are copied out, one for each of dw's, where few channels would leave tiles empty.
    fn copied_rows(&self) -> usize {
        if self.channels < WIDE {
            self.depth()
        } else {
            0
        }
    }

    /// Rows of dw in a part.
    fn depth(&self) -> usize {
        self.shape.kernel.pow(2) * self.channels
    }

    /// Tiles of rows of dw.
    fn tiles(&self) -> usize {
        match self.copied_rows() {
            0 => self.shape.kernel.pow(2) * self.channels.div_ceil(SIDE),
            rows => rows.div_ceil(SIDE),
        }
    }

    /// Steps of 32 positions that a block's outputs lie in.
    fn steps(&self, laid: &Laid, images: usize) -> usize {
        (self.layout.image(laid, images - 1) + self.layout.positions(laid)).div_ceil(STEP)
    }

    /// Positions from an output's own to that of its tap.
    fn shift(&self, row: usize, column: usize) -> usize {
        row / self.shape.stride * self.layout.width + column / self.shape.stride
    }

    /// Steps of the largest block, and words of a row of x transposed: what the last tap of the last step reads is there, and rows
    /// begin in different sets of the caches.
    fn pitch(&self) -> (usize, usize) {
        let Blocks { images, rows, .. } = self.blocks;
        let steps = self.steps(&self.layout.block(images, rows), images);
        let last = self.shape.kernel - 1;
        let read = steps + self.shift(last, last).div_ceil(STEP);
        (steps, (read | 1) * STEP / 2)
    }

    /// Output channels in a part.
    fn part_out(&self) -> usize {
        let width = self.shape.c_out / self.shape.groups;
        width.div_ceil(PANEL).div_ceil(self.split_out) * PANEL
    }

    /// Output channels of a part that are laid out together.
    fn together(&self) -> usize {
        let most = DY / (self.pitch().0 * STEP) / PANEL * PANEL;
        most.clamp(PANEL, self.part_out())
    }

    /// Numbers in all partial dw; a single one is dw itself.
    fn partial(&self) -> usize {
        if self.chunks == 1 {
            0
        } else {
            self.chunks * self.shape.w_len()
        }
    }

    /// Lengths of a thread's parts of scratch: copy, x transposed, rows copied out, offsets of dy, dy in pairs, offsets of steps, sums, tiles.
    fn parts(&self) -> [usize; 8] {
        let (steps, pitch) = self.pitch();
        let waiting = if steps > PART { self.tiles() } else { MOST };
        [
            Bf16::words(self.layout.len(&self.blocks)),
            self.transposed_rows() * pitch,
            self.copied_rows() * pitch,
            steps * STEP,
            steps * STEP / 2 * self.together(),
            steps,
            waiting * SIDE * PANEL,
            3 * self.tiles(),
        ]
    }

    /// Where tile `i` of rows begins in x transposed (or in the rows that are copied out), how many rows it has, and its first row
    /// of dw within a part that is all.
    fn tile(&self, i: usize, pitch: usize) -> [u32; 3] {
        if self.copied_rows() > 0 {
            let k = i * SIDE;
            return [k * pitch, SIDE.min(self.depth() - k), k].map(|number| number as u32);
        }
        let per_tap = self.channels.div_ceil(SIDE);
        let (tap, c) = (i / per_tap, i % per_tap * SIDE);
        let (row, column) = (tap / self.shape.kernel, tap % self.shape.kernel);
        let at = self.row(row, column, c) * pitch + self.shift(row, column);
        let all = self.shape.c_in / self.shape.groups;
        [at, SIDE.min(self.channels - c), tap * all + c].map(|number| number as u32)
    }

    /// The row of x transposed for a tap and a channel.
    fn row(&self, row: usize, column: usize, channel: usize) -> usize {
        let stride = self.shape.stride;
        row % stride * self.plane_rows() + column % stride * self.channels + channel
    }

    /// Fills in the offset of dy, from the block's first image on, for every position; returns the steps that hold them.
    fn place(&self, images: usize, rows: Range<usize>, at: &mut [u32]) -> usize {
        let laid = self.layout.block(images, rows.len());
        let steps = self.steps(&laid, images);
        at[..steps * STEP].fill(NONE);
        for image in 0..images {
            let first = self.layout.image(&laid, image);
            for (i, row) in rows.clone().enumerate() {
                let pixel = (image * self.rows.count + row) * self.columns.count;
                let at = &mut at[first + i * self.layout.width..][..self.columns.count];
                for (j, at) in at.iter_mut().enumerate() {
                    *at = ((pixel + j) * self.shape.c_out) as u32;
                }
            }
        }
        steps
    }
}

/// Words of scratch.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let plan = Plan::new(shape);
    bias::scratch_len(shape).max(plan.partial() + scratch::len(&plan.parts()) * cpu.threads())
}

/// dw = the gradient of w, db = that of the bias.
pub(in crate::conv) fn backward_weight(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[Bf16],
    dy: &[Bf16],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    if let Some(db) = db {
        bias::backward(cpu, dy, db, scratch);
    }
    let amx = cpu
        .amx()
        .expect("a convolution is run by the instruction set it was chosen for");
    let plan = &Plan::new(shape);
    let Conv2dShape { c_out, groups, .. } = *shape;
    let each = scratch::len(&plan.parts());
    let (partial, scratch) = scratch.split_at_mut(plan.partial());
    let single = plan.chunks == 1;
    {
        let target = Parts::new(if single { &mut *dw } else { &mut *partial });
        let scratch = Parts::new(scratch);
        let splits = plan.split_in * plan.split_out;
        cpu.parallel_workers(plan.chunks * groups * splits, |worker, task| {
            // SAFETY: no two running tasks have the same worker index.
            let scratch = unsafe { scratch.get(worker * each..(worker + 1) * each) };
            let (task, part) = (task / splits, task % splits);
            let channels = range(c_out / groups, plan.part_out(), part % plan.split_out);
            let (group, chunk) = (task % groups, task / groups);
            if !channels.is_empty() {
                let len = shape.w_len();
                cpu.run(Gradient {
                    plan,
                    amx,
                    group,
                    chunk,
                    part: part / plan.split_out,
                    channels,
                    x,
                    dy,
                    dw: target.start_of(chunk * len..(chunk + 1) * len),
                    scratch,
                });
            }
        });
    }
    if !single {
        direct::add_partials(cpu, partial, dw);
    }
}

/// One chunk's gradient for some input and output channels of one group, written to `dw` (all of w's length).
struct Gradient<'a> {
    plan: &'a Plan,
    amx: Amx,
    group: usize,
    chunk: usize,
    /// Of the input channels.
    part: usize,
    /// Output channels.
    channels: Range<usize>,
    x: &'a [Bf16],
    dy: &'a [Bf16],
    dw: *mut f32,
    scratch: &'a mut [f32],
}

impl Task for Gradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient {
            plan,
            amx,
            group,
            chunk,
            part,
            channels,
            x,
            dy,
            dw,
            scratch,
        } = self;
        let (shape, layout) = (&plan.shape, &plan.layout);
        let c_out = shape.c_out;
        let [copy, transposed, copied, at, pairs, offsets, sums, tiles] =
            scratch::split(scratch, plan.parts());
        let [at, pairs, offsets, tiles] = [at, pairs, offsets, tiles].map(scratch::as_u32);
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = (i * STEP * size_of::<Bf16>()) as u32;
        }
        let map = Map {
            values: x,
            channels: shape.c_in,
            groups: shape.groups * plan.split_in,
        };
        let (_, pitch) = plan.pitch();
        for (i, tile) in tiles.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *tile = plan.tile(i, 2 * pitch);
        }
        let first_channel = group * (c_out / shape.groups);
        let image = shape.h_out() * shape.w_out() * c_out;
        let blocks = plan.blocks.count();
        let mut panel = Panel {
            plan,
            registers: Tiles::new(amx),
            tiles: tiles.as_chunks().0,
            offsets,
            // A group's parts of input channels follow each other in dw.
            dw: dw.wrapping_add(part * plan.channels * c_out),
            sums,
            add: false,
        };
        for b in blocks * chunk / plan.chunks..blocks * (chunk + 1) / plan.chunks {
            let block = plan.blocks.get(b);
            let laid = layout.block(block.images, block.rows);
            let copy = Bf16::view_mut(copy, layout.len(&plan.blocks));
            let x = layout.stage(map, group * plan.split_in + part, block, copy);
            for plane in 0..layout.planes {
                let (from, cells) = if layout.copies() {
                    (&x[plane * laid.plane * layout.cell..], laid.plane)
                } else {
                    (x, (x.len() - layout.cell) / layout.distance + 1)
                };
                let to = &mut transposed[plane * plan.plane_rows() * pitch..];
                transpose::transpose(s, from, layout.distance, cells, layout.cell, to, pitch);
            }
            let steps = plan.place(block.images, block.row..block.row + block.rows, at);
            if !copied.is_empty() {
                copy_rows(plan, transposed, copied, steps, pitch);
            }
            let a = if copied.is_empty() {
                &*transposed
            } else {
                &*copied
            };
            let a = Bf16::view(a, 2 * a.len());
            let dy = &dy[block.image * image..(block.image + block.images) * image];
            for start in channels.clone().step_by(plan.together()) {
                let channels = start..(start + plan.together()).min(channels.end);
                let of_group = first_channel + start..first_channel + channels.end;
                transpose::pairs(s, dy, &at[..steps * STEP], of_group, pairs);
                for (n, count) in panels(channels) {
                    let b = &pairs[(n - start) * steps * STEP / 2..];
                    panel.run(s, a, b, steps, first_channel + n, count);
                }
            }
            panel.add = true;
        }
    }
}

/// Copies out the row of x transposed for each row of dw, moved so that all begin at the outputs' positions.
#[inline(always)]
fn copy_rows(plan: &Plan, transposed: &[f32], copied: &mut [f32], steps: usize, pitch: usize) {
    let transposed = Bf16::view(transposed, 2 * transposed.len());
    let kernel = plan.shape.kernel;
    for (k, to) in copied.chunks_exact_mut(pitch).enumerate() {
        let (tap, c) = (k / plan.channels, k % plan.channels);
        let (row, column) = (tap / kernel, tap % kernel);
        let from = plan.row(row, column, c) * 2 * pitch + plan.shift(row, column);
        let to = Bf16::view_mut(to, steps * STEP);
        to.copy_from_slice(&transposed[from..][..steps * STEP]);
    }
}

/// What computes one panel of dw for one block.
struct Panel<'a> {
    plan: &'a Plan,
    registers: Tiles,
    /// What [`Plan::tile`] says of each.
    tiles: &'a [[u32; 3]],
    /// Of steps, in bytes.
    offsets: &'a [u32],
    dw: *mut f32,
    sums: &'a mut [f32],
    /// Whether there is a block before this one.
    add: bool,
}

impl Panel<'_> {
    /// `count` columns of dw from `channel` on, of x transposed `a` and dy in pairs `b`.
    #[inline(always)]
    fn run<S: Simd>(
        &mut self,
        s: S,
        a: &[Bf16],
        b: &[u32],
        steps: usize,
        channel: usize,
        count: usize,
    ) {
        let plan = self.plan;
        let lanes = padded(count);
        let (_, pitch) = plan.pitch();
        let together = height(count);
        let part = steps.div_ceil(steps.div_ceil(PART));
        for start in (0..steps).step_by(part) {
            let end = (start + part).min(steps);
            let b = &b[start * STEP / 2 * lanes..][..(end - start) * STEP / 2 * lanes];
            for (i, group) in self.tiles.chunks(together).enumerate() {
                let first = if part < steps {
                    i * together * SIDE * PANEL
                } else {
                    0
                };
                let sums = &mut self.sums[first..][..group.len() * SIDE * PANEL];
                let mut product = Product {
                    a: [std::ptr::null(); MOST],
                    c: [std::ptr::null_mut(); MOST],
                    offsets: self.offsets[start..end].as_ptr(),
                    b: b.as_ptr().cast(),
                    a_stride: 2 * pitch * size_of::<Bf16>(),
                    b_stride: 2 * lanes * size_of::<Bf16>(),
                    c_stride: PANEL * size_of::<f32>(),
                    steps: end - start,
                    add: usize::from(start > 0),
                };
                let mut heights = [0; MOST];
                for (i, &[at, rows, _]) in group.iter().enumerate() {
                    product.a[i] = a[at as usize..].as_ptr();
                    product.c[i] = sums[i * SIDE * PANEL..].as_mut_ptr();
                    heights[i] = rows as usize;
                }
                // SAFETY: tiles' rows are rows of `a`, `pitch` words apart, which hold all steps from every tap's shift on; `sums`
                // holds 16 rows for each tile and was written by the part before this one; b was cut to the steps.
                unsafe {
                    self.registers
                        .multiply(&mut product, &heights[..group.len()], lanes);
                }
                if end < steps {
                    continue;
                }
                for (&[_, rows, k], sums) in group.iter().zip(sums.chunks_exact(SIDE * PANEL)) {
                    let (rows, k) = (rows as usize, k as usize);
                    let c_out = plan.shape.c_out;
                    for (r, sums) in sums.chunks_exact(PANEL).take(rows).enumerate() {
                        let dw = self.dw.wrapping_add((k + r) * c_out + channel);
                        // SAFETY: dw has all of w's rows from the part's first channel on, of which this task alone touches
                        // these columns; they were written by the block before, if there is one.
                        unsafe { add_row(s, sums, dw, count, self.add) };
                    }
                }
            }
        }
    }
}

/// dw (+)= sums, for `count` numbers.
///
/// # Safety
/// `dw` is valid for `count` numbers (initialised if `add`), of which `sums` holds as many.
#[inline(always)]
unsafe fn add_row<S: Simd>(s: S, sums: &[f32], dw: *mut f32, count: usize, add: bool) {
    /// # Safety
    /// Both are valid for a vector.
    #[inline(always)]
    unsafe fn vector<S: Simd>(s: S, sums: *const f32, dw: *mut f32, add: bool) {
        // SAFETY: as the caller vouches.
        unsafe {
            let sum = s.load(sums);
            s.store(dw, if add { s.add(s.load(dw), sum) } else { sum });
        }
    }
    let whole = count / S::LANES * S::LANES;
    // SAFETY: as the caller vouches, for whole vectors and then for single numbers.
    unsafe {
        for j in (0..whole).step_by(S::LANES) {
            vector(s, sums.as_ptr().add(j), dw.add(j), add);
        }
        for j in whole..count {
            vector(One, sums.as_ptr().add(j), dw.add(j), add);
        }
    }
}
