//! Forward pass and input gradient: blocks of outputs, laid out by [`Staging`], times panels of
//! weights.
//!
//! Weights are packed first (`panels`, `conv/packed.rs`), into panels [k][lanes] of two vectors of
//! output channels; then each block is computed (`block`).

use std::marker::PhantomData;

use super::block::BlockTask;
use super::panels::{PACK, PackTask};
use super::stage::Staging;
use crate::conv::axis::{Axis, Blocks, correlations};
use crate::conv::cut::{Wanted, cut};
use crate::conv::epilogue::Epilogue;
use crate::conv::packed;
use crate::conv::shape::Conv2dShape;
use crate::conv::tile::{LANES, NARROW, WIDE};
use crate::cpu::Parts;
use crate::split::range;
use crate::{Cpu, Number, Scratch, ScratchLen, scratch};

/// A correlation: x [n][..][..][c_in] to y [n][..][..][c_out], per group.
#[derive(Clone, Copy)]
pub(super) struct Correlation<'a> {
    pub(super) shape: &'a Conv2dShape,
    /// Whether this is the input gradient, so that weights are read transposed.
    pub(super) transposed: bool,
    pub(super) staging: Staging,
    pub(super) blocks: Blocks,
    /// Channels of x and y, all groups.
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Output map's sides.
    pub(super) h_out: usize,
    pub(super) w_out: usize,
    /// Parts that a group's output channels are cut into, in panels.
    pub(super) split: usize,
}

/// Numbers of scratch for both passes, packed weights of the backward pass included.
pub(in crate::conv) fn scratch_len<T: Number>(cpu: &Cpu, shape: &Conv2dShape) -> ScratchLen {
    let mut most = ScratchLen::default();
    each::<T>(cpu, shape, false, |c| {
        most = most.max(c.scratch_len::<T>(0));
    });
    each::<T>(cpu, shape, true, |c| {
        most = most.max(c.scratch_len::<T>(packed::len(cpu, c.packed_len())));
    });
    most
}

/// Numbers of the weights packed for [`forward`].
pub(in crate::conv) fn packed_len<T: Number>(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let mut len = 0;
    each::<T>(cpu, shape, false, |c| len = c.packed_len());
    len
}

/// Packs w for [`forward`].
pub(in crate::conv) fn pack<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    w: &[f32],
    packed: &mut [f32],
) {
    each::<T>(cpu, shape, false, |c| c.pack::<T>(cpu, w, packed));
}

/// y = x * w, and what `epilogue` makes of it.
pub(in crate::conv) fn forward<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[T],
    packed: &[f32],
    epilogue: Epilogue<T>,
    y: &mut [T],
    mut scratch: Scratch,
) {
    each::<T>(cpu, shape, false, |c| c.run(cpu, x, packed, epilogue, y, false, scratch.again()));
}

/// dx (+)= dy * wᵀ.
pub(in crate::conv) fn backward_input<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    dy: &[T],
    w: &[f32],
    dx: &mut [T],
    accumulate: bool,
    mut scratch: Scratch,
) {
    each::<T>(cpu, shape, true, |c| {
        let mut scratch = scratch.again();
        let packed = packed::by_threads(cpu, c.packed_len(), &mut scratch, |packed| {
            c.pack::<T>(cpu, w, packed)
        });
        c.run(cpu, dy, packed, Epilogue::default(), dx, accumulate, scratch);
    });
}

/// Calls `f` with the correlations that a pass consists of: one forward, stride² backward.
fn each<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    transposed: bool,
    mut f: impl FnMut(Correlation),
) {
    correlations(shape, transposed, |shape, rows, columns| {
        f(Correlation::new::<T>(cpu, shape, transposed, rows, columns));
    });
}

impl<'a> Correlation<'a> {
    fn new<T: Number>(
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
        let staging = Staging::new::<T>(rows, columns, c_in, shape.groups);
        // A block's input is about a fifth of a 512 KiB second-level cache, its output half of it;
        // a copied one has enough pixels to pay for the weights' way to the cache.
        let outputs = match staging.copies() {
            true => (24576 * shape.groups / c_in).clamp(192, 2048),
            false => (24576 / c_in).min(65536 / c_out).clamp(48, 2048),
        };
        let image = (rows.len * columns.len * c_in).max(h_out * w_out * c_out);
        let wanted = Wanted {
            outputs,
            fewest: 96,
            images: (u32::MAX as usize / image).max(1),
            tile: WIDE,
            panels: (c_out / shape.groups).div_ceil(LANES),
            copies: staging.copies(),
        };
        let (blocks, split) = cut(cpu, shape, &rows, &columns, wanted);
        Correlation { shape, transposed, staging, blocks, c_in, c_out, h_out, w_out, split }
    }

    /// Terms of an output's sum.
    pub(super) fn depth(&self) -> usize {
        self.staging.rows.taps * self.staging.run()
    }

    /// Numbers of a group's packed weights: panels of all its terms, the last one perhaps wider
    /// than the channels left.
    fn group_len(&self) -> usize {
        self.depth() * (self.c_out / self.shape.groups).next_multiple_of(LANES / 2)
    }

    fn packed_len(&self) -> usize {
        self.group_len() * self.shape.groups
    }

    fn pack<T: Number>(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
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
                stored: PhantomData::<T>,
            });
        });
    }

    /// Lengths of a thread's parts of scratch: copy, offsets of inputs, outputs and sums, start,
    /// tile, sums. Where outputs are f32 they hold the sums themselves.
    pub(super) fn parts<T: Number>(&self) -> [usize; 7] {
        let pixels = self.blocks.pixels();
        let sums = if T::holds_sums() { 0 } else { pixels };
        [self.staging.len(&self.blocks), pixels, pixels, sums, LANES, NARROW * LANES, sums * LANES]
    }

    fn scratch_len<T: Number>(&self, shared: usize) -> ScratchLen {
        ScratchLen::of(shared, &self.parts::<T>())
    }

    fn run<T: Number>(
        &self,
        cpu: &Cpu,
        x: &[T],
        packed: &[f32],
        epilogue: Epilogue<T>,
        y: &mut [T],
        accumulate: bool,
        scratch: Scratch,
    ) {
        let groups = self.shape.groups;
        let y = Parts::new(y);
        let panels = (self.c_out / groups).div_ceil(LANES);
        let size = panels.div_ceil(self.split) * LANES;
        let tasks = self.blocks.count() * groups * self.split;
        scratch::parallel(cpu, tasks, scratch, |mut own, task| {
            let packed = packed::of(packed, self.packed_len(), own.worker);
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
                laid_out: own.finds_laid_out(task),
                scratch: own.memory,
            });
        });
    }
}
