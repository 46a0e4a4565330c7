//! The input of a block as the tiles read it: with its zero rim, and with one group's channels next
//! to each other.
//!
//! In that copy the columns under the kernel and their channels are one run of memory, whatever the
//! stride, so that a tile reads `taps` runs of `taps · channels` numbers: long loops even for three
//! channels, and no test for the border. A block is of the size of the second-level cache, and the
//! copy brings it there. Where no rim is read, there is one group, and numbers are stored as the
//! tiles read them, x itself already has that form, and nothing is copied.

use crate::Number;
use crate::conv::axis::{Axis, Block, Blocks, Map};

/// How blocks of a map are laid out for the tiles.
#[derive(Clone, Copy)]
pub(super) struct Staging {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    /// Channels of a group.
    channels: usize,
    copies: bool,
    /// Numbers between rows of the laid-out map.
    pub(super) pitch: usize,
}

impl Staging {
    /// For maps of `T`, which tiles read as f32.
    pub(super) fn new<T: Number>(
        rows: Axis,
        columns: Axis,
        channels: usize,
        groups: usize,
    ) -> Staging {
        let in_place = T::in_place(&[]).is_some();
        let copies = !in_place || groups > 1 || rows.reads_rim() || columns.reads_rim();
        let width = if copies { columns.span(columns.count.max(1)) } else { columns.len };
        Staging {
            rows,
            columns,
            channels: channels / groups,
            copies,
            pitch: width * channels / groups,
        }
    }

    /// Whether blocks are copied before tiles read them.
    pub(super) fn copies(&self) -> bool {
        self.copies
    }

    /// Numbers in a run.
    pub(super) fn run(&self) -> usize {
        self.columns.taps * self.channels
    }

    /// Numbers of the copy of a block.
    pub(super) fn len(&self, blocks: &Blocks) -> usize {
        if self.copies && !self.is_empty() {
            blocks.images * self.rows.span(blocks.rows()) * self.pitch
        } else {
            0
        }
    }

    /// Fills `offsets` with where each output of a block begins to read what [`Staging::stage`]
    /// returns.
    ///
    /// # Panics
    /// If `offsets` is too short for the block.
    pub(super) fn place(&self, block: Block, offsets: &mut [u32]) {
        if self.is_empty() {
            offsets.fill(0);
            return;
        }
        // Without a copy the rows are those of the image, from its first on.
        let (row, column) = if self.copies {
            (0, 0)
        } else {
            (self.rows.first as usize + block.row * self.rows.step, self.columns.first as usize)
        };
        let mut outputs = offsets.iter_mut();
        for image in 0..block.images {
            for i in 0..block.rows {
                let row = image * self.span(block) + row + i * self.rows.step;
                let start = row * self.pitch + column * self.channels;
                for (j, offset) in (0..self.columns.count).zip(outputs.by_ref()) {
                    *offset = (start + j * self.columns.step * self.channels) as u32;
                }
            }
        }
    }

    /// Rows of an image of a block.
    fn span(&self, block: Block) -> usize {
        if self.copies { self.rows.span(block.rows) } else { self.rows.len }
    }

    /// Whether no tap reaches the outputs: they are zero, and nothing is read.
    fn is_empty(&self) -> bool {
        self.rows.taps * self.run() == 0
    }

    /// Lays a block out, unless `copy` holds it; returns where offset 0 is.
    ///
    /// # Panics
    /// If `copy` is too short for the block.
    pub(super) fn stage<'a, T: Number>(
        &self,
        map: Map<'a, T>,
        group: usize,
        block: Block,
        copy: &'a mut [f32],
        laid_out: bool,
    ) -> &'a [f32] {
        if self.is_empty() {
            return &[];
        }
        let image_len = self.rows.len * self.columns.len * map.channels;
        let images = &map.values[block.image * image_len..][..block.images * image_len];
        if let Some(images) = T::in_place(images)
            && !self.copies
        {
            return images;
        }
        let len = self.span(block) * self.pitch;
        let copy = &mut copy[..block.images * len];
        if !laid_out {
            let images = images.chunks_exact(image_len);
            for (image, copy) in images.zip(copy.chunks_exact_mut(len)) {
                self.copy_image(image, map, group, block, copy);
            }
        }
        copy
    }

    fn copy_image<T: Number>(
        &self,
        image: &[T],
        map: Map<T>,
        group: usize,
        block: Block,
        copy: &mut [f32],
    ) {
        let c = self.channels;
        let (rows, first_row) = self.rows.inside(block.row, copy.len() / self.pitch);
        let (columns, first_column) = self.columns.inside(0, self.pitch / c);
        let (top, rest) = copy.split_at_mut(rows.start * self.pitch);
        let (middle, bottom) = rest.split_at_mut(rows.len() * self.pitch);
        top.fill(0.0);
        bottom.fill(0.0);
        for (i, to) in middle.chunks_exact_mut(self.pitch).enumerate() {
            let from = ((first_row + i) * self.columns.len + first_column) * map.channels;
            let (left, rest) = to.split_at_mut(columns.start * c);
            let (to, right) = rest.split_at_mut(columns.len() * c);
            left.fill(0.0);
            right.fill(0.0);
            if map.groups == 1 {
                let from = &image[from..][..to.len()];
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from.get());
            } else {
                let pixels =
                    image[from..][..columns.len() * map.channels].chunks_exact(map.channels);
                for (to, from) in to.chunks_exact_mut(c).zip(pixels) {
                    // A loop, not a call: a group may have four channels.
                    to.iter_mut()
                        .zip(&from[group * c..][..c])
                        .for_each(|(to, from)| *to = from.get());
                }
            }
        }
    }
}
