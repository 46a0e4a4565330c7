//! Checkpoints: a model file with momentum and progress, from which a run goes on bit for bit.
//!
//! Beside the model's tensors a checkpoint holds `optimizer.momentum.NAME` for each trained
//! parameter, in the layout of the parameter, where a running average of the weights is kept
//! `optimizer.weight.NAME` for each tensor, the plain names being the average, which is to be used,
//! and in the metadata `progress` (JSON) and `recipe` (TOML, every choice of the run).

use std::path::Path;

use resnet_formats::Array;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::ema::Ema;
use super::job::Job;
use crate::model::{self, Model};
use crate::train::schedule::WarmStart;
use resnet_engine::exec::Backend;
use resnet_engine::op::Param;

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
    /// Seconds of training so far.
    pub(super) seconds: f64,
    /// Training and evaluation images; other data would be another run.
    pub(super) images: (u64, u64),
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
    pub(super) fn new(warm_start: WarmStart, images: (u64, u64)) -> Progress {
        Progress {
            step: 0,
            since_event: Sums::default(),
            since_evaluation: Sums::default(),
            warm_start,
            lr: 0.0,
            last: None,
            best: None,
            seconds: 0.0,
            images,
        }
    }
}

fn momentum_name(parameter: &str) -> String {
    format!("optimizer.momentum.{parameter}")
}

fn weight_name(parameter: &str) -> String {
    format!("optimizer.weight.{parameter}")
}

/// Writes a checkpoint; the old one stays until the new one is whole.
pub(super) fn save(job: &mut Job, progress: &Progress, path: &Path) -> Result<(), TrainError> {
    let (arch, classes) = (job.arch.clone(), job.classes.clone());
    let preprocess = job.preprocess.clone();
    let averaged = job.ema.is_some();
    let weights_to_use = if averaged { job.result() } else { &job.trainer };
    let mut model = Model::of(weights_to_use, arch, classes, preprocess);
    for slots in &job.trainer.plan().params {
        if averaged {
            let values = model::read(&job.trainer, &slots.param, slots.value);
            let array = Array::f32(slots.param.dims.clone(), values);
            model.tensors.insert(weight_name(&slots.name), array);
        }
        if let Some(training) = slots.training {
            let values = model::read(&job.trainer, &slots.param, training.momentum);
            model
                .tensors
                .insert(momentum_name(&slots.name), Array::f32(slots.param.dims.clone(), values));
        }
    }
    let json = serde_json::to_string(progress).expect("numbers always become JSON");
    model.tensors.metadata.insert("progress".into(), json);
    job.describe(&mut model);
    Ok(model.save(path)?)
}

/// Loads a checkpoint into a job's training backend.
pub(super) fn load(job: &mut Job, path: &Path) -> Result<Progress, TrainError> {
    let wrong = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let model = Model::load(path)?;
    if model.arch != job.arch || model.classes != job.classes {
        return Err(wrong(format!(
            "it is of {} with {} classes, the run trains {} with {}; it belongs to another run",
            model.arch.name(),
            model.classes.len(),
            job.arch.name(),
            job.classes.len()
        )));
    }
    let progress = model.tensors.metadata.get("progress").ok_or_else(|| {
        wrong("it holds weights but no progress: a model file, not a checkpoint".into())
    })?;
    let progress: Progress =
        serde_json::from_str(progress).map_err(|e| wrong(format!("metadata `progress`: {e}")))?;
    if progress.images != job.images() || model.preprocess != job.preprocess {
        let ((train, eval), (train_now, eval_now)) = (progress.images, job.images());
        return Err(wrong(format!(
            "the data has changed: it was made with {train} training and {eval} evaluation images, now there are {train_now} and {eval_now}, \
             or their pixels differ; restore the data or start a new run"
        )));
    }
    if progress.step > job.total_steps() {
        return Err(wrong(format!(
            "it was made after step {}, the run has {}",
            progress.step,
            job.total_steps()
        )));
    }
    // The plan of the last step done: a plan that trains more begins with the step after it.
    job.enter(progress.step.saturating_sub(1))?;
    model.apply(&mut job.trainer)?;
    let decay = job.recipe.train.ema;
    job.ema = (decay > 0.0).then(|| Ema::new(decay, &job.trainer));
    let tensor = |name: String, param: &Param| {
        let found = model.tensors.get(&name);
        let found = found.filter(|array| array.shape() == param.dims);
        found.and_then(Array::as_f32).ok_or_else(|| {
            wrong(format!("tensor `{name}` is missing or not {:?} 32-bit floats", param.dims))
        })
    };
    for slots in job.trainer.plan().params.clone() {
        let param = &slots.param;
        if decay > 0.0 {
            let values = tensor(weight_name(&slots.name), param)?;
            model::write(&mut job.trainer, param, slots.value, values);
        }
        if let Some(training) = slots.training {
            let values = tensor(momentum_name(&slots.name), param)?;
            model::write(&mut job.trainer, param, training.momentum, values);
        }
    }
    Ok(progress)
}
