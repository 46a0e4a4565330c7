//! Forward pass and input gradient as one thing: a correlation of an input map, read through a zero
//! rim, into an output map, written on a lattice.
//!
//! Forward, output i reads inputs i·s - p + t for the taps t = 0..k.
//!
//! Input gradient: dx[y] = Σ dy[i] w[t] over i·s - p + t = y. Let a = (y + p) mod s, y + p = m·s +
//! a: then t = a + s·j and i = m - j, so that the outputs of one phase a read consecutive inputs
//! with the taps a, a + s, ... in falling order: s phases an axis, each a correlation with step 1
//! that no zero tap takes part in.

use std::ops::Range;

use super::Conv2dShape;

/// One axis of a correlation. Output o of `count` reads inputs `first + o·step + t`, t < `taps`
/// (zero outside `0..len`), and is written at `out_first + o·out_step`; tap t has the kernel's
/// index `tap_first + t·tap_step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) count: usize,
    pub(super) taps: usize,
    pub(super) first: isize,
    pub(super) step: usize,
    pub(super) len: usize,
    pub(super) out_first: usize,
    pub(super) out_step: usize,
    tap_first: usize,
    tap_step: isize,
}

impl Axis {
    /// Forward: `len` inputs to `len_out` outputs.
    pub(super) fn forward(
        len: usize,
        len_out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Axis {
        Axis {
            count: len_out,
            taps: kernel,
            first: -(padding as isize),
            step: stride,
            len,
            out_first: 0,
            out_step: 1,
            tap_first: 0,
            tap_step: 1,
        }
    }

    /// The input that output `o` reads for tap `t`, if it is inside.
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn input(&self, o: usize, t: usize) -> Option<usize> {
        let at = self.first + (o * self.step + t) as isize;
        (0..self.len as isize).contains(&at).then_some(at as usize)
    }

    /// Input gradient, phase `a`: `len_out` gradients dy to those of `len` gradients dx that are in
    /// the phase.
    pub(super) fn backward(
        len: usize,
        len_out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        a: usize,
    ) -> Axis {
        let taps = kernel.saturating_sub(a).div_ceil(stride);
        let m = padding.saturating_sub(a).div_ceil(stride);
        let out_first = m * stride + a - padding;
        let last = taps.saturating_sub(1);
        Axis {
            count: len.saturating_sub(out_first).div_ceil(stride),
            taps,
            first: m as isize - last as isize,
            step: 1,
            len: len_out,
            out_first,
            out_step: stride,
            tap_first: a + stride * last,
            tap_step: -(stride as isize),
        }
    }

    /// The kernel's index of tap `t`.
    pub(super) fn tap(&self, t: usize) -> usize {
        (self.tap_first as isize + t as isize * self.tap_step) as usize
    }

    /// Inputs that `count` consecutive outputs span, the rim counted.
    pub(super) fn span(&self, count: usize) -> usize {
        (count - 1) * self.step + self.taps
    }

    /// Whether any tap reads the rim.
    pub(super) fn reads_rim(&self) -> bool {
        self.first < 0 || self.first as usize + self.span(self.count.max(1)) > self.len
    }

    /// Of the inputs that outputs from `o` on span (`span` of them), the ones that exist: their
    /// range within the span.
    pub(super) fn inside(&self, o: usize, span: usize) -> (Range<usize>, usize) {
        let start = self.first + (o * self.step) as isize;
        let before = (-start).clamp(0, span as isize) as usize;
        // Where all lie in the rim, there is none to read from.
        let from = ((start + before as isize).max(0) as usize).min(self.len);
        let end = before + (self.len - from).min(span - before);
        (before..end, from)
    }
}

/// A map [n][h][w][channels], of which one group's channels are read.
#[derive(Clone, Copy)]
pub(super) struct Map<'a, T> {
    pub(super) values: &'a [T],
    pub(super) channels: usize,
    pub(super) groups: usize,
}

/// Calls `f` with the rows and columns of the correlations that a pass consists of, and with the
/// shape as they see it: one forward, stride² backward (`transposed`).
pub(super) fn correlations(
    shape: &Conv2dShape,
    transposed: bool,
    mut f: impl FnMut(&Conv2dShape, Axis, Axis),
) {
    let shape = &flat(shape);
    let Conv2dShape { h, w, kernel, stride, padding, .. } = *shape;
    let (h_out, w_out) = (shape.h_out(), shape.w_out());
    if !transposed {
        let rows = Axis::forward(h, h_out, kernel, stride, padding);
        let columns = Axis::forward(w, w_out, kernel, stride, padding);
        return f(shape, rows, columns);
    }
    for a in 0..stride {
        for b in 0..stride {
            let rows = Axis::backward(h, h_out, kernel, stride, padding, a);
            let columns = Axis::backward(w, w_out, kernel, stride, padding, b);
            if rows.count > 0 && columns.count > 0 {
                f(shape, rows, columns);
            }
        }
    }
}

/// Where the input gradient's weights lie in w = [tap][n][depth]: for the numbers `k` of run `run`,
/// which go over taps and depth, pieces of one tap each, as (first of k, length, index in w for
/// channel `n` of `group`). The next n is c_out numbers on.
pub(super) fn transposed(
    shape: &Conv2dShape,
    rows: &Axis,
    columns: &Axis,
    group: usize,
    n: usize,
    run: usize,
    mut k: Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let (depth, width) = (shape.c_out / shape.groups, shape.c_in / shape.groups);
    std::iter::from_fn(move || {
        let start = k.next()?;
        let (tap, from) = (start / depth, start % depth);
        let len = (depth - from).min(k.end - start);
        k.start = start + len;
        let tap = rows.tap(run) * shape.kernel + columns.tap(tap);
        let first = (tap * width + n) * shape.c_out + group * depth + from;
        Some((start, len, first))
    })
}

/// A 1x1 convolution that skips no pixel, as one of a single column: it can be cut anywhere.
pub(super) fn flat(shape: &Conv2dShape) -> Conv2dShape {
    let pixels = shape.n * shape.h * shape.w;
    // Offsets within an image are 32-bit.
    let fits = pixels * shape.c_in.max(shape.c_out) <= u32::MAX as usize;
    if shape.kernel == 1 && shape.stride == 1 && shape.padding == 0 && fits {
        return Conv2dShape { n: 1, h: pixels, w: 1, ..*shape };
    }
    *shape
}

/// How the outputs of a correlation are cut into blocks: some images, or some rows of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    n: usize,
    /// Rows of outputs in an image.
    all_rows: usize,
    /// Images in a block.
    pub(super) images: usize,
    /// Rows that are not parted.
    unit: usize,
    /// Blocks in an image, or in some whole ones.
    per_image: usize,
    /// Outputs in a row.
    pub(super) columns: usize,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

impl Blocks {
    /// Blocks of about `target` outputs, at most `most_images` images. A single column is cut into
    /// whole `tile`s.
    pub(super) fn new(
        n: usize,
        rows: usize,
        columns: usize,
        target: usize,
        most_images: usize,
        tile: usize,
    ) -> Blocks {
        let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most.clamp(1, len)));
        let image = rows * columns;
        let (images, target, unit) = match target / image.max(1) {
            0 if columns == 1 => (1, target.next_multiple_of(tile), tile),
            0 => (1, target / columns.max(1), 1),
            images => (even(n, images.min(most_images)), rows, rows),
        };
        let unit = unit.max(1);
        let per_image = rows.div_ceil(unit).div_ceil((target / unit).max(1));
        Blocks { n, all_rows: rows, images, unit, per_image, columns }
    }

    /// First row of an image's i-th block: blocks differ by one unit of rows at most.
    fn first_row(&self, i: usize) -> usize {
        let units = self.all_rows.div_ceil(self.unit);
        (units * i / self.per_image * self.unit).min(self.all_rows)
    }

    /// Rows of a block at most.
    pub(super) fn rows(&self) -> usize {
        let units = self.all_rows.div_ceil(self.unit);
        units.div_ceil(self.per_image.max(1)) * self.unit
    }

    pub(super) fn count(&self) -> usize {
        self.n.div_ceil(self.images) * self.per_image
    }

    /// Outputs in a block at most.
    pub(super) fn pixels(&self) -> usize {
        self.images * self.rows() * self.columns
    }

    pub(super) fn get(&self, i: usize) -> Block {
        let (image, part) = (i / self.per_image * self.images, i % self.per_image);
        let (row, end) = (self.first_row(part), self.first_row(part + 1));
        Block { image, images: self.images.min(self.n - image), row, rows: end - row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All (input, output, tap) triples of an axis, rim left out.
    fn triples(axis: &Axis) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        for o in 0..axis.count {
            for t in 0..axis.taps {
                if let Some(i) = axis.input(o, t) {
                    found.push((i, axis.out_first + o * axis.out_step, axis.tap(t)));
                }
            }
        }
        found
    }

    #[test]
    fn the_phases_together_are_the_transposed_forward_pass() {
        for (len, kernel, stride, padding) in [
            (8, 3, 1, 1),
            (8, 3, 2, 1),
            (7, 3, 2, 1),
            (9, 7, 2, 3),
            (8, 1, 2, 0),
            (5, 1, 3, 0),
            (11, 5, 3, 2),
            (4, 2, 2, 3),
            (6, 3, 4, 0),
        ] {
            let len_out = (len + 2 * padding - kernel) / stride + 1;
            let forward = Axis::forward(len, len_out, kernel, stride, padding);
            let mut expected: Vec<_> =
                triples(&forward).into_iter().map(|(i, o, t)| (o, i, t)).collect();
            let (mut found, mut written) = (Vec::new(), Vec::new());
            for a in 0..stride {
                let axis = Axis::backward(len, len_out, kernel, stride, padding, a);
                found.extend(triples(&axis));
                written.extend((0..axis.count).map(|o| axis.out_first + o * axis.out_step));
            }
            expected.sort_unstable();
            found.sort_unstable();
            written.sort_unstable();
            assert_eq!(
                found, expected,
                "length {len} kernel {kernel} stride {stride} padding {padding}"
            );
            assert_eq!(written, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn blocks_cover_every_row_of_every_image_once() {
        for (n, rows, columns, target) in [
            (5, 4, 4, 40),
            (3, 9, 7, 20),
            (1, 1, 1, 100),
            (7, 3, 3, 9),
            (2, 5, 50, 3),
            (1, 196, 1, 36),
            (2, 49, 1, 48),
            (3, 0, 4, 5),
        ] {
            let blocks = Blocks::new(n, rows, columns, target, usize::MAX, 6);
            let mut seen = vec![0; n * rows];
            let unit = if columns == 1 { 6 } else { 1 };
            for i in 0..blocks.count() {
                let b = blocks.get(i);
                assert!(
                    b.images * b.rows * columns <= blocks.pixels()
                        && (b.images == 1 || b.rows == rows)
                );
                assert!(b.rows == rows || b.rows.div_ceil(unit) + 1 >= blocks.rows() / unit);
                assert!(b.rows > 0 && (b.row.is_multiple_of(unit) || b.rows == rows));
                // At least a unit, and one started where a target ends inside it.
                let most = target.max(unit * columns).next_multiple_of(unit * columns);
                assert!(b.images * b.rows * columns <= most, "{b:?} of {target}");
                for image in b.image..b.image + b.images {
                    (b.row..b.row + b.rows).for_each(|row| seen[image * rows + row] += 1);
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{blocks:?}");
        }
    }
}
