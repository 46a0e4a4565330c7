//! Inspects a network: one look into it, at its start, at a checkpoint or along a run.

pub mod figures;
mod page;

use serde::Serialize;

use crate::data::DataError;
use crate::exec;
use crate::probe::{Measurement, PICTURES, Probe, ProbeError, Trend, Verdict};
use crate::report::format;
use crate::task::{Task, TaskError};
use crate::weights::{self, Model, ModelError};

pub use page::{figures as page_figures, render};

/// Why a network cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The network, the data or the recipe.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be looked into.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// What was found in a network.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The network, options included.
    pub arch: String,
    /// Its layers with weights, as counted in its name.
    pub depth: usize,
    /// Whether it has shortcuts.
    pub residual: bool,
    /// Where the weights come from.
    pub weights: String,
    /// The data's source.
    pub data: String,
    /// Training pictures looked at.
    pub pictures: usize,
    /// Loss, layers and blocks.
    #[serde(flatten)]
    pub measurement: Measurement,
    /// What the gradient does over depth.
    pub trend: Trend,
    /// The trend's verdict.
    pub verdict: Verdict,
}

/// Inspects a task's network on its training pictures: with a model's weights, or as it starts.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(
    task: &Task,
    model: Option<&Model>,
    pictures: Option<usize>,
) -> Result<Inspection, InspectError> {
    let (measurement, pictures) = look(task, model, pictures)?;
    let trend = Trend::of(&measurement);
    let seed = task.recipe.train.seed;
    Ok(Inspection {
        arch: task.arch.name(),
        depth: task.arch.depth(),
        residual: task.arch.is_residual(),
        weights: match model {
            Some(model) => format!("weights of {}", model.path().display()),
            None => format!("initial weights, seed {seed}"),
        },
        data: task.recipe.data.source.clone(),
        pictures,
        measurement,
        trend,
        verdict: trend.verdict,
    })
}

/// A trend in a sentence, with its numbers.
pub fn describe(trend: &Trend) -> String {
    let (factor, ends) = (trend.per_layer(), trend.end_to_end());
    let layers = trend.layers;
    let text = format!(
        "{}: from a layer to the one before it the gradient changes by a factor of {factor:.3}, over {layers} convolutions by {}",
        trend.verdict.word(),
        format::number(ends)
    );
    match trend.verdict {
        Verdict::Healthy => text,
        Verdict::Vanishing => format!("{text}; the first layers hardly learn"),
        Verdict::Exploding => {
            format!("{text}; a step that suits the last layers throws the first ones off")
        }
    }
}

/// One look, and the number of pictures it took.
fn look(
    task: &Task,
    model: Option<&Model>,
    pictures: Option<usize>,
) -> Result<(Measurement, usize), InspectError> {
    let most = pictures.unwrap_or(PICTURES).min(task.train.len());
    let count = match pictures {
        Some(_) => most,
        None => Probe::affordable(&task.graph, most).map_err(ProbeError::from)?,
    };
    let (x, labels) = task.pictures(count)?;
    let threads = exec::threads(task.recipe.train.threads);
    let mut probe = Probe::new(&task.graph, count, threads)?;
    match model {
        Some(model) => model.apply(probe.backend())?,
        None => weights::initialise(probe.backend(), &task.graph, task.recipe.train.seed),
    }
    let mut measurement = probe.measure(&x, &labels);
    if model.is_none() {
        first_update(task, &mut measurement);
    }
    Ok((measurement, count))
}

/// Length of the first update, without warm-up: momentum is still zero, so w moves by lr (dw + weight_decay w), here taken
/// without the decay, which only rescales w.
fn first_update(task: &Task, measurement: &mut Measurement) {
    for layer in &mut measurement.layers {
        let ratio = task.recipe.optimizer.lr * layer.gradient_norm / layer.weight_norm;
        layer.update_ratio = Some(ratio);
    }
}
