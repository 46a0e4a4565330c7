//! Inspects a network: one look into it, at its start, at a checkpoint or along a run.

pub(crate) mod figures;
mod page;
mod save;

use serde::Serialize;

use crate::data::DataError;
use crate::measure::evaluate::UseError;
use crate::measure::probe::{LIMIT, Measurement, PICTURES, Probe, ProbeError, Trend, Verdict};
use crate::model::{self, Model, ModelError};
use crate::page::charts::format;
use crate::train::event::Monitored;
use crate::train::recipe::UpdateRule;
use crate::train::task::{Task, TaskError};

pub use save::save;

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
    /// The network cannot be run.
    #[error(transparent)]
    Use(#[from] UseError),
}

impl InspectError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        match self {
            InspectError::Task(error) => error.is_usage(),
            InspectError::Probe(error) => error.is_usage(),
            InspectError::Model(_) | InspectError::Data(_) | InspectError::Use(_) => false,
        }
    }
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
    /// What a monitored run's looks found on the way; empty for any other network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<Moment>,
}

/// A run at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Steps done.
    pub step: u64,
    /// Mean loss of the pictures looked at, in nats.
    #[serde(with = "crate::base::number")]
    pub loss: f64,
    /// What the gradient does over depth.
    pub trend: Trend,
}

impl Inspection {
    /// Takes over what a run's monitor saw: its moments, and the last update.
    pub fn take_history(&mut self, history: &[Monitored]) {
        let moments = history.iter().map(|look| Moment {
            step: look.step,
            loss: look.measurement.loss,
            trend: Trend::of(&look.measurement),
        });
        self.along = moments.collect();
        let Some(last) = history.last() else {
            return;
        };
        let seen = &last.measurement.layers;
        for (layer, seen) in self.measurement.layers.iter_mut().zip(seen) {
            layer.update_ratio = seen.update_ratio;
        }
    }
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
        along: Vec::new(),
    })
}

/// A trend in a line, with its numbers.
pub fn describe(trend: &Trend) -> String {
    let word = trend.verdict.word();
    let all = trend.end_to_end();
    match trend.verdict {
        Verdict::Vanishing if all > 1.0 / LIMIT => {
            format!("{word}: at some layers the gradient is zero")
        }
        Verdict::Exploding if all < LIMIT => {
            format!("{word}: at some layers the gradient is beyond what a number can hold")
        }
        _ => format!(
            "{word}: x {:.3} a layer from the loss to the image, x {} over {} convolutions",
            trend.per_layer(),
            format::number(all),
            trend.layers
        ),
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
    let (x, labels) = task.sample(count)?;
    let mut probe = Probe::new(&task.graph, count, task.device.as_ref())?;
    match model {
        Some(model) => model.apply(probe.session())?,
        None => model::initialise(probe.session(), &task.graph, task.recipe.train.seed)
            .map_err(ProbeError::from)?,
    }
    let mut measurement = probe.measure(&x, &labels).map_err(ProbeError::from)?;
    if model.is_none() {
        first_update(task, &mut measurement);
    }
    Ok((measurement, count))
}

/// Length of the first update at the recipe's base rate, without warm-up and weight decay: momentum
/// is still zero, so w moves by lr dw, or by lr (1 + momentum) dw in Nesterov's form. LARS makes
/// dw's length trust |w|.
fn first_update(task: &Task, measurement: &mut Measurement) {
    let optimizer = &task.recipe.optimizer;
    let ahead = if optimizer.nesterov { 1.0 + optimizer.momentum } else { 1.0 };
    for layer in &mut measurement.layers {
        let step = match optimizer.rule {
            UpdateRule::Lars if layer.gradient_norm > 0.0 && layer.weight_norm > 0.0 => {
                optimizer.trust
            }
            _ => layer.gradient_norm / layer.weight_norm,
        };
        layer.update_ratio = Some(optimizer.lr * ahead * step);
    }
}
