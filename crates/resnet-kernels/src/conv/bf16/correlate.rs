//! Forward pass and input gradient: for each panel of 32 output channels and each part of the
//! reduction whose weights fit the first-level cache, all tiles of a block of pixels, which fits
//! the second-level cache.
//!
//! Sums stay in registers over a part. Where there are several parts they wait for the next one in
//! scratch; after the last one they go, from the registers or the first-level cache, through the
//! epilogue to the output. Every output is summed in one order whatever the blocks, so that neither
//! they nor the number of threads change a bit.

use std::ops::Range;

use super::ahead::{self, Ahead};
use super::layout::Layout;
use super::pack::{PackTask, STEPS};
use crate::conv::axis::{Axis, Block, Blocks, Map, correlations};
use crate::conv::cut::{Wanted, cut};
use crate::conv::epilogue::Epilogue;
use crate::conv::outputs::{NONE, Outputs};
use crate::conv::packed;
use crate::conv::shape::Conv2dShape;
use crate::conv::tile::LANES;
use crate::conv::unit::{
    MOST, OVERLAP, PANEL, PART, Product, Registers, SIDE, STEP, Unit, height, padded, panels,
};
use crate::cpu::Parts;
use crate::memory::CACHE_LINE;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};
use crate::{Bf16, Cpu, Number, Scratch, ScratchLen, scratch};

/// Bytes of a block's input and sums: a quarter of a second-level cache of 1 MiB.
const BLOCK: usize = 1 << 18;
/// Words before packed weights: the first says how many are skipped for the sake of alignment.
const HEAD: usize = CACHE_LINE / size_of::<f32>();

/// A correlation: x [n][..][..][c_in] to y [n][..][..][c_out], per group.
#[derive(Clone, Copy)]
pub(super) struct Correlation<'a> {
    pub(super) shape: &'a Conv2dShape,
    /// Whether this is the input gradient, so that weights are read transposed.
    pub(super) transposed: bool,
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) layout: Layout,
    blocks: Blocks,
    /// Channels of x and y, all groups.
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Output map's sides.
    h_out: usize,
    w_out: usize,
    /// Parts that a group's output channels are cut into, in panels.
    split: usize,
}

/// Words of scratch for both passes, packed weights of the backward pass included.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> ScratchLen {
    let mut most = ScratchLen::default();
    each(cpu, shape, false, |c| most = most.max(c.scratch_len(0)));
    each(cpu, shape, true, |c| {
        most = most.max(c.scratch_len(packed::len(cpu, c.packed_len())));
    });
    most
}

/// Words of the weights packed for [`forward`].
pub(in crate::conv) fn packed_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let mut len = 0;
    each(cpu, shape, false, |c| len = c.packed_len());
    len
}

/// Packs w for [`forward`].
pub(in crate::conv) fn pack(cpu: &Cpu, shape: &Conv2dShape, w: &[f32], packed: &mut [f32]) {
    each(cpu, shape, false, |c| c.pack(cpu, w, packed));
}

/// y = x * w, and what `epilogue` makes of it.
pub(in crate::conv) fn forward(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[Bf16],
    packed: &[f32],
    epilogue: Epilogue<Bf16>,
    y: &mut [Bf16],
    mut scratch: Scratch,
) {
    each(cpu, shape, false, |c| {
        c.run(cpu, x, packed, epilogue, y, false, scratch.again());
    });
}

/// dx (+)= dy * wᵀ.
pub(in crate::conv) fn backward_input(
    cpu: &Cpu,
    shape: &Conv2dShape,
    dy: &[Bf16],
    w: &[f32],
    dx: &mut [Bf16],
    accumulate: bool,
    mut scratch: Scratch,
) {
    // Where the step is larger than the kernel, there are numbers that no tap reaches.
    if !accumulate && shape.stride > shape.kernel {
        let len = dx.len();
        let dx = Parts::new(dx);
        cpu.parallel(chunks(len, CHUNK), |i| {
            // SAFETY: tasks take disjoint ranges.
            unsafe { dx.get(range(len, CHUNK, i)) }.fill(Bf16::default());
        });
    }
    each(cpu, shape, true, |c| {
        if c.layout.is_empty() {
            // No tap reaches these numbers.
            return;
        }
        let mut scratch = scratch.again();
        let packed = packed::by_threads(cpu, c.packed_len(), &mut scratch, |packed| {
            c.pack(cpu, w, packed);
        });
        let nothing = Epilogue::default();
        c.run(cpu, dy, packed, nothing, dx, accumulate, scratch);
    });
}

/// Calls `f` with the correlations that a pass consists of.
fn each(cpu: &Cpu, shape: &Conv2dShape, transposed: bool, mut f: impl FnMut(Correlation)) {
    correlations(shape, transposed, |shape, rows, columns| {
        f(Correlation::new(cpu, shape, transposed, rows, columns));
    });
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
        let layout = Layout::new(rows, columns, c_in, shape.groups, true);
        let numbers = layout.cell * layout.planes;
        // Offsets of what is read are in bytes.
        let image = (2 * rows.len * columns.len * c_in).max(h_out * w_out * c_out);
        let wanted = Wanted {
            outputs: (BLOCK / (2 * numbers + 4 * PANEL)).clamp(192, 2048),
            fewest: 256,
            images: (u32::MAX as usize / (2 * image)).max(1),
            tile: Unit::of(cpu).rows(),
            panels: (c_out / shape.groups).div_ceil(PANEL),
            copies: layout.copies(),
        };
        let (blocks, split) = cut(cpu, shape, &rows, &columns, wanted);
        Correlation {
            shape,
            transposed,
            rows,
            columns,
            layout,
            blocks,
            c_in,
            c_out,
            h_out,
            w_out,
            split,
        }
    }

    /// Steps of the reduction.
    fn steps(&self) -> usize {
        self.rows.taps * self.layout.run().div_ceil(STEP)
    }

    /// Whether rows are as [`Product`] says of those that overlap, and all steps are in one part,
    /// so that none of the twos is cut.
    fn overlaps(&self) -> bool {
        let pixel = (self.layout.distance, self.layout.run());
        let one_part = self.part() == self.steps();
        pixel == (SIDE, OVERLAP * SIDE) && one_part
    }

    /// Numbers of the reduction, with those that fill steps.
    pub(super) fn depth(&self) -> usize {
        self.steps() * STEP
    }

    /// Steps in each part of the reduction.
    fn part(&self) -> usize {
        let steps = self.steps().max(1);
        steps.div_ceil(steps.div_ceil(PART))
    }

    /// Numbers of a group's packed weights.
    fn group_len(&self) -> usize {
        self.depth() * padded(self.c_out / self.shape.groups)
    }

    fn packed_len(&self) -> usize {
        HEAD + Bf16::words(self.group_len() * self.shape.groups).next_multiple_of(HEAD)
    }

    fn pack(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        let width = self.c_out / self.shape.groups;
        // Tiles are read in cache lines. Where the memory is moved before it is used, that takes
        // longer but reads the same.
        let skip = packed[1..].as_ptr().align_offset(CACHE_LINE).min(HEAD - 1) + 1;
        packed[0] = skip as f32;
        let len = self.group_len();
        let packed = Bf16::view_mut(&mut packed[skip..], len * self.shape.groups);
        let packed = Parts::new(packed);
        // Pieces read w in its order.
        let (steps, channels) =
            if self.transposed { (self.steps(), PANEL) } else { (STEPS, width) };
        let pieces = (self.steps().div_ceil(steps.max(1)), width.div_ceil(channels));
        cpu.parallel(self.shape.groups * pieces.0 * pieces.1, |task| {
            let (task, piece) = (task / pieces.1, task % pieces.1);
            let group = task / pieces.0;
            cpu.run(PackTask {
                c: self,
                group,
                channels: range(width, channels, piece),
                steps: range(self.steps(), steps, task % pieces.0),
                w,
                packed: packed.start_of(group * len..(group + 1) * len),
            });
        });
    }

    /// Tiles of a block of so many rows of so many images.
    fn tiles(&self, images: usize, rows: usize) -> usize {
        let laid = self.layout.block(images, rows);
        images * self.layout.positions(&laid).div_ceil(SIDE)
    }

    /// Lengths of a thread's parts of scratch: copy, steps, offsets of tiles in x, their rows,
    /// offsets of outputs, sums.
    fn parts(&self) -> [usize; 6] {
        let tiles = self.tiles(self.blocks.images, self.blocks.rows());
        let waiting = if self.part() < self.steps() { tiles } else { MOST };
        [
            Bf16::words(self.layout.len(&self.blocks)),
            2 * self.steps(),
            tiles,
            tiles,
            tiles * SIDE,
            waiting * SIDE * PANEL,
        ]
    }

    fn scratch_len(&self, shared: usize) -> ScratchLen {
        ScratchLen::of(shared, &self.parts())
    }

    fn run(
        &self,
        cpu: &Cpu,
        x: &[Bf16],
        packed: &[f32],
        epilogue: Epilogue<Bf16>,
        y: &mut [Bf16],
        accumulate: bool,
        scratch: Scratch,
    ) {
        let unit = Unit::of(cpu);
        let groups = self.shape.groups;
        let y = Parts::new(y);
        let panels = (self.c_out / groups).div_ceil(PANEL);
        let size = panels.div_ceil(self.split) * PANEL;
        let tasks = self.blocks.count() * groups * self.split;
        scratch::parallel(cpu, tasks, scratch, |mut own, task| {
            let packed = packed::of(packed, self.packed_len(), own.worker);
            let packed = Bf16::view(&packed[packed[0] as usize..], self.group_len() * groups);
            let channels = range(self.c_out / groups, size, task % self.split);
            if channels.is_empty() {
                return;
            }
            let task = task / self.split;
            cpu.run(BlockTask {
                c: self,
                unit,
                group: task % groups,
                block: self.blocks.get(task / groups),
                channels,
                x,
                packed: &packed[task % groups * self.group_len()..][..self.group_len()],
                epilogue,
                y,
                accumulate,
                laid_out: own.finds_laid_out(task),
                scratch: own.memory,
            });
        });
    }

    /// As much of x as this block reads, from where it ends: about what the next one reads, where
    /// blocks are copied and follow each other.
    fn after<'x>(&self, block: Block, x: &'x [Bf16]) -> &'x [Bf16] {
        if self.split > 1 || self.shape.groups > 1 || !self.layout.copies() {
            return &[];
        }
        let this = ahead::rows(&self.rows, &block, self.columns.len * self.c_in);
        let rest = &x[this.end..];
        &rest[..this.len().min(rest.len())]
    }

    /// Fills in what each step adds to where a tile is read, and its pairs.
    fn fill_steps(&self, block: Block, step_table: &mut [[u32; 2]]) {
        let layout = &self.layout;
        let laid = layout.block(block.images, block.rows);
        let (run, per_run) = (layout.run(), layout.run().div_ceil(STEP));
        for (i, step) in step_table.iter_mut().enumerate() {
            let start = i % per_run * STEP;
            let at = layout.tap_row(&laid, i / per_run) * layout.distance + start;
            let pairs = (run - start).min(STEP).div_ceil(2);
            *step = [(at * size_of::<Bf16>()) as u32, pairs as u32];
        }
    }

    /// Fills in where tiles are read, how many rows they have, and where their sums go, from the
    /// start of the block's first image.
    fn place(&self, block: Block, from: &mut [u32], rows: &mut [u32], to: &mut [u32]) {
        let layout = &self.layout;
        let laid = layout.block(block.images, block.rows);
        let positions = layout.positions(&laid);
        let mut tiles = 0;
        for image in 0..block.images {
            let cell = layout.image(&laid, image);
            let first = tiles * SIDE;
            for start in (0..positions).step_by(SIDE) {
                from[tiles] = ((cell + start) * layout.distance) as u32;
                rows[tiles] = SIDE.min(positions - start) as u32;
                tiles += 1;
            }
            let to = &mut to[first..tiles * SIDE];
            to.fill(NONE);
            for i in 0..block.rows {
                let row = block.row + i;
                let row = image * self.h_out + self.rows.out_first + row * self.rows.out_step;
                let at = (row * self.w_out + self.columns.out_first) * self.c_out;
                let step = self.columns.out_step * self.c_out;
                let to = &mut to[i * layout.width..][..self.columns.count];
                for (j, to) in to.iter_mut().enumerate() {
                    *to = (at + j * step) as u32;
                }
            }
        }
    }
}

/// One block of outputs, some channels of one group.
struct BlockTask<'a> {
    c: &'a Correlation<'a>,
    unit: Unit,
    group: usize,
    block: Block,
    channels: Range<usize>,
    x: &'a [Bf16],
    /// The group's.
    packed: &'a [Bf16],
    epilogue: Epilogue<'a, Bf16>,
    y: Parts<'a, Bf16>,
    accumulate: bool,
    /// Whether the block is laid out in scratch, with all that does not depend on output channels.
    laid_out: bool,
    scratch: &'a mut [f32],
}

impl Task for BlockTask<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BlockTask {
            c,
            unit,
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
        let layout = &c.layout;
        let [copy, step_table, from, rows, to, sums] = scratch::split(scratch, c.parts());
        let [step_table, from, rows, to] = [step_table, from, rows, to].map(scratch::as_u32);
        let map = Map { values: x, channels: c.c_in, groups: c.shape.groups };
        let copy = Bf16::view_mut(copy, layout.len(&c.blocks));
        let after = c.after(block, x);
        let x = layout.stage(map, group, block, copy, laid_out);
        let step_table = step_table.as_chunks_mut::<2>().0;
        if !laid_out {
            c.fill_steps(block, step_table);
            c.place(block, from, rows, to);
        }
        let tiles = c.tiles(block.images, block.rows);

        let image = c.h_out * c.w_out * c.c_out;
        let first_channel = group * (c.c_out / c.shape.groups);
        // Other tasks write other numbers of the same images, so only a pointer is kept.
        let y = y.start_of(block.image * image..(block.image + block.images) * image);
        let (steps, part) = (c.steps(), c.part());
        let waits = part < steps;
        let overlaps = c.overlaps();
        // Whether the rows of all tiles follow each other in x without gaps, those of the block
        // after this one too.
        let streams = !waits && !layout.copies() && layout.distance == steps * STEP;
        let first_panel = channels.start;
        let mut registers = Registers::new(unit);
        let groups = |(_, count)| tiles.div_ceil(height(count));
        let products = panels(channels.clone()).map(groups).sum::<usize>();
        let mut of_x = Ahead::new([after], products * steps.div_ceil(part).max(1));
        for (n, count) in panels(channels) {
            let lanes = padded(count);
            let together = height(count);
            for start in (0..steps.max(1)).step_by(part) {
                let end = (start + part).min(steps);
                let b =
                    &packed[n * c.depth() + start * STEP * lanes..][..(end - start) * STEP * lanes];
                for tile in (0..tiles).step_by(together) {
                    let group = tile..(tile + together).min(tiles);
                    // The next panel of w while the first tiles are multiplied, then the next tiles
                    // while they are with the first panel.
                    let ahead = if tile == 0 {
                        b.as_ptr_range().end
                    } else if streams && n == first_panel {
                        let read = group.len() * SIDE * layout.distance;
                        x.as_ptr().wrapping_add(from[tile] as usize + read)
                    } else {
                        std::ptr::null()
                    };
                    let mut product = Product {
                        a: [std::ptr::null(); MOST],
                        c: [std::ptr::null_mut(); MOST],
                        steps: step_table[start..end].as_ptr(),
                        b: b.as_ptr(),
                        a_stride: layout.distance * size_of::<Bf16>(),
                        c_stride: PANEL * size_of::<f32>(),
                        count: end - start,
                        overlaps,
                        add: usize::from(start > 0),
                        ahead,
                    };
                    let first = if waits { tile * SIDE * PANEL } else { 0 };
                    let sums = &mut sums[first..][..group.len() * SIDE * PANEL];
                    let mut heights = [0; MOST];
                    for (i, tile) in group.clone().enumerate() {
                        product.a[i] = x.as_ptr().wrapping_add(from[tile] as usize);
                        product.c[i] = sums[i * SIDE * PANEL..].as_mut_ptr();
                        heights[i] = rows[tile] as usize;
                    }
                    let outputs = Outputs {
                        epilogue: &epilogue,
                        y,
                        to: &to[group.start * SIDE..group.end * SIDE],
                        first: block.image * image,
                        channel: first_channel + n,
                        count,
                    };
                    of_x.fetch(s);
                    let mut finish = None;
                    if end == steps {
                        outputs.fetch(s);
                        finish = registers.finish(&outputs, count, accumulate);
                    }
                    // SAFETY: the rows of every tile are cells of the laid-out block, and runs from
                    // them on lie inside it: a copy has room for whole steps, and is initialised
                    // (by this task or, if `laid_out`, by the thread's one before); x is read in
                    // place where runs are whole steps. `sums` holds 16 rows for each tile and was
                    // written by the part before this one; b was cut to the steps. The outputs are
                    // this task's alone, with 16 offsets for each tile.
                    unsafe {
                        let heights = &heights[..group.len()];
                        registers.multiply(&mut product, heights, lanes, finish);
                    }
                    if end < steps || finish.is_some() {
                        continue;
                    }
                    // SAFETY: this task alone touches these channels at every offset; `sums` holds
                    // a row of [`LANES`] for each offset that is an output's.
                    unsafe { outputs.write(s, sums, accumulate) };
                }
            }
        }
    }
}

const _: () = assert!(PANEL == LANES);
