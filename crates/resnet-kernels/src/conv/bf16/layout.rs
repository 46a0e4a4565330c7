//! The input of a block as tiles read it: pixels a constant distance apart, over the ends of rows,
//! so that tiles of 16 rows are full however narrow the map is.
//!
//! ```text
//!  a map of 4 x 3 with its rim of zeros (.), and how it lies in memory:       outputs, x being none
//!
//!     . . . . . .
//!     . a b c d .     row 0   . . . . .      one zero between rows is          0 1 2 3 x
//!     . e f g h .     row 1   . a b c d      enough: the right rim of          4 5 6 7 x
//!     . i j k l .     row 2   . e f g h      one row is the left rim           8 9 ...
//!     . . . . . .     ...     . i j k l      of the next
//!                             . . . . .
//! ```
//!
//! Output l (of row l / width, column l % width) reads taps from l on, each tap at the same
//! distance for every l. The sums at x belong to no output; they are computed and dropped.
//!
//! With step s between outputs, a pixel of this picture is a cell of s neighbouring ones of a row:
//! the taps of a row are one run of memory from the start of a cell on. Rows of the map take turns
//! in s planes: output row i reads row i of the plane t % s, t / s rows below, for its tap row t.
//! Where the kernel is smaller than the step, cells hold and planes are only what is read.
//!
//! Where there is no rim, one group and step 1, x itself lies like that and is read in place.

use crate::Bf16;
use crate::conv::axis::{Axis, Block, Blocks, Map};
use crate::conv::unit::STEP;

/// Channels of a group that fill a tile well enough.
pub(super) const WIDE: usize = 16;

/// How blocks of a map are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    rows: Axis,
    columns: Axis,
    /// Channels that are read of a pixel.
    channels: usize,
    copies: bool,
    /// Numbers of a cell as it is read: of s pixels, or of the taps if they are fewer.
    pub(super) cell: usize,
    /// Numbers from cell to cell.
    pub(super) distance: usize,
    /// Cells of a row.
    pub(super) width: usize,
    pub(super) planes: usize,
}

/// A block in this layout, in cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laid {
    images: usize,
    rows: usize,
    /// Rows of an image in a plane.
    height: usize,
    /// Cells of a plane.
    pub(super) plane: usize,
}

/// Zeros of the rim before and after `len` inputs where outputs span `span`, and those that may be
/// shared.
fn rims(axis: &Axis, span: usize) -> (usize, usize) {
    let before = (-axis.first).clamp(0, span as isize) as usize;
    let end = axis.first + span as isize - axis.len as isize;
    let after = end.clamp(0, (span - before) as isize) as usize;
    // A row begins with a cell that is its own.
    (before, before.min(after).min(axis.taps.saturating_sub(1)))
}

impl Layout {
    /// Of one group's channels. If `whole`, what is read in place consists of whole steps, for
    /// tiles may not read beyond a run.
    pub(super) fn new(
        rows: Axis,
        columns: Axis,
        channels: usize,
        groups: usize,
        whole: bool,
    ) -> Layout {
        let step = columns.step;
        let (all, channels) = (channels, channels / groups);
        let taps = columns.taps;
        let steps = !whole || (taps * channels).is_multiple_of(STEP) && groups == 1;
        let copies = step > 1 || rows.reads_rim() || columns.reads_rim() || !steps;
        let count = columns.count.max(1);
        let width = if taps == 0 || taps < step {
            count
        } else if copies {
            let span = columns.span(count);
            (span - rims(&columns, span).1).div_ceil(step)
        } else {
            columns.len
        };
        let cell = channels * step.min(taps);
        Layout {
            rows,
            columns,
            channels,
            copies,
            cell,
            distance: if copies { cell } else { all },
            width,
            planes: rows.step.min(rows.taps),
        }
    }

    /// Whether any tap reaches the outputs.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.taps * self.columns.taps == 0
    }

    pub(super) fn copies(&self) -> bool {
        self.copies && !self.is_empty()
    }

    /// Numbers in a run: the taps of a row.
    pub(super) fn run(&self) -> usize {
        self.columns.taps * self.channels
    }

    pub(super) fn block(&self, images: usize, rows: usize) -> Laid {
        let step = self.rows.step;
        let height = if !self.copies {
            self.rows.len
        } else {
            let span = self.rows.span(rows);
            let shared = match (step, images) {
                (1, 2..) => rims(&self.rows, span).1,
                _ => 0,
            };
            rows + self.rows.taps.div_ceil(step).max(1) - 1 - shared
        };
        Laid { images, rows, height, plane: images * height * self.width }
    }

    /// The cell, from an output's own on, where tap row `t` begins.
    pub(super) fn tap_row(&self, laid: &Laid, t: usize) -> usize {
        let step = self.rows.step;
        t % step * laid.plane + t / step * self.width
    }

    /// Cells that outputs of an image lie in, from the first on.
    pub(super) fn positions(&self, laid: &Laid) -> usize {
        (laid.rows - 1) * self.width + self.columns.count
    }

    /// The cell of an image's first output.
    pub(super) fn image(&self, laid: &Laid, image: usize) -> usize {
        image * laid.height * self.width
    }

    /// Numbers of a block's copy, with what the last tiles read beyond it.
    fn copied(&self, laid: &Laid) -> usize {
        let last = self.image(laid, laid.images - 1) + self.positions(laid) - 1;
        let taps = (0..self.rows.taps).map(|t| self.tap_row(laid, t));
        let last = last + taps.max().unwrap_or(0);
        let read = last * self.cell + self.run().next_multiple_of(STEP);
        read.max(self.planes * laid.plane * self.cell)
    }

    /// Numbers of the largest block's copy.
    pub(super) fn len(&self, blocks: &Blocks) -> usize {
        if self.copies() { self.copied(&self.block(blocks.images, blocks.rows())) } else { 0 }
    }

    /// Lays a block out, unless `copy` holds it; returns the numbers from the first output's cell
    /// on.
    ///
    /// # Panics
    /// If `copy` is too short.
    pub(super) fn stage<'a>(
        &self,
        map: Map<'a, Bf16>,
        group: usize,
        block: Block,
        copy: &'a mut [Bf16],
        laid_out: bool,
    ) -> &'a [Bf16] {
        if self.is_empty() {
            return &[];
        }
        let image_len = self.rows.len * self.columns.len * map.channels;
        let images = &map.values[block.image * image_len..][..block.images * image_len];
        if !self.copies {
            let first = (self.rows.first as usize + block.row) * self.columns.len;
            let first = (first + self.columns.first as usize) * map.channels;
            return &images[first + group * self.channels..];
        }
        let laid = self.block(block.images, block.rows);
        let row_len = self.width * self.cell;
        let copy = &mut copy[..self.copied(&laid)];
        if laid_out {
            return copy;
        }
        let (planes, rest) = copy.split_at_mut(self.planes * laid.plane * self.cell);
        rest.fill(Bf16::default());
        let step = self.rows.step;
        for (i, to) in planes.chunks_exact_mut(row_len).enumerate() {
            let (plane, i) = (i / (laid.images * laid.height), i % (laid.images * laid.height));
            let (image, i) = (i / laid.height, i % laid.height);
            let row = self.rows.first + ((block.row + i) * step + plane) as isize;
            if row < 0 || row as usize >= self.rows.len {
                to.fill(Bf16::default());
                continue;
            }
            let image = &images[image * image_len..][..image_len];
            let from = row as usize * self.columns.len * map.channels;
            let from = &image[from..][..self.columns.len * map.channels];
            self.copy_row(from, map, group, to);
        }
        copy
    }

    fn copy_row(&self, from: &[Bf16], map: Map<Bf16>, group: usize, to: &mut [Bf16]) {
        let step = self.columns.step;
        if self.columns.taps >= step {
            return self.copy_columns(from, self.columns.first, map, group, to);
        }
        for (j, to) in to.chunks_exact_mut(self.cell).enumerate() {
            self.copy_columns(from, self.columns.first + (j * step) as isize, map, group, to);
        }
    }

    /// Fills `to` with the row's columns from `first` on, zeros where there are none.
    fn copy_columns(
        &self,
        from: &[Bf16],
        first: isize,
        map: Map<Bf16>,
        group: usize,
        to: &mut [Bf16],
    ) {
        let c = self.channels;
        let columns = to.len() / c;
        let before = (-first).clamp(0, columns as isize) as usize;
        let start = (first.max(0) as usize).min(self.columns.len);
        let count = (self.columns.len - start).min(columns - before);
        let (left, rest) = to.split_at_mut(before * c);
        let (to, right) = rest.split_at_mut(count * c);
        left.fill(Bf16::default());
        right.fill(Bf16::default());
        let from = &from[start * map.channels..][..count * map.channels];
        if map.groups == 1 {
            to.copy_from_slice(from);
            return;
        }
        let from = from.chunks_exact(map.channels);
        for (to, from) in to.chunks_exact_mut(c).zip(from) {
            to.copy_from_slice(&from[group * c..][..c]);
        }
    }
}
