//! What is done to every picture before the network sees it: part of the network, and stored with
//! it.

use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Image};
use crate::base::threads;
use resnet_engine::graph::Shape;

/// Resizing, cropping and normalising, as a model file carries them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// The network's input; written as `[c, h, w]`.
    #[serde(with = "shape_as_list")]
    pub shape: Shape,
    /// Pixels of the shorter side before the centre is cropped. `None`: a picture of the input's
    /// size is taken as it is, and any other is resized until it just covers the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// How bytes become numbers.
    pub normalize: Normalize,
}

/// How a byte v of a picture becomes a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// (v/255 - mean) / std, for each channel.
    Channel {
        /// One number a channel, of 0..1.
        mean: Vec<f32>,
        /// One number a channel, above 0.
        std: Vec<f32>,
    },
    /// v/255 - mean, with a mean for each pixel (He et al. 2015, section 4.2).
    Pixel {
        /// A picture of the input's shape, HWC. Not written with the rest: it belongs beside the
        /// weights, as an array.
        #[serde(skip)]
        mean: Vec<f32>,
    },
}

/// Pictures looked at for means, of data whose pictures have one shape.
const MOST_FIXED: usize = 1 << 16;
/// The same for pictures of any size, which are photos to decode.
const MOST_VARIED: usize = 512;

impl Preprocess {
    /// The per-pixel mean, HWC, if there is to be one; empty after reading, until it is set.
    pub(crate) fn pixel_mean(&self) -> Option<&[f32]> {
        match &self.normalize {
            Normalize::Pixel { mean } => Some(mean),
            Normalize::Channel { .. } => None,
        }
    }

    /// Puts the per-pixel mean, HWC, beside the rest again.
    ///
    /// # Errors
    /// The mean has another length than the input, or no per-pixel mean is asked for.
    pub(crate) fn set_pixel_mean(&mut self, values: Vec<f32>) -> Result<(), DataError> {
        match &mut self.normalize {
            Normalize::Pixel { mean } => *mean = values,
            Normalize::Channel { .. } => {
                return fault("a per-pixel mean was given, but normalising is per channel".into());
            }
        }
        self.check()
    }

    /// Checks that the parts fit each other; what a file says may be anything.
    ///
    /// # Errors
    /// The message names the part.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let Shape { c, h, w } = self.shape;
        if c != 1 && c != 3 {
            return fault(format!("the input has {c} channels; pictures have 1 or 3"));
        }
        if !(1..=65_535).contains(&h) || !(1..=65_535).contains(&w) {
            return fault(format!("the input is {h} x {w} pixels; 1 to 65535 a side are possible"));
        }
        if self.resize.is_some_and(|side| side < h.max(w) || side > 65_535) {
            let side = self.resize.unwrap_or_default();
            return fault(format!(
                "resize is {side}; it must cover the input's {h} x {w} and be at most 65535"
            ));
        }
        match &self.normalize {
            Normalize::Channel { mean, std } => {
                if mean.len() != c || std.len() != c {
                    return fault(format!(
                        "{} means and {} standard deviations for the input's {c} channels",
                        mean.len(),
                        std.len()
                    ));
                }
                if !mean.iter().all(|v| v.is_finite())
                    || !std.iter().all(|v| v.is_finite() && *v > 0.0)
                {
                    return fault(format!(
                        "mean {mean:?} or standard deviation {std:?} is not usable"
                    ));
                }
            }
            Normalize::Pixel { mean } => {
                if mean.len() != self.shape.len() {
                    return fault(format!(
                        "the per-pixel mean has {} numbers, the input {}",
                        mean.len(),
                        self.shape.len()
                    ));
                }
                if !mean.iter().all(|v| v.is_finite()) {
                    return fault(
                        "the per-pixel mean holds a number that is not finite".to_string(),
                    );
                }
            }
        }
        Ok(())
    }
}

impl Normalize {
    /// Per-channel mean and standard deviation of `data`, for a network of `channels` input
    /// channels.
    ///
    /// All pictures are looked at up to 65,536 of one shape, or 512 of different sizes; of more, as
    /// many evenly spaced ones. Each picture counts the same whatever its size, and the result is
    /// the same each time. A channel that never changes gets standard deviation 1.
    ///
    /// # Errors
    /// No picture can be read, or the system fails.
    pub fn channel(data: &dyn Dataset, channels: usize) -> Result<Normalize, DataError> {
        let measured = measure(data, |image| {
            let mut sums = [[0u64; 2]; 3];
            for_each_pixel(image, channels, |_, c, v| {
                let v = u64::from(v);
                sums[c][0] += v;
                sums[c][1] += v * v;
            });
            let pixels = (image.width * image.height) as f64;
            sums.map(|[sum, squares]| [sum as f64 / pixels, squares as f64 / pixels])
        })?;
        let count = measured.len() as f64;
        let mut mean = Vec::with_capacity(channels);
        let mut std = Vec::with_capacity(channels);
        for c in 0..channels {
            let first = measured.iter().map(|m| m[c][0]).sum::<f64>() / count / 255.0;
            let second = measured.iter().map(|m| m[c][1]).sum::<f64>() / count / (255.0 * 255.0);
            let deviation = (second - first * first).max(0.0).sqrt();
            mean.push(first as f32);
            std.push(if deviation < 1e-6 { 1.0 } else { deviation as f32 });
        }
        Ok(Normalize::Channel { mean, std })
    }

    /// The mean picture of `data`, for a network whose input is `shape`. Of more than 65,536
    /// pictures, as many evenly spaced ones are looked at.
    ///
    /// # Errors
    /// The pictures are not all of the input's height and width, none can be read, or the system
    /// fails.
    pub fn pixel(data: &dyn Dataset, shape: Shape) -> Result<Normalize, DataError> {
        if data.shape().map(|found| (found.h, found.w)) != Some((shape.h, shape.w)) {
            let found = match data.shape() {
                Some(found) => format!("are {} x {}", found.h, found.w),
                None => "have different sizes".to_string(),
            };
            return fault(format!(
                "a per-pixel mean needs pictures of the input's {} x {} pixels, but these {found}; normalise per channel",
                shape.h, shape.w
            ));
        }
        let mut sums = vec![0u64; shape.len()];
        let mut count = 0;
        let mut image = Image::default();
        let mut first_error = None;
        for index in sample(data) {
            match data.read(index, &mut image) {
                Ok(()) if (image.height, image.width) == (shape.h, shape.w) => {
                    for_each_pixel(&image, shape.c, |at, c, v| {
                        sums[at * shape.c + c] += u64::from(v)
                    });
                    count += 1;
                }
                Ok(()) => {} // not the size its header said; the loader reports it by resizing or not at all
                Err(error) if error.is_of_system() => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if count == 0 {
            return Err(
                first_error.unwrap_or(DataError::Preprocess("there are no pictures".to_string()))
            );
        }
        let scale = 255.0 * f64::from(count);
        Ok(Normalize::Pixel {
            mean: sums.into_iter().map(|sum| (sum as f64 / scale) as f32).collect(),
        })
    }
}

fn fault<T>(text: String) -> Result<T, DataError> {
    Err(DataError::Preprocess(text))
}

/// The indices to look at: all, or as many evenly spaced ones as are allowed.
fn sample(data: &dyn Dataset) -> impl Iterator<Item = usize> {
    let most = if data.shape().is_some() { MOST_FIXED } else { MOST_VARIED };
    let (len, count) = (data.len(), data.len().min(most));
    (0..count).map(move |i| (i as u64 * len as u64 / count as u64) as usize)
}

/// Measures the sampled pictures on a few threads; results in the order of the pictures. Broken
/// pictures are passed over; an error of the system is returned.
fn measure<T: Send>(
    data: &dyn Dataset,
    measure: impl Fn(&Image) -> T + Sync,
) -> Result<Vec<T>, DataError> {
    let indices: Vec<usize> = sample(data).collect();
    let one = |image: &mut Image, &index: &usize| data.read(index, image).map(|()| measure(image));
    let mut measured = Vec::with_capacity(indices.len());
    let mut first_error = None;
    for result in threads::map_with(&indices, threads::cores(), Image::default, one) {
        match result {
            Ok(value) => measured.push(value),
            Err(error) if error.is_of_system() => return Err(error),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match measured.is_empty() {
        false => Ok(measured),
        true => {
            Err(first_error.unwrap_or(DataError::Preprocess("there are no pictures".to_string())))
        }
    }
}

/// Calls `f` with each pixel's position, channel and byte, as a network of `channels` input
/// channels sees them.
fn for_each_pixel(image: &Image, channels: usize, mut f: impl FnMut(usize, usize, u8)) {
    for (at, pixel) in image.pixels.chunks_exact(image.channels).enumerate() {
        match (pixel, channels) {
            (&[r, g, b], 1) => f(at, 0, luma([r, g, b])),
            (&[v], _) => (0..channels).for_each(|c| f(at, c, v)),
            _ => pixel.iter().enumerate().for_each(|(c, &v)| f(at, c, v)),
        }
    }
}

/// Grey of a colour (ITU-R BT.601), rounded.
pub(super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + (1 << 15)) >> 16) as u8
}

mod shape_as_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use resnet_engine::graph::Shape;

    pub(super) fn serialize<S: Serializer>(
        shape: &Shape,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        [shape.c, shape.h, shape.w].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Shape, D::Error> {
        let [c, h, w] = <[usize; 3]>::deserialize(deserializer)?;
        Ok(Shape::new(c, h, w))
    }
}

#[cfg(test)]
mod tests;
