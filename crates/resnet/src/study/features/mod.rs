//! What the layers of a trained network have learned: a look with its page.
//!
//! | part | answers |
//! |---|---|
//! | channels | which pictures, and what part of each, excite a channel most; what picture would |
//! | depth | how well a linear classifier does on each block's maps, how many channels are in use |
//! | blocks | how much each block adds to what it is given, and what is lost without it |
//!
//! Every part is given multiply-adds instead of pictures to spend, so that the look takes about as
//! long on any network; with a number of pictures asked for, it takes those.

mod added;
mod figures;
mod found;
mod material;
mod page;
mod picture;
mod save;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::data::Dataset;
use crate::measure::evaluate::UseError;
use crate::measure::feature::{
    self, Channel, LinearProbe, Made, Point, Survey, lesions, participation, points, stages,
};
use crate::measure::summary::summary;
use crate::model::Model;
use crate::page::charts::tile::Tile;
use resnet_engine::exec::Device;

pub use added::Added;
pub use feature::{Lesion, Lesions, Score};
pub use found::{ChannelSeen, FeatureError, Features, MadeFor, Patch, PointSeen, Probes};
pub use material::Material;
pub use save::save;

use found::Shown;

/// Multiply-adds that each part may spend where no number of pictures was asked for: about half a
/// minute on two cores.
const BUDGET: u64 = 1_500_000_000_000;
/// Most pictures that a part takes where no number was asked for.
const MOST: usize = 2_000;
/// Pictures for which it is measured what the blocks add.
const FEW: usize = 8;

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Channels at the end of each stage.
    pub channels: usize,
    /// Channels of each for which a picture is made.
    pub made: usize,
    /// Pictures for each part; left open, as many as a moderate time allows.
    pub pictures: Option<usize>,
    /// Where the made pictures begin.
    pub seed: u64,
    /// Whether depth and blocks are left out: no classifiers, no network without a block.
    pub channels_only: bool,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { channels: 10, made: 4, pictures: None, seed: 0, channels_only: false }
    }
}

/// Looks into a model. `on` is told what is being done, how much of it is done, and of how much.
///
/// # Errors
/// [`FeatureError`].
pub fn features(
    model: &Model,
    material: &Material,
    asked: Asked,
    device: &dyn Device,
    on: &mut dyn FnMut(&str, usize, usize),
) -> Result<Features, FeatureError> {
    let arch = model.arch.name();
    let graph = model.graph().map_err(UseError::from)?;
    let points = points(&graph).map_err(UseError::from)?;
    if points.is_empty() {
        return Err(FeatureError::NoMaps(arch));
    }
    let closely = stages(&points);
    let macs = summary(&model.arch, model.preprocess.shape, model.classes.len())?.macs.max(1);
    let most = |runs: u64| {
        let affordable = (BUDGET / (macs * runs.max(1))).clamp(1, MOST as u64) as usize;
        asked.pictures.unwrap_or(affordable)
    };
    let look = &material.look;
    let count = most(1).min(look.len());
    let seen =
        feature::survey(model, &points, &closely, look.clone(), count, device, &mut |done| {
            on("looking at pictures", done, count);
        })?;
    if seen.labels.is_empty() {
        return Err(FeatureError::NoPictures(material.source.clone()));
    }
    let mut found: Vec<PointSeen> = points.iter().zip(&seen.pooled).map(point_seen).collect();
    let probes = match asked.channels_only {
        true => None,
        false => probes(model, &points, material, &seen, count, device, on, &mut found)?,
    };
    for &i in &closely {
        let chosen = most_selective(&seen.channels[i], asked.channels, look.as_ref());
        found[i].seen = chosen
            .iter()
            .map(|&channel| channel_seen(model, material, &points[i], &seen.channels[i], channel))
            .collect::<Result<_, _>>()?;
        let first = &chosen[..asked.made.min(chosen.len())];
        let what = format!("making pictures for {}", points[i].name);
        let made =
            feature::synthesise(model, &points[i], first, asked.seed, device, &mut |a, b| {
                on(&what, a, b)
            })?;
        for (seen_channel, made) in found[i].seen.iter_mut().zip(made) {
            let pooled = seen.pooled[i].iter().skip(made.channel).step_by(points[i].shape.c);
            let best_picture = f64::from(pooled.fold(0f32, |a, &b| a.max(b)));
            seen_channel.made = Some(made_for(made, best_picture));
        }
    }
    // Each block costs about half a run of the network.
    let runs = 1 + points.len() as u64 / 2;
    let count = most(runs).min(look.len());
    let (data, labelled) = match &material.known {
        Some(known) => (known.clone(), true),
        None => (look.clone(), false),
    };
    let (lesions, added) = match asked.channels_only {
        true => (Lesions::default(), Vec::new()),
        false => (
            lesions(model, data, labelled, count, device, &mut |done| {
                on("removing one block after the other", done, count);
            })?,
            added::added(model, look, FEW.min(look.len()), device)?,
        ),
    };
    let shown = shown(model, material, &points, &closely, &seen)?;
    let mut warnings = material.warnings.clone();
    warnings.extend(seen.warnings);
    Ok(Features {
        arch,
        weights: model.path().display().to_string(),
        data: material.source.clone(),
        split: material.split.clone(),
        pictures: seen.labels.len(),
        points: found,
        probes,
        added,
        lesions,
        warnings,
        filters: picture::filters(model, &graph),
        shown,
    })
}

fn point_seen((point, pooled): (&Point, &Vec<f32>)) -> PointSeen {
    PointSeen {
        name: point.name.clone(),
        depth: point.depth,
        channels: point.shape.c,
        height: point.shape.h,
        width: point.shape.w,
        field: point.field.side(),
        jump: point.field.jump,
        used: participation(pooled, point.shape.c),
        probe: None,
        seen: Vec::new(),
    }
}

/// Fits a classifier to the training pictures at each point, and measures it on those seen.
fn probes(
    model: &Model,
    points: &[Point],
    material: &Material,
    seen: &Survey,
    most: usize,
    device: &dyn Device,
    on: &mut dyn FnMut(&str, usize, usize),
    found: &mut [PointSeen],
) -> Result<Option<Probes>, FeatureError> {
    let Some(learn) = &material.learn else {
        return Ok(None);
    };
    let count = most.min(learn.len());
    let fitted = feature::survey(model, points, &[], learn.clone(), count, device, &mut |done| {
        on("fitting linear classifiers", done, count);
    })?;
    let classes = learn.classes().len();
    if fitted.labels.is_empty() {
        return Ok(None);
    }
    for (i, point) in points.iter().enumerate() {
        let probe = LinearProbe::fit(&fitted.pooled[i], point.shape.c, &fitted.labels, classes);
        let right = probe.right(&seen.pooled[i], &seen.labels);
        found[i].probe = Some(right as f64 / seen.labels.len() as f64);
    }
    let (fitted, measured) = (fitted.labels.len(), seen.labels.len());
    Ok(Some(Probes { fitted, measured, classes }))
}

/// The channels that their top pictures excite most beside all pictures, the first most; but first
/// one of each kind of picture, or many channels would show the same.
fn most_selective(channels: &[Channel], count: usize, look: &dyn Dataset) -> Vec<usize> {
    let mut order: Vec<usize> = (0..channels.len()).collect();
    let selectivity: Vec<f64> = channels.iter().map(Channel::selectivity).collect();
    order.retain(|&k| selectivity[k] > 0.0);
    order.sort_by(|&a, &b| selectivity[b].total_cmp(&selectivity[a]).then(a.cmp(&b)));
    let mut before: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    let mut ranked = Vec::with_capacity(order.len());
    for k in order {
        let rank = before.entry(kind(&channels[k], look)).or_default();
        ranked.push((*rank, k));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, k)| k).take(count).collect()
}

/// What a channel answers to most: the class of most of its top pictures, or without classes the
/// first picture.
fn kind(channel: &Channel, look: &dyn Dataset) -> Option<u32> {
    if look.classes().len() < 2 {
        return channel.top.first().map(|peak| peak.picture);
    }
    let mut count: BTreeMap<u32, usize> = BTreeMap::new();
    for peak in &channel.top {
        *count.entry(look.label(peak.picture as usize)).or_default() += 1;
    }
    let most = count.into_iter().max_by_key(|(label, n)| (*n, Reverse(*label)));
    most.map(|(label, _)| label)
}

fn channel_seen(
    model: &Model,
    material: &Material,
    point: &Point,
    channels: &[Channel],
    channel: usize,
) -> Result<ChannelSeen, FeatureError> {
    let seen = &channels[channel];
    let patch = |peak| {
        let (rows, columns, tile) = picture::patch(model, material.look.as_ref(), point, peak)?;
        let picture = material.look.name(peak.picture as usize);
        Ok(Patch { picture, value: peak.value, rows, columns, tile })
    };
    Ok(ChannelSeen {
        channel,
        selectivity: seen.selectivity(),
        top: seen.top.iter().map(patch).collect::<Result<_, FeatureError>>()?,
        made: None,
    })
}

fn made_for(made: Made, best_picture: f64) -> MadeFor {
    let (height, width) = made.size;
    let tile =
        Tile { width, height, channels: made.pixels.len() / (height * width), pixels: made.pixels };
    MadeFor { response: made.response, noise: made.noise, best_picture, tile }
}

/// Maps shown of a picture at each stage.
const MAPS: usize = 12;

/// The first picture and its strongest maps.
fn shown(
    model: &Model,
    material: &Material,
    points: &[Point],
    closely: &[usize],
    seen: &Survey,
) -> Result<Option<Shown>, FeatureError> {
    let Some(&first) = seen.indices.first() else {
        return Ok(None);
    };
    let picture = picture::input(model, material.look.as_ref(), first)?;
    let maps = closely.iter().map(|&i| {
        let c = points[i].shape.c;
        let mean = &seen.pooled[i][..c];
        let mut order: Vec<usize> = (0..c).collect();
        order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]).then(a.cmp(&b)));
        let map = |&k: &usize| (k, picture::map(&seen.first[i], points[i].shape, k));
        (i, order.iter().take(MAPS).map(map).collect())
    });
    let name = material.look.name(first as usize);
    Ok(Some(Shown { name, picture, maps: maps.collect() }))
}

#[cfg(test)]
mod tests {
    use super::{Channel, most_selective};
    use crate::data::{DataError, Dataset, Image};
    use crate::measure::feature::Peak;

    /// Pictures whose label is their tens.
    struct Labelled(Vec<String>);

    impl Dataset for Labelled {
        fn len(&self) -> usize {
            100
        }
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn label(&self, index: usize) -> u32 {
            index as u32 / 10
        }
        fn read(&self, _: usize, _: &mut Image) -> Result<(), DataError> {
            Ok(())
        }
    }

    fn channel(pictures: &[u32], value: f32) -> Channel {
        let peak = |&picture: &u32| Peak { picture, value, at: (0, 0), map: Vec::new() };
        Channel { mean_peak: 1.0, top: pictures.iter().map(peak).collect() }
    }

    #[test]
    fn each_kind_of_picture_comes_first_once() {
        let channels = [
            channel(&[10, 11, 50], 9.0),
            channel(&[12, 13, 20], 8.0),
            channel(&[20, 21, 10], 3.0),
            channel(&[30], 0.0),
        ];
        let ten = Labelled((0..10).map(|n| n.to_string()).collect());
        assert_eq!(most_selective(&channels, 9, &ten), [0, 2, 1], "the last never answers");
        assert_eq!(most_selective(&channels, 2, &ten), [0, 2]);
        let one = Labelled(vec!["all".into()]);
        assert_eq!(most_selective(&channels, 9, &one), [0, 1, 2], "first pictures differ");
        let twice = [channel(&[10], 9.0), channel(&[10], 8.0), channel(&[11], 3.0)];
        assert_eq!(most_selective(&twice, 9, &one), [0, 2, 1], "one picture is shown once first");
    }
}
