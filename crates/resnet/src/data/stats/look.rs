//! What pictures say once they are decoded.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{DataError, Image};
use super::{Opened, spaced};
use crate::base::threads;

/// What a picture's pixels say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) size: (u32, u32),
    /// Whether every pixel is grey.
    pub(super) grey: bool,
    /// Mean of the bytes, and of their squares, by channel.
    moments: Vec<[f64; 2]>,
}

/// Decodes `count` of the pictures, evenly spaced over all splits, and says which split each is
/// of; `None` of one that is damaged. The order is the data's for any number of threads.
///
/// # Errors
/// The system failed.
pub(super) fn all(
    opened: &Opened,
    count: usize,
    on: &(dyn Fn(usize) + Sync),
) -> Result<Vec<(usize, Option<Look>)>, DataError> {
    let done = AtomicUsize::new(0);
    let starts: Vec<usize> = opened
        .parts
        .iter()
        .scan(0, |next, part| {
            *next += part.len();
            Some(*next - part.len())
        })
        .collect();
    let jobs: Vec<usize> = spaced(opened.images(), count).collect();
    let look = |image: &mut Image, &job: &usize| {
        // Of parts that begin at one place, all but the last are empty.
        let part = starts.partition_point(|start| *start <= job) - 1;
        let read = opened.parts[part].read(job - starts[part], image);
        on(done.fetch_add(1, Ordering::Relaxed) + 1);
        match read {
            Ok(()) => Ok((part, Some(Look::of(image)))),
            Err(error) if error.is_of_system() => Err(error),
            Err(_) => Ok((part, None)),
        }
    };
    threads::map_with(&jobs, threads::cores(), Image::default, look).into_iter().collect()
}

impl Look {
    fn of(image: &Image) -> Look {
        let pixels = (image.width * image.height) as f64;
        let mut sums = vec![[0u64; 2]; image.channels];
        let mut grey = true;
        for pixel in image.pixels.chunks_exact(image.channels) {
            grey &= pixel.iter().all(|value| *value == pixel[0]);
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                let value = u64::from(value);
                sum[0] += value;
                sum[1] += value * value;
            }
        }
        let of_channel = |sums: [u64; 2]| sums.map(|sum| sum as f64 / pixels);
        Look {
            size: (image.width as u32, image.height as u32),
            grey,
            moments: sums.into_iter().map(of_channel).collect(),
        }
    }
}

/// Mean and standard deviation by channel, of 0 to 1; none of no pictures.
pub(super) fn moments(looks: &[&Look]) -> (Vec<f64>, Vec<f64>) {
    let channels = looks.iter().map(|look| look.moments.len()).max().unwrap_or(0);
    let of = |look: &Look, channel: usize| look.moments[channel.min(look.moments.len() - 1)];
    let one = |channel: usize| {
        let sum = |which: usize| looks.iter().map(|look| of(look, channel)[which]).sum::<f64>();
        let count = looks.len() as f64;
        let (first, second) = (sum(0) / count / 255.0, sum(1) / count / (255.0 * 255.0));
        (first, (second - first * first).max(0.0).sqrt())
    };
    (0..channels).map(one).unzip()
}
