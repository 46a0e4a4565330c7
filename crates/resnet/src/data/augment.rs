//! From bytes to the network's input: crops, flips, resizing, normalising.
//!
//! Training draws from the stream of (seed, epoch, index) alone. A picture of the input's size goes
//! straight from bytes to numbers through a table of 256 entries a channel. Others are resized as
//! Pillow does it (antialiased bilinear), and only where the crop needs it.
//!
//! Padding is put around the normalised picture: a padded pixel is 0, which is the mean, in every
//! channel (He et al. 2015, section 4.2: the per-pixel mean is subtracted, then 4 pixels are
//! padded). Networks and pictures of different colours: grey is repeated, colour becomes luma.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use super::preprocess::luma;
use super::resize::Resizer;
use super::{DataError, Image, Normalize, Preprocess};
use crate::base::rng::Rng;
use resnet_engine::graph::Shape;

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
    /// The number of each byte, by channel; without the mean where that is per pixel.
    tables: Vec<[f32; 256]>,
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
        let tables = (0..c).map(|c| {
            std::array::from_fn(|v| {
                let v = v as f32 / 255.0;
                match &preprocess.normalize {
                    Normalize::Channel { mean, std } => (v - mean[c]) / std[c],
                    Normalize::Pixel { .. } => v,
                }
            })
        });
        Ok(Transform { tables: tables.collect(), preprocess, augment })
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
        let mut rng = Rng::new(seed, &[STREAM, epoch, index]);
        let Shape { h, w, .. } = self.shape();
        if let Some(crop) = &self.augment.random_resized_crop {
            let part = crop.draw(&mut rng, image.height, image.width);
            let flip = self.augment.flip && rng.coin();
            return self.part(image, part, flip, out);
        }
        let (rows, columns) = self.resized(image);
        let pad = self.augment.pad;
        let mut place = |size: usize, crop: usize| {
            let room = (size + 2 * pad).checked_sub(crop).filter(|_| pad > 0);
            room.map_or_else(
                || centre(size, crop),
                |room| rng.below(room + 1) as isize - pad as isize,
            )
        };
        let at = (place(rows, h), place(columns, w));
        let flip = self.augment.flip && rng.coin();
        self.window(image, (rows, columns), at, flip, out);
    }

    /// The input for evaluation, HWC, in `out`.
    ///
    /// # Panics
    /// As [`Transform::train`].
    pub fn eval(&self, image: &Image, out: &mut [f32]) {
        let Shape { h, w, .. } = self.shape();
        let (rows, columns) = self.resized(image);
        self.window(image, (rows, columns), (centre(rows, h), centre(columns, w)), false, out);
    }

    /// Top, left, height and width of the part that [`Transform::eval`] shows the network, in the
    /// picture's own pixels.
    pub(crate) fn seen(&self, image: &Image) -> [f64; 4] {
        let Shape { h, w, .. } = self.shape();
        let (rows, columns) = self.resized(image);
        let (down, across) =
            (image.height as f64 / rows as f64, image.width as f64 / columns as f64);
        let (top, left) = (centre(rows, h) as f64, centre(columns, w) as f64);
        [top * down, left * across, h as f64 * down, w as f64 * across]
    }

    /// One of [`CROPS`] inputs for evaluation, HWC, in `out`: the centre, the corners at the upper
    /// left, upper right, lower left and lower right, and the same mirrored (Krizhevsky et al.
    /// 2012, section 4.1; He et al. 2015, section 3.4).
    ///
    /// # Panics
    /// As [`Transform::train`].
    pub fn crop(&self, crop: usize, image: &Image, out: &mut [f32]) {
        let Shape { h, w, .. } = self.shape();
        let (rows, columns) = self.resized(image);
        let far = |size: usize, crop: usize| size.saturating_sub(crop) as isize;
        let (bottom, right) = (far(rows, h), far(columns, w));
        let at = match crop % 5 {
            1 => (0, 0),
            2 => (0, right),
            3 => (bottom, 0),
            4 => (bottom, right),
            _ => (centre(rows, h), centre(columns, w)),
        };
        self.window(image, (rows, columns), at, crop % CROPS >= 5, out);
    }

    /// Rows and columns of the picture before it is cropped.
    fn resized(&self, image: &Image) -> (usize, usize) {
        let (rows, columns) = (image.height, image.width);
        let Shape { h, w, .. } = self.shape();
        match self.preprocess.resize {
            Some(side) if rows <= columns => (side, side * columns / rows),
            Some(side) => (side * rows / columns, side),
            None if h * columns >= w * rows => (h, (columns * h / rows).max(w)),
            None => ((rows * w / columns).max(h), w),
        }
    }

    /// The input-sized window at `at` (row, column; may lie outside in part) of the picture resized
    /// to `size`.
    fn window(
        &self,
        image: &Image,
        size: (usize, usize),
        at: (isize, isize),
        flip: bool,
        out: &mut [f32],
    ) {
        check(image);
        let Shape { h, w, .. } = self.shape();
        if size == (image.height, image.width) {
            let mean_at_source = size == (h, w);
            let source = Source {
                image: &image.pixels,
                rows: size.0,
                columns: size.1,
                channels: image.channels,
            };
            return self.write(source, at, mean_at_source, flip, out);
        }
        let window = (span(at.0, h, size.0), span(at.1, w, size.1));
        let inside = (at.0 - window.0.start as isize, at.1 - window.1.start as isize);
        let (rows, columns) = (window.0.len(), window.1.len());
        let whole = (0..image.height, 0..image.width);
        with_resizer(|resizer| {
            let resized = resizer.resize(image, whole, size, window);
            let source = Source { image: resized, rows, columns, channels: image.channels };
            self.write(source, inside, false, flip, out);
        });
    }

    /// A part of the picture (top, left, rows, columns), resized to the input as if the rest of it
    /// were not there.
    fn part(
        &self,
        image: &Image,
        [top, left, rows, columns]: [usize; 4],
        flip: bool,
        out: &mut [f32],
    ) {
        check(image);
        let Shape { h, w, .. } = self.shape();
        let part = (top..top + rows, left..left + columns);
        with_resizer(|resizer| {
            let resized = resizer.resize(image, part, (h, w), (0..h, 0..w));
            let source = Source { image: resized, rows: h, columns: w, channels: image.channels };
            self.write(source, (0, 0), false, flip, out);
        });
    }

    /// Normalises the window at `at` of `source` into `out`; 0 outside the source. The per-pixel
    /// mean lies on the source, or on the window.
    fn write(
        &self,
        source: Source<'_>,
        at: (isize, isize),
        mean_at_source: bool,
        flip: bool,
        out: &mut [f32],
    ) {
        let Shape { c, h, w } = self.shape();
        assert_eq!(out.len(), c * h * w, "out must hold the input's {} numbers", self.shape());
        let known = clip(at.1, w, source.columns); // window columns that the source has
        let target = if flip { w - known.end..w - known.start } else { known.clone() };
        for (y, row) in out.chunks_exact_mut(w * c).enumerate() {
            let from = y as isize + at.0;
            if from < 0 || from >= source.rows as isize || known.is_empty() {
                row.fill(0.0);
                continue;
            }
            row[..target.start * c].fill(0.0);
            row[target.end * c..].fill(0.0);
            let row = &mut row[target.start * c..target.end * c];
            let first = from as usize * source.columns + (known.start as isize + at.1) as usize;
            let bytes = &source.image[first * source.channels..][..known.len() * source.channels];
            self.normalise(bytes, source.channels, flip, row);
            if let Some(mean) = self.preprocess.pixel_mean() {
                let first = if mean_at_source { first } else { y * w + known.start };
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

    fn normalise(&self, bytes: &[u8], channels: usize, flip: bool, row: &mut [f32]) {
        match (channels, self.tables.as_slice()) {
            (1, [grey]) => convert(bytes, row, flip, |[v]: [u8; 1]| [grey[v as usize]]),
            (3, [r, g, b]) => convert(bytes, row, flip, |v: [u8; 3]| {
                [r[v[0] as usize], g[v[1] as usize], b[v[2] as usize]]
            }),
            (1, [r, g, b]) => convert(bytes, row, flip, |[v]: [u8; 1]| {
                [r[v as usize], g[v as usize], b[v as usize]]
            }),
            (3, [grey]) => convert(bytes, row, flip, |v: [u8; 3]| [grey[luma(v) as usize]]),
            (_, tables) => unreachable!(
                "{channels} channels to {}, though both are checked to be 1 or 3",
                tables.len()
            ),
        }
    }
}

/// Bytes to copy from.
#[derive(Clone, Copy)]
struct Source<'a> {
    image: &'a [u8],
    rows: usize,
    columns: usize,
    channels: usize,
}

fn convert<const S: usize, const D: usize>(
    bytes: &[u8],
    row: &mut [f32],
    flip: bool,
    number: impl Fn([u8; S]) -> [f32; D],
) {
    let pairs = bytes.as_chunks::<S>().0.iter().copied();
    let row = row.as_chunks_mut::<D>().0;
    match flip {
        false => pairs.zip(row).for_each(|(v, x)| *x = number(v)),
        true => pairs.zip(row.iter_mut().rev()).for_each(|(v, x)| *x = number(v)),
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

fn check(image: &Image) {
    let Image { width, height, channels, pixels } = image;
    assert!(
        *width > 0
            && *height > 0
            && matches!(channels, 1 | 3)
            && width * height * channels == pixels.len(),
        "a picture of {width} x {height} pixels of {channels} channels in {} bytes",
        pixels.len()
    );
}

/// Lends this thread's resizer: workers resize one picture after another, and its memory spares an
/// allocation for each.
fn with_resizer(run: impl FnOnce(&mut Resizer)) {
    thread_local! {
        static RESIZER: RefCell<Resizer> = RefCell::default();
    }
    RESIZER.with_borrow_mut(run);
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
