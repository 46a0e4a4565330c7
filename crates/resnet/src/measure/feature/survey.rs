//! One pass over pictures: what each channel of chosen points answers to.

use std::cmp::Ordering;
use std::sync::Arc;

use resnet_engine::exec::{Device, Session};
use resnet_engine::graph::Graph;
use resnet_engine::op::ShapeError;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::{Memory, SlotId};

use super::points::Point;
use crate::data::{Augment, Dataset, Loader, LoaderOptions, Transform};
use crate::measure::evaluate::{UseError, loader_workers};
use crate::model::Model;

/// Pictures that are kept of those that excite a channel most.
pub const TOP: usize = 9;
/// Most bytes of the maps of a batch, all of which are kept.
const MOST_BYTES: usize = 384 << 20;
/// Most pictures in a batch.
const MOST: usize = 32;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Labels of the pictures that were read.
    pub labels: Vec<u32>,
    /// Their indices in the data.
    pub indices: Vec<u32>,
    /// For each point the mean of each channel over its places, `[pictures, channels]`.
    pub pooled: Vec<Vec<f32>>,
    /// For each point that was to be looked at closely its channels; empty for the others.
    pub channels: Vec<Vec<Channel>>,
    /// Of the same points the maps of the first picture, `[h, w, c]`.
    pub first: Vec<Vec<f32>>,
    /// Warnings about pictures that could not be read.
    pub warnings: Vec<String>,
}

/// A channel.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// Mean over the pictures of its largest answer in each.
    pub mean_peak: f64,
    /// The pictures that excite it most, at most [`TOP`], the first most.
    pub top: Vec<Peak>,
}

/// Where in a picture a channel answers most.
#[derive(Clone, Debug)]
pub struct Peak {
    /// The picture's index in the data.
    pub picture: u32,
    /// The answer.
    pub value: f32,
    /// Row and column in the map.
    pub at: (usize, usize),
    /// The channel's map of this picture, `[h, w]`.
    pub map: Vec<f32>,
}

impl Channel {
    /// How much more its pictures excite the channel than others do: the least of the top pictures'
    /// peaks over the mean of all pictures' peaks; 0 if it never answers.
    pub fn selectivity(&self) -> f64 {
        let least = self.top.last().map_or(0.0, |peak| f64::from(peak.value));
        if self.mean_peak > 0.0 { least / self.mean_peak } else { 0.0 }
    }

    fn see(&mut self, peak: f32, picture: u32, at: (usize, usize), map: impl Fn() -> Vec<f32>) {
        let full = self.top.len() == TOP;
        if full && self.top[TOP - 1].value >= peak {
            return;
        }
        let place = self.top.partition_point(|other| other.value >= peak);
        self.top.truncate(TOP - usize::from(full));
        self.top.insert(place, Peak { picture, value: peak, at, map: map() });
    }
}

/// Runs the first `most` pictures of `data` through a model's network; `closely` lists the points
/// whose channels are looked at one by one. `on` is told how many pictures are done.
///
/// # Errors
/// The network cannot be run, or the system fails while pictures are read.
pub fn survey(
    model: &Model,
    points: &[Point],
    closely: &[usize],
    data: Arc<dyn Dataset>,
    most: usize,
    device: &dyn Device,
    on: &mut dyn FnMut(usize),
) -> Result<Survey, UseError> {
    let graph = model.graph()?;
    let (plan, batch) = keeping(&graph, most.min(data.len()))?;
    let slots: Vec<SlotId> =
        points.iter().map(|p| plan.outputs[p.layer.0].expect("a point ends a step")).collect();
    let mut session = Session::to_run(device, plan)?;
    model.apply(&mut session)?;
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let workers = loader_workers(data.as_ref(), device.threads());
    let loader = Loader::new(data, transform, LoaderOptions::eval(batch, workers))?;
    let mut seen = Survey {
        pooled: vec![Vec::new(); points.len()],
        channels: vec![Vec::new(); points.len()],
        first: vec![Vec::new(); points.len()],
        ..Survey::default()
    };
    for &i in closely {
        seen.channels[i] = vec![Channel::default(); points[i].shape.c];
    }
    let mut logits = vec![0.0; batch * session.plan().classes];
    for pictures in loader.epoch(0, 0) {
        let pictures = pictures?;
        seen.warnings.extend(pictures.warnings.iter().map(ToString::to_string));
        session.infer(&pictures.x, &mut logits)?;
        let count = pictures.count.min(most - seen.labels.len());
        for (i, (point, slot)) in points.iter().zip(&slots).enumerate() {
            let maps = session.get(*slot)?;
            for (maps, &picture) in
                maps.chunks_exact(point.shape.len()).zip(&pictures.indices[..count])
            {
                pool(maps, point.shape.c, &mut seen.pooled[i]);
                look(&mut seen.channels[i], maps, point, picture);
                if !seen.channels[i].is_empty() && seen.first[i].is_empty() {
                    seen.first[i] = maps.to_vec();
                }
            }
        }
        seen.labels.extend(&pictures.labels[..count]);
        seen.indices.extend(&pictures.indices[..count]);
        on(seen.labels.len());
        if seen.labels.len() == most {
            break;
        }
    }
    let count = seen.labels.len().max(1) as f64;
    seen.channels.iter_mut().flatten().for_each(|channel| channel.mean_peak /= count);
    Ok(seen)
}

/// A plan of one step a block or layer that keeps all maps, and the pictures of a batch for which
/// they take a moderate amount of memory.
pub(super) fn keeping(graph: &Graph, most: usize) -> Result<(Plan, usize), ShapeError> {
    let build = |batch| Plan::build(graph, Options { keep_all: true, ..Options::infer(batch) });
    let one = build(1)?.len_of(Memory::Arena).max(1) * size_of::<f32>();
    let batch = (MOST_BYTES / one).clamp(1, MOST).min(most.max(1));
    Ok((build(batch)?, batch))
}

/// Appends the mean of each channel over its places.
fn pool(maps: &[f32], channels: usize, pooled: &mut Vec<f32>) {
    let mut sums = vec![0f64; channels];
    for place in maps.chunks_exact(channels) {
        sums.iter_mut().zip(place).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let places = (maps.len() / channels) as f64;
    pooled.extend(sums.iter().map(|sum| (sum / places) as f32));
}

fn look(channels: &mut [Channel], maps: &[f32], point: &Point, picture: u32) {
    let mut peaks = vec![(f32::NEG_INFINITY, 0); channels.len()];
    for (i, place) in maps.chunks_exact(point.shape.c).enumerate() {
        for (peak, &x) in peaks.iter_mut().zip(place) {
            if x.total_cmp(&peak.0) == Ordering::Greater {
                *peak = (x, i);
            }
        }
    }
    for (k, (channel, (peak, i))) in channels.iter_mut().zip(peaks).enumerate() {
        channel.mean_peak += f64::from(peak.max(0.0));
        if peak > 0.0 && peak.is_finite() {
            let map = || maps.iter().skip(k).step_by(point.shape.c).copied().collect();
            channel.see(peak, picture, (i / point.shape.w, i % point.shape.w), map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_that_excite_a_channel_most_are_kept_in_order() {
        let mut channel = Channel::default();
        for picture in 0..40u32 {
            let value = ((picture * 17) % 23) as f32;
            channel.see(value, picture, (0, 0), Vec::new);
        }
        let values: Vec<f32> = channel.top.iter().map(|peak| peak.value).collect();
        assert_eq!(values, [22.0, 22.0, 21.0, 21.0, 20.0, 20.0, 19.0, 19.0, 18.0]);
        // Of equal ones the first picture comes first.
        assert!(channel.top[0].picture < channel.top[1].picture);
        channel.mean_peak = 9.0;
        assert_eq!(channel.selectivity(), 2.0);
        assert_eq!(Channel::default().selectivity(), 0.0);
    }
}
