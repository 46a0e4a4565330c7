//! How the work of a correlation is cut for the threads: its outputs into blocks, a block's output
//! channels into parts.

use super::axis::{Axis, Blocks};
use super::shape::Conv2dShape;
use crate::Cpu;

/// What a kernel wants of its blocks.
pub(super) struct Wanted {
    /// Outputs of a block that the caches like.
    pub(super) outputs: usize,
    /// Outputs down to which blocks become smaller where there are too few of them for the threads.
    pub(super) fewest: usize,
    /// Most images, since offsets within a block are 32-bit.
    pub(super) images: usize,
    /// Outputs that a block of a single column is a multiple of.
    pub(super) tile: usize,
    /// Panels of a group's output channels.
    pub(super) panels: usize,
    /// Whether each task copies its block: then more blocks are better than more parts of their
    /// channels.
    pub(super) copies: bool,
}

/// The blocks, and the parts in panels that a group's output channels are cut into.
pub(super) fn cut(
    cpu: &Cpu,
    shape: &Conv2dShape,
    rows: &Axis,
    columns: &Axis,
    wanted: Wanted,
) -> (Blocks, usize) {
    let Wanted { mut outputs, fewest, images, tile, panels, copies } = wanted;
    let of = |outputs| {
        let (rows, columns) = (rows.count, columns.count);
        Blocks::new(shape.n, rows, columns, outputs, images, tile)
    };
    let (threads, tasks) = (cpu.threads(), 4 * cpu.threads());
    let cheap = if copies { 1 } else { panels };
    let blocks = loop {
        let blocks = of(outputs);
        if blocks.count() * shape.groups * cheap >= tasks || outputs <= fewest {
            break blocks;
        }
        outputs /= 2;
    };
    // As many blocks for each thread as for the others, about, where there are few.
    let few = blocks.count() < 8 * threads && !blocks.count().is_multiple_of(threads);
    let blocks = if few && shape.n == 1 {
        let count = blocks.count().next_multiple_of(threads);
        of(rows.count.div_ceil(count) * columns.count)
    } else {
        blocks
    };
    let split = if threads == 1 {
        1
    } else {
        let parts = tasks.div_ceil(blocks.count() * shape.groups);
        (parts..=2 * parts).find(|&parts| panels.is_multiple_of(parts)).unwrap_or(parts.min(panels))
    };
    (blocks, split)
}
