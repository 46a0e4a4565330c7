//! Checkpoints: a model file with what the update rule keeps and the progress, from which a run
//! goes on bit for bit.
//!
//! Beside the model's tensors a checkpoint holds `optimizer.BUFFER.NAME` for each trained parameter
//! and each buffer of the rule, such as `momentum`, in the layout of the parameter; where a moving
//! average of the weights is kept `optimizer.weight.NAME` for each tensor, the plain names being
//! the average, which is to be used; and in the metadata `progress` (JSON) and `recipe` (TOML,
//! every choice of the run).

use std::path::Path;

use resnet_formats::Array;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::directory::CONFIG;
use super::job::Job;
use super::recipe::{Calendar, Recipe, RecipeError};
use crate::model::{self, Model, PROGRESS};
use crate::train::schedule::WarmStart;
use resnet_engine::plan::{ParamSlots, Plan};
use resnet_engine::step::SlotId;

/// Where a run stands: everything but the tensors that the next step depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Steps done.
    pub(super) step: u64,
    /// Sums over the steps since the last step event.
    pub(super) since_event: Sums,
    /// Sums over the steps since the last evaluation.
    pub(super) since_evaluation: Sums,
    /// The warm start's state.
    pub(super) warm_start: WarmStart,
    /// The learning rate of the last step.
    pub(super) lr: f64,
    /// Top-1 and top-5 of the last evaluation.
    pub(super) last: Option<(f64, f64)>,
    /// The best top-1 so far.
    pub(super) best: Option<f64>,
    /// Steps done when it was measured; 0 in checkpoints that do not say.
    #[serde(default)]
    pub(super) best_step: u64,
    /// Evaluations since then.
    #[serde(default)]
    pub(super) since_best: u64,
    /// Seconds of training so far.
    pub(super) seconds: f64,
    /// Training and evaluation images; other data would be another run.
    pub(super) images: (u64, u64),
    /// What tells the data apart; empty in checkpoints that do not say.
    #[serde(default)]
    pub(super) data: String,
    /// Whether the last step trained the last layer alone; unknown in checkpoints that do not say.
    #[serde(default)]
    pub(super) frozen: Option<bool>,
}

/// Sums over training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) steps: u64,
    pub(super) images: u64,
    pub(super) loss: f64,
    pub(super) right: u64,
}

impl Sums {
    pub(super) fn add(&mut self, images: u64, loss: f64, right: u64) {
        self.steps += 1;
        self.images += images;
        self.loss += loss;
        self.right += right;
    }

    /// Mean loss of a step.
    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.steps as f64
    }

    /// Fraction of images whose most likely class was right.
    pub(super) fn top1(&self) -> f64 {
        self.right as f64 / self.images as f64
    }
}

impl Progress {
    pub(super) fn new(warm_start: WarmStart, images: (u64, u64), data: String) -> Progress {
        Progress {
            step: 0,
            since_event: Sums::default(),
            since_evaluation: Sums::default(),
            warm_start,
            lr: 0.0,
            last: None,
            best: None,
            best_step: 0,
            since_best: 0,
            seconds: 0.0,
            images,
            data,
            frozen: None,
        }
    }
}

/// Name of the tensor that a buffer of the update rule is kept as.
fn buffer_name(buffer: &str, parameter: &str) -> String {
    format!("optimizer.{buffer}.{parameter}")
}

/// What the weights that are trained are called, where the plain names hold their average.
const WEIGHT: &str = "weight";

/// The buffers of a parameter by name.
fn buffers<'a>(
    plan: &'a Plan,
    slots: &'a ParamSlots,
) -> impl Iterator<Item = (&'static str, SlotId)> + use<'a> {
    let names = plan.options.optimizer.rule.buffers().iter().copied();
    let state = slots.training.iter().flat_map(|training| training.state.iter().copied());
    let weight = slots.average.map(|_| (WEIGHT, slots.value));
    names.zip(state).chain(weight)
}

/// Writes a checkpoint; the old one stays until the new one is whole.
pub(super) fn save(job: &Job, progress: &Progress, path: &Path) -> Result<(), TrainError> {
    let mut model = job.model()?;
    let session = &job.learner.session;
    for slots in &session.plan().params {
        for (buffer, slot) in buffers(session.plan(), slots) {
            let values = model::read(session, &slots.param, slot)?;
            let array = Array::f32(slots.param.dims.clone(), values);
            model.tensors.insert(buffer_name(buffer, &slots.name), array);
        }
    }
    let progress = Progress { frozen: Some(job.learner.is_frozen()), ..progress.clone() };
    let json = serde_json::to_string(&progress).expect("numbers always become JSON");
    model.tensors.metadata.insert(PROGRESS.into(), json);
    Ok(model.save(path)?)
}

/// What may be another when a run goes on: where things are, how fast it goes, how long it goes on,
/// what is looked at and kept.
pub(super) const FREE: [&str; 11] = [
    "train.epochs",
    "train.steps",
    "train.patience",
    "train.keep",
    "train.threads",
    "train.device",
    "train.workers",
    "train.checkpoint_every",
    "train.monitor_every",
    "data.source",
    "model.start",
];

/// The recipe that the checkpoint was trained by, where it says.
fn own_recipe(model: &Model) -> Result<Option<Recipe>, String> {
    let Some(text) = model.tensors.metadata.get("recipe") else { return Ok(None) };
    let own = Recipe::from_toml(text).map_err(|error| format!("metadata `recipe`: {error}"))?;
    Ok(Some(own.decided()))
}

/// Refuses a recipe that is not the one that the checkpoint was trained by.
fn check_recipe(own: &Recipe, recipe: &Recipe) -> Result<(), String> {
    let differences = own.differences(recipe, &FREE);
    if differences.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = differences
        .iter()
        .map(|(key, own, other)| format!("`{key}` was {own} and is {other}"))
        .collect();
    Err(format!(
        "the run's {CONFIG} has changed since: {}; change it back, or start a new run",
        list.join(", ")
    ))
}

/// Where the run stood when a checkpoint was made.
fn progress(model: &Model) -> Result<Progress, String> {
    let progress = model.tensors.metadata.get(PROGRESS);
    let progress =
        progress.ok_or("it holds weights but no progress: a model file, not a checkpoint")?;
    serde_json::from_str(progress).map_err(|error| format!("metadata `progress`: {error}"))
}

/// The weights to use of a checkpoint, without what only training needs, and how many steps were
/// done when it was made.
pub(super) fn weights(job: &Job, path: &Path) -> Result<(Model, u64), TrainError> {
    let model = Model::load(path)?;
    let progress = progress(&model)
        .map_err(|problem| TrainError::Checkpoint { path: path.to_owned(), problem })?;
    let mut model = model.for_classes(&job.task.classes, &job.task.graph)?;
    model.tensors.metadata.remove(PROGRESS);
    // The run may have gone on by a recipe of another budget or place since.
    model.tensors.metadata.insert("recipe".into(), job.portable_recipe());
    Ok((model, progress.step))
}

/// Puts a checkpoint into a job. The calendar of the job then says of the steps done what they
/// were: a budget that would move them is refused.
pub(super) fn restore(job: &mut Job, model: &Model) -> Result<Progress, TrainError> {
    let wrong = |problem: String| TrainError::Checkpoint { path: model.path().to_owned(), problem };
    let task = &job.task;
    if model.arch != task.arch || model.classes != task.classes {
        return Err(wrong(format!(
            "it is of {} with {} classes, the run trains {} with {}; it belongs to another run",
            model.arch.name(),
            model.classes.len(),
            task.arch.name(),
            task.classes.len()
        )));
    }
    let progress = progress(model).map_err(wrong)?;
    let changed = progress.images != job.images() || model.preprocess != task.preprocess;
    if changed || !progress.data.is_empty() && progress.data != job.data {
        let ((train, eval), (train_now, eval_now)) = (progress.images, job.images());
        return Err(wrong(format!(
            "the data has changed: it was made with {train} training and {eval} evaluation images, \
             now there are {train_now} and {eval_now}, or their names, classes or pixels differ; \
             restore the data or start a new run"
        )));
    }
    let own = own_recipe(model).map_err(wrong)?;
    if let Some(own) = &own {
        check_recipe(own, &task.recipe).map_err(wrong)?;
    }
    let (step, total) = (progress.step, job.calendar.total());
    if step > total {
        return Err(RecipeError::Spent { steps: step, budget: total }.into());
    }
    if let (Some(own), 1..) = (&own, step) {
        let then = own.calendar(progress.images.0)?;
        let of = |calendar: &Calendar| {
            let phase = calendar.phases()[calendar.phase(step - 1)];
            (phase.batch, phase.side, calendar.place(step - 1))
        };
        if of(&then) != of(&job.calendar) {
            return Err(RecipeError::Moved { steps: step }.into());
        }
    }
    // The plan of the last step done: a plan that trains more begins with the step after it.
    let frozen_then = |calendar: &Calendar| {
        let phase = calendar.phase(step.saturating_sub(1));
        calendar.phases()[phase].freeze
    };
    let frozen = match (progress.frozen, &own) {
        (Some(frozen), _) => frozen,
        (None, Some(own)) => frozen_then(&own.calendar(progress.images.0)?),
        (None, None) => frozen_then(&job.calendar),
    };
    job.begin_at(step, frozen)?;
    let session = &mut job.learner.session;
    model.apply(session)?;
    model::begin_averages(session)?;
    let plan = session.plan().clone();
    for slots in &plan.params {
        for (buffer, slot) in buffers(&plan, slots) {
            let (name, dims) = (buffer_name(buffer, &slots.name), &slots.param.dims);
            let found = model.tensors.get(&name).filter(|array| array.shape() == dims);
            let values = found.and_then(Array::as_f32).ok_or_else(|| {
                wrong(format!("tensor `{name}` is missing or not {dims:?} 32-bit floats"))
            })?;
            model::write(session, &slots.param, slot, values)?;
        }
    }
    Ok(progress)
}
