//! What learns: the network in the phase at hand, and the batches that it is shown.

use std::sync::Arc;

use resnet_engine::exec::{Rates, Session, Target};
use resnet_engine::graph::{Graph, Shape};
use resnet_engine::plan::{self, Frozen, Options, Plan};
use resnet_engine::step::{Precision, Rule, Space};

use super::TrainError;
use super::recipe::{self, Calendar, ClassWeights, Recipe, Sampling, Stretch};
use super::task::Task;
use crate::data::{
    Augment, Batch, Epoch, Loader, LoaderOptions, OnBroken, Preprocess, Targets, Transform,
};
use crate::measure::evaluate::loader_workers;
use crate::measure::metric;
use crate::model;

/// The network in training, and its batches.
pub(super) struct Learner {
    pub(super) session: Session,
    pub(super) loader: Loader,
    /// The network for the images of this phase.
    pub(super) graph: Graph,
    stretch: Stretch,
    logits: Vec<f32>,
    targets: Targets,
}

/// The gradient of a step, which lies in the session.
#[derive(Default)]
pub(super) struct Gradient {
    /// Mean loss of the images, as they are weighed.
    pub(super) loss: f64,
    pub(super) images: u64,
    /// Images whose most likely class is their own.
    pub(super) right: u64,
    /// What gradients are multiplied with: 1 where their total was known beforehand.
    scale: f32,
    /// A batch whose loss or gradient is not finite; the step ends with it.
    pub(super) bad: Option<Batch>,
}

impl Learner {
    pub(super) fn new(task: &Task, stretch: Stretch) -> Result<Learner, TrainError> {
        let targets = targets(task);
        let graph = graph(task, &stretch)?;
        let session = Session::new(task.device.as_ref(), plan(task, &graph, &stretch)?)?;
        let logits = vec![0.0; stretch.batch * task.classes.len()];
        let loader = loader(task, &stretch, &targets)?;
        Ok(Learner { session, loader, graph, stretch, logits, targets })
    }

    /// Goes over to another phase: weights, averages and what the update rule keeps stay; of what
    /// was frozen the latter starts at zero.
    pub(super) fn enter(&mut self, task: &Task, stretch: Stretch) -> Result<(), TrainError> {
        let before = std::mem::replace(&mut self.stretch, stretch);
        let redraws = (before.side, before.batch) != (stretch.side, stretch.batch);
        if redraws {
            self.graph = graph(task, &stretch)?;
            self.loader = loader(task, &stretch, &self.targets)?;
            self.logits.resize(stretch.batch * task.classes.len(), 0.0);
        }
        if redraws || before.freeze != stretch.freeze {
            let plan = plan(task, &self.graph, &stretch)?;
            let mut session = Session::new(task.device.as_ref(), plan)?;
            carry(&self.session, &mut session)?;
            self.session = session;
        }
        Ok(())
    }

    /// Whether this phase trains the last layer alone.
    pub(super) fn is_frozen(&self) -> bool {
        self.stretch.freeze
    }

    /// The factor of this phase on the learning rate.
    pub(super) fn lr_factor(&self) -> f64 {
        self.stretch.lr
    }

    /// The gradient of the next step: of one batch, or the mean over several. `on` sees each batch
    /// before it is used. `None` at the end of the epoch.
    pub(super) fn gradient(
        &mut self,
        batches: &mut Epoch,
        accumulate: usize,
        on: &mut dyn FnMut(&Batch) -> Result<(), TrainError>,
    ) -> Result<Option<Gradient>, TrainError> {
        let mut all = Gradient::default();
        let mut weight = 0.0;
        // With weights of classes, the total of several batches is known only behind the last.
        let mut total = 0.0;
        for _ in 0..accumulate {
            let Some(batch) = batches.next() else { return Ok(None) };
            let batch = batch?;
            on(&batch)?;
            let of_batch = batch.weight.iter().map(|&w| f64::from(w)).sum::<f64>();
            total = match accumulate {
                1 => of_batch,
                n => (batch.weight.len() * n) as f64,
            };
            let (target, weights) = (&batch.target, &batch.weight);
            let target = Target { target, weight: weights, total: total as f32 };
            self.session.feed(&batch.x, target)?;
            self.session.forward()?;
            self.session.backward()?;
            let loss = self.session.sum_of_losses()?;
            if !loss.is_finite() || !self.session.all_finite(Space::Grad)? {
                all.bad = Some(batch);
                return Ok(Some(all));
            }
            self.session.accumulate()?;
            self.session.read(self.session.plan().logits, &mut self.logits)?;
            let rows = self.logits.chunks_exact(self.session.plan().classes);
            let right = rows
                .zip(&batch.labels)
                .filter(|(row, label)| metric::predicted(row) == Some(**label));
            all.right += right.count() as u64;
            all.images += batch.count as u64;
            all.loss += loss;
            weight += of_batch;
        }
        // Where no image counts there is nothing to learn.
        all.scale = if weight > 0.0 { (total / weight) as f32 } else { 0.0 };
        all.loss = if weight > 0.0 { all.loss / weight } else { 0.0 };
        Ok(Some(all))
    }

    /// Changes the weights along a gradient; `steps` steps were done before.
    pub(super) fn update(
        &mut self,
        gradient: &Gradient,
        recipe: &Recipe,
        lr: f64,
        steps: u64,
    ) -> Result<(), TrainError> {
        // The average soon forgets the weights it began with.
        let t = (steps + 1) as f64;
        let keep = recipe.train.ema.min((1.0 + t) / (10.0 + t));
        let average = (1.0 - keep) as f32;
        Ok(self.session.update(Rates { lr: lr as f32, scale: gradient.scale, average })?)
    }

    /// Whether weights to use are a moving average.
    pub(super) fn averages(&self) -> bool {
        self.session.plan().options.average
    }
}

/// Checks that every phase trains the same weights.
pub(super) fn check_phases(task: &Task, calendar: &Calendar) -> Result<(), TrainError> {
    let params = |graph: &Graph| -> Result<_, TrainError> {
        Ok(resnet_engine::op::all_params(graph, &resnet_engine::op::shapes(graph)?))
    };
    let own = params(&task.graph)?;
    for stretch in calendar.phases().iter().filter(|stretch| stretch.side.is_some()) {
        if params(&graph(task, stretch)?)? != own {
            let side = stretch.side.unwrap_or_default();
            return Err(TrainError::Phase { side, arch: task.arch.name() });
        }
    }
    Ok(())
}

fn graph(task: &Task, stretch: &Stretch) -> Result<Graph, TrainError> {
    let c = task.preprocess.shape.c;
    Ok(match stretch.side {
        None => task.graph.clone(),
        Some(side) => task.arch.graph(Shape::new(c, side, side), task.classes.len())?,
    })
}

/// How maps are stored; the task left nothing open.
pub(super) fn precision(recipe: &Recipe) -> Precision {
    recipe.train.precision.asked().unwrap_or_default()
}

fn plan(task: &Task, graph: &Graph, stretch: &Stretch) -> Result<Arc<Plan>, TrainError> {
    let recipe = &task.recipe;
    let optimizer = &recipe.optimizer;
    let options = Options {
        frozen: Frozen {
            layers: if stretch.freeze { graph.head().0 } else { 0 },
            norm: recipe.train.freeze_norm,
        },
        precision: precision(recipe),
        optimizer: plan::Optimizer {
            rule: Rule::Sgd { momentum: optimizer.momentum as f32, nesterov: optimizer.nesterov },
            weight_decay: optimizer.weight_decay as f32,
            decay_norm_bias: optimizer.decay_norm_bias,
            backbone: optimizer.backbone_lr as f32,
            stage: optimizer.stage_lr as f32,
        },
        accumulate: recipe.train.accumulate > 1,
        average: recipe.train.ema > 0.0,
        ..Options::train(stretch.batch, recipe.train.label_smoothing as f32)
    };
    Ok(Arc::new(Plan::build(graph, options)?))
}

/// Copies all that training keeps to a session whose plan is of the same network.
fn carry(from: &Session, to: &mut Session) -> Result<(), TrainError> {
    model::copy(from, to, false)?;
    let plan = to.plan().clone();
    for (old, new) in from.plan().params.iter().zip(&plan.params) {
        if let (Some(old), Some(new)) = (old.average, new.average) {
            to.write(new, &from.get(old)?)?;
        }
        if let (Some(old), Some(new)) = (&old.training, &new.training) {
            for (old, new) in old.state.iter().zip(&new.state) {
                to.write(*new, &from.get(*old)?)?;
            }
        }
    }
    Ok(())
}

/// How targets are made of labels.
pub(super) fn targets(task: &Task) -> Targets {
    let labels = || (0..task.train.len()).map(|i| task.train.label(i));
    let class_weights = match task.recipe.train.class_weights {
        ClassWeights::None => Vec::new(),
        ClassWeights::Balanced => Targets::balanced(labels(), task.classes.len()),
    };
    Targets { mixup: task.recipe.augment.mixup, class_weights }
}

/// How the pictures of a phase become inputs.
pub(super) fn transform(task: &Task, stretch: &Stretch) -> Result<Transform, TrainError> {
    match stretch.side {
        None => Ok(task.transform.clone()),
        Some(side) => scaled(&task.transform, side),
    }
}

/// The batches of a phase.
pub(super) fn loader(
    task: &Task,
    stretch: &Stretch,
    targets: &Targets,
) -> Result<Loader, TrainError> {
    let recipe = &task.recipe;
    let transform = transform(task, stretch)?;
    let options = LoaderOptions {
        on_broken: on_broken(recipe),
        balanced: recipe.data.sampling == Sampling::Balanced,
        targets: Some(targets.clone()),
        ..LoaderOptions::train(stretch.batch, recipe.train.seed, workers(task))
    };
    Ok(Loader::new(task.train.clone(), transform, options)?)
}

/// The same transform to a square of another side: what it looks at stays the same part.
fn scaled(transform: &Transform, side: usize) -> Result<Transform, TrainError> {
    let (preprocess, augment) = (transform.preprocess(), transform.augment());
    let shape = preprocess.shape;
    let own = shape.h.min(shape.w);
    let scale = |pixels: usize| (pixels as f64 * side as f64 / own as f64).round() as usize;
    let resize = preprocess.resize.map_or(side, |resize| scale(resize).max(side));
    let preprocess = Preprocess {
        shape: Shape::new(shape.c, side, side),
        resize: Some(resize),
        normalize: preprocess.normalize.clone(),
    };
    let augment = Augment { pad: scale(augment.pad).min(side), ..augment.clone() };
    Ok(Transform::new(preprocess, augment)?)
}

/// What happens to pictures that turn out to be broken in training.
pub(super) fn on_broken(recipe: &Recipe) -> OnBroken {
    match recipe.data.bad_files {
        recipe::BadFiles::Skip => OnBroken::Replace,
        recipe::BadFiles::Refuse => OnBroken::Fail,
    }
}

/// Threads that make batches.
pub(super) fn workers(task: &Task) -> usize {
    let asked = task.recipe.train.workers;
    asked.unwrap_or_else(|| loader_workers(task.train.as_ref(), task.device.threads()))
}

#[cfg(test)]
mod tests;
