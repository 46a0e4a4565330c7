//! What the blocks of one network have learned, in numbers that networks can be compared by.

use std::sync::Arc;

use resnet_engine::exec::Device;

use super::lesion::{Lesions, lesions};
use super::points::points;
use super::spread::LinearProbe;
use super::survey::survey;
use crate::data::Dataset;
use crate::measure::evaluate::UseError;
use crate::model::Model;

/// Where a linear classifier was fitted, and what it tells.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Told {
    /// The block that ends there.
    pub block: String,
    /// Convolutions from the picture to there.
    pub depth: usize,
    /// The share of pictures that the classifier tells.
    pub share: f64,
}

/// What a network has learned.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Learned {
    /// What linear classifiers tell from the maps of each block, in order.
    pub told: Vec<Told>,
    /// What is lost without each block.
    pub lesions: Lesions,
}

/// Fits a linear classifier to the maps of each block on the first `most` pictures of `learn`,
/// measures it on as many of `look`, and removes each block in turn. The labels of both are the
/// model's.
///
/// # Errors
/// The network cannot be run, or the system fails while pictures are read.
pub fn learned(
    model: &Model,
    learn: &Arc<dyn Dataset>,
    look: &Arc<dyn Dataset>,
    most: usize,
    device: &dyn Device,
) -> Result<Learned, UseError> {
    let points = points(&model.graph()?)?;
    let seen = |data: &Arc<dyn Dataset>| {
        survey(model, &points, &[], data.clone(), most.min(data.len()), device, &mut |_| ())
    };
    let (fitted, measured) = (seen(learn)?, seen(look)?);
    let classes = model.classes.len();
    let told = points.iter().enumerate().map(|(i, point)| {
        let c = point.shape.c;
        let probe = LinearProbe::fit(&fitted.pooled[i], c, &fitted.labels, classes);
        let right = probe.right(&measured.pooled[i], &measured.labels);
        let share = right as f64 / measured.labels.len().max(1) as f64;
        Told { block: point.name.clone(), depth: point.depth, share }
    });
    let told = match fitted.labels.is_empty() {
        true => Vec::new(),
        false => told.collect(),
    };
    let lesions = lesions(model, look.clone(), true, most.min(look.len()), device, &mut |_| ())?;
    Ok(Learned { told, lesions })
}
