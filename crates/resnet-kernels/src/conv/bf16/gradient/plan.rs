//! How a weight gradient is cut and laid out: by shape alone, so that no bit depends on the
//! threads.

use std::ops::Range;

use crate::Bf16;
use crate::conv::axis::{Axis, Block, Blocks, flat};
use crate::conv::bf16::layout::{Laid, Layout, WIDE};
use crate::conv::bf16::{ahead, transpose};
use crate::conv::outputs::NONE;
use crate::conv::shape::Conv2dShape;
use crate::conv::unit::{PANEL, SIDE, STEP, Unit};

/// Tasks to aim for: each lays x and dy out for itself, so that more cost more.
const TASKS: usize = 8;
/// Most chunks, where dw is small.
const CHUNKS: usize = 32;
/// Most numbers in all chunks' dw together (2 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 19;
/// Most numbers of x transposed (768 KiB), and of dy in pairs (512 KiB): of a second-level cache of
/// 2 MiB.
const X: usize = 384 << 10;
const DY: usize = 256 << 10;
/// Most numbers of x and dy in a block that are fetched before they are read (600 KiB: of a
/// second-level cache of 1 MiB). Where channels are split a task reads only part of them.
const AHEAD: usize = 300 << 10;
/// Output pixels of a block that is multiplied by columns, unless one row has more: 16 KiB of a
/// panel of x and as much of dy in a first-level cache of 48.
const PIXELS: usize = 256;
/// Steps between visits to a tile of dw: 32 KiB of dy in a first-level cache of 48.
pub(super) const PART: usize = 16;

/// How a chunk is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    Rows,
    Columns,
    Narrow,
}

#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) shape: Conv2dShape,
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) layout: Layout,
    pub(super) blocks: Blocks,
    /// Cuts of the blocks, and of a group's channels of x and dy (the latter in units of
    /// [`PANEL`]).
    pub(super) chunks: usize,
    pub(super) split_in: usize,
    pub(super) split_out: usize,
    /// Input channels in a part.
    pub(super) channels: usize,
}

impl Plan {
    pub(super) fn new(way: Way, shape: &Conv2dShape) -> Plan {
        let shape = flat(shape);
        let Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups } = shape;
        let rows = Axis::forward(h, shape.h_out(), kernel, stride, padding);
        let columns = Axis::forward(w, shape.w_out(), kernel, stride, padding);
        let (width_in, width_out) = (c_in / groups, c_out / groups);
        let most = (PARTIAL / shape.w_len()).clamp(1, CHUNKS.div_ceil(groups));
        let wanted = TASKS.div_ceil(most * groups);
        let panels = width_out.div_ceil(PANEL);
        // x is laid out for each part of dy, once for every tap or else transposed, which takes
        // twice as long; dy for each part of x.
        let times = match way {
            Way::Columns => kernel * kernel,
            _ => 2,
        };
        let splits = (0..usize::BITS)
            .map(|i| 1 << i)
            .take_while(|&split| {
                split <= wanted && (split == 1 || width_in.is_multiple_of(4 * WIDE * split))
            })
            .map(|split| (split, wanted.div_ceil(split).min(panels)));
        let cost = |&(split_in, split_out): &(usize, usize)| {
            times * width_in * split_out + width_out * split_in
        };
        let (split_in, split_out) = splits.min_by_key(cost).unwrap_or((1, 1));
        let channels = width_in / split_in;
        let layout = Layout::new(rows, columns, c_in, groups * split_in, false);
        let plan = Plan {
            way,
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
        let target = match way {
            Way::Columns => PIXELS,
            _ => (X / plan.transposed_rows().max(plan.copied_rows())).clamp(512, 2048),
        };
        let blocks = Blocks::new(n, rows.count, columns.count, target, most_images, STEP);
        Plan { blocks, chunks: most.min(blocks.count()), ..plan }
    }

    /// The blocks of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> impl Iterator<Item = Block> {
        let (blocks, chunks) = (self.blocks, self.chunks);
        let of_chunk = blocks.count() * chunk / chunks..blocks.count() * (chunk + 1) / chunks;
        of_chunk.map(move |i| blocks.get(i))
    }

    /// What is there of x and of dy for the `next` block, if all its pixels are read and it is no
    /// more than [`AHEAD`].
    pub(super) fn ahead<'a>(
        &self,
        next: Option<&Block>,
        x: &'a [Bf16],
        dy: &'a [Bf16],
    ) -> [&'a [Bf16]; 2] {
        let Conv2dShape { c_in, c_out, kernel, stride, groups, .. } = self.shape;
        let block = self.blocks.pixels() * (stride * stride * c_in + c_out);
        let near = groups == 1 && kernel >= stride && block <= AHEAD;
        let Some(next) = next.filter(|_| near) else {
            return [&[]; 2];
        };
        let row = self.columns.count * c_out;
        let first = (next.image * self.rows.count + next.row) * row;
        let count = ((next.images - 1) * self.rows.count + next.rows) * row;
        [&x[ahead::rows(&self.rows, next, self.columns.len * c_in)], &dy[first..first + count]]
    }

    /// Rows of x transposed: of all planes.
    pub(super) fn transposed_rows(&self) -> usize {
        self.layout.planes * self.plane_rows()
    }

    pub(super) fn plane_rows(&self) -> usize {
        self.layout.cell.next_multiple_of(transpose::ROWS)
    }

    /// Rows that are copied out, one for each of dw's, where few channels would leave tiles empty.
    pub(super) fn copied_rows(&self) -> usize {
        if self.channels < WIDE { self.depth() } else { 0 }
    }

    /// Rows of dw in a part.
    pub(super) fn depth(&self) -> usize {
        self.shape.kernel.pow(2) * self.channels
    }

    /// Tiles of rows of dw.
    pub(super) fn tiles(&self) -> usize {
        match self.copied_rows() {
            0 => self.shape.kernel.pow(2) * self.channels.div_ceil(SIDE),
            rows => rows.div_ceil(SIDE),
        }
    }

    /// Steps of 32 positions that a block's outputs lie in.
    pub(super) fn steps(&self, laid: &Laid, images: usize) -> usize {
        (self.layout.image(laid, images - 1) + self.layout.positions(laid)).div_ceil(STEP)
    }

    /// Positions from an output's own to that of its tap.
    pub(super) fn shift(&self, row: usize, column: usize) -> usize {
        row / self.shape.stride * self.layout.width + column / self.shape.stride
    }

    /// Steps of the largest block, and words of a row of x transposed: what the last tap of the
    /// last step reads is there, and rows begin in different sets of the caches.
    pub(super) fn pitch(&self) -> (usize, usize) {
        let (images, rows) = (self.blocks.images, self.blocks.rows());
        let steps = self.steps(&self.layout.block(images, rows), images);
        let last = self.shape.kernel - 1;
        let read = steps + self.shift(last, last).div_ceil(STEP);
        (steps, (read | 1) * STEP / 2)
    }

    /// Output channels in a part.
    pub(super) fn part_out(&self) -> usize {
        let width = self.shape.c_out / self.shape.groups;
        width.div_ceil(PANEL).div_ceil(self.split_out) * PANEL
    }

    /// Output channels of a part that are laid out together.
    pub(super) fn together(&self) -> usize {
        let most = DY / (self.pitch().0 * STEP) / PANEL * PANEL;
        most.clamp(PANEL, self.part_out())
    }

    /// Numbers in all partial dw; a single one is dw itself.
    pub(super) fn partial(&self) -> usize {
        if self.chunks == 1 { 0 } else { self.chunks * self.shape.w_len() }
    }

    /// Where tile `i` of rows begins in x transposed (or in the rows that are copied out), how many
    /// rows it has, and its first row of dw within a part that is all.
    pub(super) fn tile(&self, i: usize, pitch: usize) -> [u32; 3] {
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
    pub(super) fn row(&self, row: usize, column: usize, channel: usize) -> usize {
        let stride = self.shape.stride;
        row % stride * self.plane_rows() + column % stride * self.channels + channel
    }

    /// Fills in the offset of dy, from the block's first image on, for every position; returns the
    /// steps that hold them.
    pub(super) fn place(&self, images: usize, rows: Range<usize>, at: &mut [u32]) -> usize {
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

/// One chunk's gradient for some input and output channels of one group, written to `dw` (all of
/// w's length).
pub(super) struct Gradient<'a> {
    pub(super) plan: &'a Plan,
    pub(super) unit: Unit,
    pub(super) group: usize,
    pub(super) chunk: usize,
    /// Of the input channels.
    pub(super) part: usize,
    /// Output channels of the group.
    pub(super) channels: Range<usize>,
    pub(super) x: &'a [Bf16],
    pub(super) dy: &'a [Bf16],
    pub(super) dw: *mut f32,
    pub(super) scratch: &'a mut [f32],
}
