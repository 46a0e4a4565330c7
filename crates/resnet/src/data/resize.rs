//! Antialiased bilinear resizing of bytes: each output is a mean of the inputs under a triangle,
//! which is as wide as one output pixel where the picture shrinks and as one input pixel where it
//! grows.
//!
//! Two passes, along the rows, then down the columns, with weights of 22 fractional bits and bytes
//! in between: the results equal Pillow's to the bit, so that a network sees here what it saw where
//! it was trained. Only the window that is asked for is computed; it is the same as that part of
//! the whole.

use std::ops::Range;

use super::Image;

/// Fractional bits of a weight; 8 bits of a byte and these fit an i32.
const BITS: u32 = 22;

/// Memory that resizing uses again.
#[derive(Default)]
pub(super) struct Resizer {
    across: Weights,
    down: Weights,
    /// Between the passes: the rows that the second one reads.
    rows: Vec<u8>,
    out: Vec<u8>,
}

impl Resizer {
    /// The window (rows, columns) of `part` (rows, columns of the picture) resized to `size` (rows,
    /// columns).
    pub(super) fn resize(
        &mut self,
        image: &Image,
        part: (Range<usize>, Range<usize>),
        size: (usize, usize),
        window: (Range<usize>, Range<usize>),
    ) -> &[u8] {
        self.down.compute(part.0.len(), size.0, window.0);
        self.across.compute(part.1.len(), size.1, window.1);
        let read = self.down.reads();
        let picture_rows = image.pixels.chunks_exact(image.width * image.channels);
        let rows = picture_rows.skip(part.0.start + read.start).take(read.len());
        let rows = rows.map(|row| &row[part.1.start * image.channels..part.1.end * image.channels]);
        self.rows.clear();
        for row in rows {
            match image.channels {
                1 => self.across.along::<1>(row, &mut self.rows),
                _ => self.across.along::<3>(row, &mut self.rows),
            }
        }
        let columns = self.across.starts.len() * image.channels;
        self.out.clear();
        for (start, weights) in self.down.outputs() {
            let from = (start - read.start) * columns;
            mean_of_rows(&self.rows[from..from + weights.len() * columns], weights, &mut self.out);
        }
        &self.out
    }
}

/// A picture whose longest side is at most `longest` pixels, as it is where it is small enough.
pub(crate) fn shrink(image: &Image, longest: usize) -> Image {
    scaled(image, image.width.max(image.height) as f64 / longest.max(1) as f64)
}

/// The same of the shorter side.
pub(super) fn shrink_to(image: &Image, shorter: usize) -> Image {
    scaled(image, image.width.min(image.height) as f64 / shorter.max(1) as f64)
}

fn scaled(image: &Image, scale: f64) -> Image {
    if scale <= 1.0 {
        return image.clone();
    }
    let side = |pixels: usize| ((pixels as f64 / scale).round() as usize).max(1);
    let (width, height) = (side(image.width), side(image.height));
    let (part, window) = ((0..image.height, 0..image.width), (0..height, 0..width));
    let pixels = Resizer::default().resize(image, part, (height, width), window).to_vec();
    Image { width, height, channels: image.channels, pixels }
}

/// For each output of one pass, the inputs that it is a mean of.
#[derive(Default)]
struct Weights {
    /// First input of each output.
    starts: Vec<usize>,
    /// Weights of each output from its first input on, up to `ends[i]`.
    weights: Vec<i32>,
    ends: Vec<usize>,
    /// The weights of one output before they are rounded.
    exact: Vec<f64>,
}

impl Weights {
    /// Weights for the outputs `window` of `inputs` resized to `outputs`.
    fn compute(&mut self, inputs: usize, outputs: usize, window: Range<usize>) {
        self.starts.clear();
        self.weights.clear();
        self.ends.clear();
        let scale = inputs as f64 / outputs as f64;
        let radius = scale.max(1.0);
        let exact = &mut self.exact;
        for output in window {
            let centre = (output as f64 + 0.5) * scale;
            let start = (centre - radius + 0.5).max(0.0) as usize;
            let end = ((centre + radius + 0.5) as usize).min(inputs);
            exact.clear();
            exact.extend((start..end).map(|input| {
                let distance = (input as f64 - centre + 0.5) * (1.0 / radius);
                (1.0 - distance.abs()).max(0.0)
            }));
            let sum: f64 = exact.iter().sum();
            let whole = f64::from(1 << BITS);
            self.starts.push(start);
            self.weights.extend(exact.iter().map(|weight| (0.5 + weight / sum * whole) as i32));
            self.ends.push(self.weights.len());
        }
    }

    fn outputs(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut from = 0;
        self.starts.iter().zip(&self.ends).map(move |(&start, &end)| {
            let weights = &self.weights[from..end];
            from = end;
            (start, weights)
        })
    }

    /// The inputs that any output reads.
    fn reads(&self) -> Range<usize> {
        let last = self.outputs().last().map_or(0, |(start, weights)| start + weights.len());
        self.starts.first().map_or(0..0, |&first| first..last)
    }

    /// Resizes one row of pixels of `C` channels.
    fn along<const C: usize>(&self, row: &[u8], out: &mut Vec<u8>) {
        let pixels = row.as_chunks::<C>().0;
        for (start, weights) in self.outputs() {
            let mut sums = [1 << (BITS - 1); C];
            for (pixel, weight) in pixels[start..start + weights.len()].iter().zip(weights) {
                for c in 0..C {
                    sums[c] += i32::from(pixel[c]) * weight;
                }
            }
            out.extend(sums.map(to_byte));
        }
    }
}

/// The weighted mean of rows that lie one after another, byte by byte.
fn mean_of_rows(rows: &[u8], weights: &[i32], out: &mut Vec<u8>) {
    const BLOCK: usize = 64; // sums that stay in registers and the nearest cache
    let columns = rows.len() / weights.len();
    for first in (0..columns).step_by(BLOCK) {
        let count = BLOCK.min(columns - first);
        let mut sums = [1 << (BITS - 1); BLOCK];
        for (row, weight) in rows.chunks_exact(columns).zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(&row[first..first + count]) {
                *sum += i32::from(v) * weight;
            }
        }
        out.extend(sums[..count].iter().map(|&sum| to_byte(sum)));
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::super::testing::pattern;
    use super::*;

    fn whole(image: &Image, size: (usize, usize)) -> Vec<u8> {
        let part = (0..image.height, 0..image.width);
        Resizer::default().resize(image, part, size, (0..size.0, 0..size.1)).to_vec()
    }

    #[test]
    fn means_by_hand() {
        let image =
            |width, pixels: &[u8]| Image { width, height: 1, channels: 1, pixels: pixels.to_vec() };
        // Halving: each output lies over two pixels and reaches one further at either side, weights
        // 1 3 3 1; at the ends 3 3 1, which gives 400/7 and 1280/7.
        assert_eq!(whole(&image(4, &[0, 80, 160, 240]), (1, 2)), [57, 183]);
        assert_eq!(whole(&image(6, &[0, 0, 80, 160, 0, 0]), (1, 3))[1], 90);
        // Doubling: a quarter of the way to the neighbour.
        assert_eq!(whole(&image(2, &[0, 100]), (1, 4)), [0, 25, 75, 100]);
        assert_eq!(whole(&image(3, &[7, 8, 9]), (2, 3)), [7, 8, 9, 7, 8, 9]);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        for (image, size) in [
            (pattern(61, 47, 3), (20, 31)),
            (pattern(9, 14, 1), (33, 40)),
            (pattern(50, 7, 3), (7, 12)),
        ] {
            let all = whole(&image, size);
            let (rows, columns) = (2..size.0 - 1, 3..size.1);
            let mut resizer = Resizer::default();
            let window = resizer.resize(
                &image,
                (0..image.height, 0..image.width),
                size,
                (rows.clone(), columns.clone()),
            );
            let c = image.channels;
            let expected: Vec<u8> = all
                .chunks_exact(size.1 * c)
                .skip(rows.start)
                .take(rows.len())
                .flat_map(|row| row[columns.start * c..columns.end * c].to_vec())
                .collect();
            assert_eq!(window, expected);
        }
    }

    #[test]
    fn a_part_is_a_picture_of_its_own() {
        let image = pattern(30, 20, 3);
        let (rows, columns) = (5..17, 4..29);
        let cut =
            image.pixels.chunks_exact(90).skip(5).take(12).flat_map(|row| row[12..87].to_vec());
        let cut = Image { width: 25, height: 12, channels: 3, pixels: cut.collect() };
        let size = (8, 8);
        let mut resizer = Resizer::default();
        assert_eq!(resizer.resize(&image, (rows, columns), size, (0..8, 0..8)), whole(&cut, size));
    }
}
