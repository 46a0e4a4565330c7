//! From bytes to the network's input: crops, flips, resizing, normalising.
//!
//! Training draws from the stream of (seed, epoch, index) and the picture's size alone, so what a
//! look at a picture reads of it is known before it is decoded. A picture of the input's size goes
//! straight from bytes to numbers. Others are resized as Pillow does it (antialiased bilinear), and
//! only where the crop needs it.
//!
//! Padding is put around the normalised picture: a padded pixel is 0, which is the mean, in every
//! channel (He et al. 2015, section 4.2: the per-pixel mean is subtracted, then 4 pixels are
//! padded). Networks and pictures of different colours: grey is repeated, colour becomes luma.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::preprocess::luma;
use super::resize::{Scratch, pixels, with_scratch};
use super::{DataError, Image, Normalize, Part, Preprocess};
use crate::base::rng::Rng;
use resnet_engine::graph::Shape;
use resnet_engine::picture::{Area, Normalizer, Resize, normalizer};

/// What is done to training pictures so that the network does not see the same one twice. All off
/// by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pixels put around a picture on each side before a crop of the input's size is taken at a
    /// random place; 0: the centre is taken. He et al. 2015 use 4 for pictures of 32 pixels.
    pub pad: usize,
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// A random part of the picture, resized to the input; takes the place of padding.
    pub random_resized_crop: Option<RandomResizedCrop>,
}

/// A random rectangle of a picture, resized to the input (Szegedy et al. 2014, section 6;
/// torchvision's drawing of it).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Least and most of the picture's area.
    pub scale: (f64, f64),
    /// Least and most width over height; drawn evenly in its logarithm.
    pub ratio: (f64, f64),
}

impl Default for RandomResizedCrop {
    fn default() -> RandomResizedCrop {
        RandomResizedCrop { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }
}

/// Makes network inputs of pictures.
#[derive(Clone, Debug)]
pub struct Transform {
    preprocess: Preprocess,
    augment: Augment,
    /// Without the mean where that is per pixel.
    normalizer: Normalizer,
}

/// Inputs of one picture in an evaluation with crops.
pub const CROPS: usize = 10;

/// Keeps augmentation's streams apart from others of the same seed.
const STREAM: u64 = 0x6175_676d;

impl Transform {
    /// A transform to `preprocess`'s input.
    ///
    /// # Errors
    /// `preprocess` or `augment` does not make sense; the message names the part.
    pub fn new(preprocess: Preprocess, augment: Augment) -> Result<Transform, DataError> {
        preprocess.check()?;
        let Shape { c, h, w } = preprocess.shape;
        if augment.pad > h.max(w) {
            return Err(DataError::Preprocess(format!(
                "pad is {}, larger than the input's {h} x {w} pixels",
                augment.pad
            )));
        }
        if let Some(crop) = &augment.random_resized_crop {
            let ((s0, s1), (r0, r1)) = (crop.scale, crop.ratio);
            if !(0.0 < s0 && s0 <= s1 && s1 <= 1.0 && 0.0 < r0 && r0 <= r1 && r1.is_finite()) {
                return Err(DataError::Preprocess(format!(
                    "random_resized_crop has scale {s0} to {s1} and ratio {r0} to {r1}; \
                     both must rise from above 0, and a scale is at most 1"
                )));
            }
        }
        let normalizer = match &preprocess.normalize {
            Normalize::Channel { mean, std } => normalizer(mean, std),
            Normalize::Pixel { .. } => normalizer(&vec![0.0; c], &vec![1.0; c]),
        };
        Ok(Transform { normalizer, preprocess, augment })
    }

    /// What is done to every picture.
    pub(crate) fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// How training pictures are varied.
    pub(crate) fn augment(&self) -> &Augment {
        &self.augment
    }

    /// Shape of the network's input.
    pub fn shape(&self) -> Shape {
        self.preprocess.shape
    }

    /// The input for training, HWC, in `out`: a function of the picture, `seed`, `epoch` and
    /// `index`.
    ///
    /// # Panics
    /// If `out` is not [`Transform::shape`] numbers, or `image` is not what it says it is.
    pub fn train(&self, seed: u64, epoch: u64, index: u64, image: &Image, out: &mut [f32]) {
        self.look(View::Train { seed, epoch, index }, image, &Part::whole(image), out);
    }

    /// The input for evaluation, HWC, in `out`.
    ///
    /// # Panics
    /// As [`Transform::train`].
    pub fn eval(&self, image: &Image, out: &mut [f32]) {
        self.look(View::Eval, image, &Part::whole(image), out);
    }

    /// One of [`CROPS`] inputs for evaluation, HWC, in `out`: the centre, the corners at the upper
    /// left, upper right, lower left and lower right, and the same mirrored (Krizhevsky et al.
    /// 2012, section 4.1; He et al. 2015, section 3.4).
    ///
    /// # Panics
    /// As [`Transform::train`].
    pub fn crop(&self, crop: usize, image: &Image, out: &mut [f32]) {
        self.look(View::Crop(crop), image, &Part::whole(image), out);
    }

    /// The rows and columns that a view reads of a picture of this height and width, at least one
    /// of each; a [`Dataset`](super::Dataset) need decode no others.
    pub fn reads(&self, view: View, height: usize, width: usize) -> Area {
        self.cut(view, (height, width)).reads(self.shape())
    }

    /// The input of a view, HWC, in `out`, of a picture of which `image` holds `part`.
    ///
    /// # Panics
    /// If `out` is not [`Transform::shape`] numbers, `image` is not what it says it is, or it lacks
    /// what [`Transform::reads`] says.
    pub fn look(&self, view: View, image: &Image, part: &Part, out: &mut [f32]) {
        check(image, part);
        let cut = self.cut(view, part.size);
        let Shape { h, w, .. } = self.shape();
        let window = cut.window(self.shape());
        let at = (cut.at.0 - window.0.start as isize, cut.at.1 - window.1.start as isize);
        let (rows, columns) = (window.0.len(), window.1.len());
        let channels = image.channels;
        if cut.is_resized() {
            let wanted = cut.resize(self.shape());
            return with_scratch(|Scratch { resizer, row }| {
                let bytes = resizer.resize(&pixels(image, part), &wanted);
                let (stride, mirrored) = (columns, cut.flip);
                let source = Source { bytes, rows, columns, stride, channels, mirrored };
                self.write(source, at, None, cut.flip, row, out);
            });
        }
        let reads = cut.reads(self.shape());
        assert!(part.holds(&reads), "{part:?} is there, {reads:?} are read");
        let top = reads.0.start - part.area.0.start;
        let left = reads.1.start - part.area.1.start;
        let bytes = &image.pixels[(top * image.width + left) * channels..];
        // The mean lies on a picture of the input's size, and moves with it.
        let mean_at = (cut.size == (h, w)).then_some((window.0.start, window.1.start));
        let stride = image.width;
        let source = Source { bytes, rows, columns, stride, channels, mirrored: false };
        with_scratch(|scratch| {
            self.write(source, at, mean_at, cut.flip, &mut scratch.row, out);
        });
    }

    /// Top, left, height and width of the part that [`Transform::eval`] shows the network, in the
    /// picture's own pixels.
    pub(crate) fn seen(&self, image: &Image) -> [f64; 4] {
        let Shape { h, w, .. } = self.shape();
        let (rows, columns) = self.resized(image.height, image.width);
        let (down, across) =
            (image.height as f64 / rows as f64, image.width as f64 / columns as f64);
        let (top, left) = (centre(rows, h) as f64, centre(columns, w) as f64);
        [top * down, left * across, h as f64 * down, w as f64 * across]
    }

    /// What a view is made of.
    fn cut(&self, view: View, (height, width): (usize, usize)) -> Cut {
        let Shape { h, w, .. } = self.shape();
        let whole = (0..height, 0..width);
        let size = self.resized(height, width);
        let (rows, columns) = size;
        match view {
            View::Train { seed, epoch, index } => {
                let mut rng = Rng::new(seed, &[STREAM, epoch, index]);
                if let Some(crop) = &self.augment.random_resized_crop {
                    let [top, left, rows, columns] = crop.draw(&mut rng, height, width);
                    let part = (top..top + rows, left..left + columns);
                    let flip = self.augment.flip && rng.coin();
                    return Cut { part, size: (h, w), at: (0, 0), flip };
                }
                let pad = self.augment.pad;
                let mut place = |size: usize, crop: usize| {
                    let room = (size + 2 * pad).checked_sub(crop).filter(|_| pad > 0);
                    room.map_or_else(
                        || centre(size, crop),
                        |room| rng.below(room + 1) as isize - pad as isize,
                    )
                };
                let at = (place(rows, h), place(columns, w));
                Cut { part: whole, size, at, flip: self.augment.flip && rng.coin() }
            }
            View::Eval => {
                let at = (centre(rows, h), centre(columns, w));
                Cut { part: whole, size, at, flip: false }
            }
            View::Crop(crop) => {
                let far = |size: usize, crop: usize| size.saturating_sub(crop) as isize;
                let (bottom, right) = (far(rows, h), far(columns, w));
                let at = match crop % 5 {
                    1 => (0, 0),
                    2 => (0, right),
                    3 => (bottom, 0),
                    4 => (bottom, right),
                    _ => (centre(rows, h), centre(columns, w)),
                };
                Cut { part: whole, size, at, flip: crop % CROPS >= 5 }
            }
        }
    }

    /// Rows and columns of the picture before it is cropped.
    fn resized(&self, rows: usize, columns: usize) -> (usize, usize) {
        let Shape { h, w, .. } = self.shape();
        match self.preprocess.resize {
            Some(side) if rows <= columns => (side, side * columns / rows),
            Some(side) => (side * rows / columns, side),
            None if h * columns >= w * rows => (h, (columns * h / rows).max(w)),
            None => ((rows * w / columns).max(h), w),
        }
    }

    /// Normalises the window at `at` of `source` into `out`; 0 outside the source. The per-pixel
    /// mean lies on the window, or so that its pixel `mean_at` is the source's first. `turned` is
    /// memory for a row.
    fn write(
        &self,
        source: Source<'_>,
        at: (isize, isize),
        mean_at: Option<(usize, usize)>,
        flip: bool,
        turned: &mut Vec<u8>,
        out: &mut [f32],
    ) {
        let Shape { c, h, w } = self.shape();
        assert_eq!(out.len(), c * h * w, "out must hold the input's {} numbers", self.shape());
        let known = clip(at.1, w, source.columns); // window columns that the source has
        let target = if flip { w - known.end..w - known.start } else { known.clone() };
        // The same in columns of the source.
        let read = [known.start, known.end].map(|column| (column as isize + at.1) as usize);
        for (y, row) in out.chunks_exact_mut(w * c).enumerate() {
            let from = y as isize + at.0;
            if from < 0 || from >= source.rows as isize || known.is_empty() {
                row.fill(0.0);
                continue;
            }
            row[..target.start * c].fill(0.0);
            row[target.end * c..].fill(0.0);
            let row = &mut row[target.start * c..target.end * c];
            let bytes = source.row(from as usize, read[0]..read[1]);
            if source.channels == c && source.mirrored == flip {
                self.normalizer.normalize(bytes, row);
            } else {
                turn(bytes, source.channels, c, source.mirrored != flip, turned);
                self.normalizer.normalize(turned, row);
            }
            if let Some(mean) = self.preprocess.pixel_mean() {
                let first = match mean_at {
                    Some((top, left)) => (from as usize + top) * w + read[0] + left,
                    None => y * w + known.start,
                };
                let mean = &mean[first * c..][..row.len()];
                match flip {
                    false => row.iter_mut().zip(mean).for_each(|(x, m)| *x -= m),
                    true => row
                        .rchunks_exact_mut(c)
                        .zip(mean.chunks_exact(c))
                        .for_each(|(x, m)| x.iter_mut().zip(m).for_each(|(x, m)| *x -= m)),
                }
            }
        }
    }
}

/// Which look at a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// For training: varied by a stream of these three.
    Train {
        /// Of the run.
        seed: u64,
        /// Pass over the data.
        epoch: u64,
        /// The picture's turn in it.
        index: u64,
    },
    /// For evaluation: the centre.
    Eval,
    /// For evaluation: one of [`CROPS`].
    Crop(usize),
}

/// How a view is made: a part of the picture is resized as if the rest were not there, and the
/// input lies in that.
struct Cut {
    part: Area,
    /// Rows and columns that the part is resized to.
    size: (usize, usize),
    /// Where in these the input begins; it may lie outside in part.
    at: (isize, isize),
    flip: bool,
}

impl Cut {
    fn is_resized(&self) -> bool {
        self.size != (self.part.0.len(), self.part.1.len())
    }

    /// What the input has of the resized part.
    fn window(&self, Shape { h, w, .. }: Shape) -> Area {
        (span(self.at.0, h, self.size.0), span(self.at.1, w, self.size.1))
    }

    fn resize(&self, shape: Shape) -> Resize {
        let window = self.window(shape);
        Resize { part: self.part.clone(), size: self.size, window, mirrored: self.flip }
    }

    fn reads(&self, shape: Shape) -> Area {
        if self.is_resized() {
            return self.resize(shape).reads();
        }
        let (rows, columns) = self.window(shape);
        let (top, left) = (self.part.0.start, self.part.1.start);
        (top + rows.start..top + rows.end, left + columns.start..left + columns.end)
    }
}

/// Bytes to normalise: rows that begin `stride` pixels apart.
#[derive(Clone, Copy)]
struct Source<'a> {
    bytes: &'a [u8],
    rows: usize,
    columns: usize,
    stride: usize,
    channels: usize,
    /// Whether columns go from right to left.
    mirrored: bool,
}

impl<'a> Source<'a> {
    /// Columns of a row, counted from the left.
    fn row(&self, row: usize, columns: Range<usize>) -> &'a [u8] {
        let first = if self.mirrored { self.columns - columns.end } else { columns.start };
        let first = (row * self.stride + first) * self.channels;
        &self.bytes[first..first + columns.len() * self.channels]
    }
}

/// Pixels in as many channels as the network has, in reverse order if `reverse`.
fn turn(bytes: &[u8], from: usize, to: usize, reverse: bool, turned: &mut Vec<u8>) {
    turned.clear();
    match (from, to) {
        (1, 1) => turned.extend(bytes),
        (3, 3) => turned.extend(bytes),
        (1, _) => turned.extend(bytes.iter().flat_map(|&v| [v; 3])),
        _ => turned.extend(bytes.as_chunks::<3>().0.iter().map(|&v| luma(v))),
    }
    match to {
        _ if !reverse => {}
        1 => turned.reverse(),
        _ => turned.as_chunks_mut::<3>().0.reverse(),
    }
}

/// Start of the middle `crop` of `size`, halves to even as torchvision rounds them; negative where
/// the crop is larger.
fn centre(size: usize, crop: usize) -> isize {
    let room = size as isize - crop as isize;
    let half = room / 2; // towards 0, so that the odd padded pixel comes after
    if room > 0 && room % 2 == 1 { half + (half & 1) } else { half }
}

/// Of a window of `len` at `at`, the part that lies in 0..size, in window positions.
fn clip(at: isize, len: usize, size: usize) -> std::ops::Range<usize> {
    let bound = |v: isize| v.clamp(0, len as isize) as usize;
    let start = bound(-at);
    start..bound(size as isize - at).max(start)
}

/// The same in positions of 0..size; of at least one, so that there is something to resize.
fn span(at: isize, len: usize, size: usize) -> std::ops::Range<usize> {
    let start = at.clamp(0, size as isize - 1) as usize;
    let end = (at + len as isize).clamp(start as isize + 1, size as isize) as usize;
    start..end
}

fn check(image: &Image, part: &Part) {
    let Image { width, height, channels, pixels } = image;
    assert!(
        *width > 0
            && *height > 0
            && matches!(channels, 1 | 3)
            && width * height * channels == pixels.len(),
        "a picture of {width} x {height} pixels of {channels} channels in {} bytes",
        pixels.len()
    );
    assert!(
        part.area.0.len() == *height && part.area.1.len() == *width,
        "{width} x {height} pixels, which are said to be {part:?}"
    );
}

impl RandomResizedCrop {
    /// Top, left, rows and columns of a random part.
    fn draw(&self, rng: &mut Rng, rows: usize, columns: usize) -> [usize; 4] {
        let area = (rows * columns) as f64;
        let (least, most) = self.ratio;
        for _ in 0..10 {
            let part = area * rng.range(self.scale.0, self.scale.1);
            let ratio = rng.range(least.ln(), most.ln()).exp();
            let w = (part * ratio).sqrt().round() as usize;
            let h = (part / ratio).sqrt().round() as usize;
            if (1..=rows).contains(&h) && (1..=columns).contains(&w) {
                return [rng.below(rows - h + 1), rng.below(columns - w + 1), h, w];
            }
        }
        // Very long pictures: the largest middle part of a possible ratio.
        let ratio = columns as f64 / rows as f64;
        let (h, w) = if ratio < least {
            (((columns as f64 / least).round() as usize).clamp(1, rows), columns)
        } else if ratio > most {
            (rows, ((rows as f64 * most).round() as usize).clamp(1, columns))
        } else {
            (rows, columns)
        };
        [(rows - h) / 2, (columns - w) / 2, h, w]
    }
}

#[cfg(test)]
mod tests;
