//! What learns: the network in the phase at hand, and the batches that it is shown.

mod shards;

use std::sync::Arc;
use std::time::Duration;

use resnet_engine::exec::{ExecError, Rates, Session, Target};
use resnet_engine::graph::{Graph, Shape};
use resnet_engine::plan::{self, Frozen, Options, Plan};
use resnet_engine::step::{Precision, Rule, Space};

use self::shards::{Said, Shards, Statistics, Tally, timed};
use super::TrainError;
use super::recipe::{self, Calendar, ClassWeights, Recipe, Sampling, Stretch, UpdateRule};
use super::task::Task;
use crate::data::{
    Augment, Batch, DataError, Loader, LoaderOptions, OnBroken, Preprocess, Share, Targets,
    Transform,
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
    /// Where a batch is computed in several.
    shards: Option<Shards>,
    /// Batches that this process takes up for a step.
    batches: usize,
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
    /// Whether a loss or gradient is not finite: the step ends with it.
    pub(super) diverged: bool,
    /// The batch that it is of, where this process computed that.
    pub(super) bad: Option<Batch>,
    /// Whether a process of the run wants to stop.
    pub(super) stop: bool,
    /// What other processes warn of.
    pub(super) warnings: Vec<String>,
    /// How long other processes were waited for.
    pub(super) waited: Duration,
}

impl Learner {
    pub(super) fn new(task: &Task, stretch: Stretch) -> Result<Learner, TrainError> {
        let targets = targets(task);
        let graph = graph(task, &stretch)?;
        let shards = Shards::of(shard_count(&task.recipe), &task.ranks);
        let session = Session::new(task.device.as_ref(), plan(task, &graph, &stretch)?)?;
        let logits = vec![0.0; session.plan().options.batch * task.classes.len()];
        let loader = loader(task, &stretch, &targets)?;
        let batches =
            shards.as_ref().map_or(task.recipe.train.accumulate, |shards| shards.mine().len());
        Ok(Learner { session, loader, graph, stretch, logits, targets, shards, batches })
    }

    /// Batches that this process takes up for a step.
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    /// Goes over to another phase: weights, averages and what the update rule keeps stay; of what
    /// was frozen the latter starts at zero.
    pub(super) fn enter(&mut self, task: &Task, stretch: Stretch) -> Result<(), TrainError> {
        let before = std::mem::replace(&mut self.stretch, stretch);
        let redraws = (before.side, before.batch) != (stretch.side, stretch.batch);
        if redraws {
            self.graph = graph(task, &stretch)?;
            self.loader = loader(task, &stretch, &self.targets)?;
            let batch = stretch.batch / shard_count(&task.recipe);
            self.logits.resize(batch * task.classes.len(), 0.0);
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

    /// The gradient of the next step: of one batch, the mean over several, or over its shards. `on`
    /// sees each batch before it is used; `stop` is told to the other processes of the run. `None`
    /// at the end of the epoch.
    pub(super) fn gradient(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        stop: bool,
        on: &mut dyn FnMut(&Batch) -> Result<(), TrainError>,
    ) -> Result<Option<Gradient>, TrainError> {
        let Some(mut shards) = self.shards.take() else {
            return self.gradient_of_batches(batches, on);
        };
        let mut statistics = Statistics::begin(&self.session, shards.places())?;
        let gradient = self.gradient_of_shards(&mut shards, &mut statistics, batches, stop, on);
        self.shards = Some(shards);
        if gradient.as_ref().map_or(true, |g| g.as_ref().is_some_and(|g| g.diverged)) {
            // The weights are still those of the step before.
            statistics.restore(&mut self.session)?;
        }
        gradient
    }

    fn gradient_of_batches(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        on: &mut dyn FnMut(&Batch) -> Result<(), TrainError>,
    ) -> Result<Option<Gradient>, TrainError> {
        let accumulate = self.batches;
        let mut all = Gradient::default();
        let mut weight = 0.0;
        // With weights of classes, the total of several batches is known only behind the last.
        let mut total = 0.0;
        for _ in 0..accumulate {
            let Some(batch) = batches.next() else { return Ok(None) };
            let batch = batch?;
            on(&batch)?;
            let of_batch = weight_of(&batch);
            total = match accumulate {
                1 => of_batch,
                n => (batch.weight.len() * n) as f64,
            };
            self.forward(&batch, total)?;
            self.session.backward()?;
            let loss = self.session.sum_of_losses()?;
            if !loss.is_finite() || !self.session.all_finite(Space::Grad)? {
                (all.diverged, all.bad) = (true, Some(batch));
                return Ok(Some(all));
            }
            self.session.accumulate()?;
            all.right += self.right(&batch)?;
            all.images += batch.count as u64;
            all.loss += loss;
            weight += of_batch;
        }
        all.divide(total, weight);
        Ok(Some(all))
    }

    fn gradient_of_shards(
        &mut self,
        shards: &mut Shards,
        statistics: &mut Statistics,
        batches: &mut dyn Iterator<Item = Result<Batch, DataError>>,
        stop: bool,
        on: &mut dyn FnMut(&Batch) -> Result<(), TrainError>,
    ) -> Result<Option<Gradient>, TrainError> {
        let total = self.stretch.batch as f64;
        let mut said = Said { tallies: Vec::new(), bad: false, stop, warnings: Vec::new() };
        let (mut bad, mut sums) = (None, None);
        for (i, fold) in shards.folds.clone().iter().enumerate() {
            let Some(batch) = batches.next() else { return Ok(None) };
            let batch = batch?;
            on(&batch)?;
            said.warnings.extend(batch.warnings.iter().map(ToString::to_string));
            if i > 0 {
                statistics.restore(&mut self.session)?;
            }
            self.forward(&batch, total)?;
            let sends = fold.keep.is_none() && shards.are_shared();
            if sends {
                sums = Some(shards.backward_and_send(&mut self.session)?);
            } else {
                self.session.backward()?;
            }
            let loss = self.session.sum_of_losses()?;
            said.tallies.push(Tally::new(
                loss,
                weight_of(&batch),
                batch.count as u64,
                self.right(&batch)?,
            ));
            let finite = loss.is_finite() && self.session.all_finite(Space::Grad)?;
            if !finite && bad.is_none() {
                said.bad = true;
                bad = Some(batch);
                // Others wait for what this process sends.
                if !shards.are_shared() {
                    break;
                }
            }
            if !sends {
                shards.fold(fold, &mut self.session)?;
            }
            statistics.fold(fold, &self.session)?;
        }
        let mut all = Gradient { bad, ..Gradient::default() };
        let told = timed(&mut all.waited, || shards.exchange(said))?;
        let mut weight = 0.0;
        for tally in told.iter().flat_map(|said| &said.tallies) {
            all.loss += tally.loss();
            all.images += tally.images;
            all.right += tally.right;
            weight += tally.weight();
        }
        all.diverged = told.iter().any(|said| said.bad);
        all.stop = told.iter().any(|said| said.stop);
        let own = shards.rank();
        let others = told.into_iter().enumerate().filter(|(rank, _)| *rank != own);
        all.warnings = others.flat_map(|(_, said)| said.warnings).collect();
        if let Some(sums) = sums {
            let session = &mut self.session;
            timed(&mut all.waited, || shards.receive(sums, session))?;
        }
        // Finite numbers may have an infinite sum, which all have.
        all.diverged |= !self.session.all_finite(Space::Grad)?;
        if !all.diverged {
            let session = &mut self.session;
            timed(&mut all.waited, || statistics.end(shards, session))?;
        }
        all.divide(total, weight);
        Ok(Some(all))
    }

    /// The forward pass of a batch whose losses are divided by `total`.
    fn forward(&mut self, batch: &Batch, total: f64) -> Result<(), ExecError> {
        let target = Target { target: &batch.target, weight: &batch.weight, total: total as f32 };
        self.session.feed(&batch.x, target)?;
        self.session.forward()
    }

    /// Images of a batch whose most likely class is their own.
    fn right(&mut self, batch: &Batch) -> Result<u64, ExecError> {
        self.session.read(self.session.plan().logits, &mut self.logits)?;
        let rows = self.logits.chunks_exact(self.session.plan().classes);
        let right =
            rows.zip(&batch.labels).filter(|(row, label)| metric::predicted(row) == Some(**label));
        Ok(right.count() as u64)
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

impl Gradient {
    /// Ends the sums over a step whose losses were divided by `total` and weigh `weight`.
    fn divide(&mut self, total: f64, weight: f64) {
        // Where no image counts there is nothing to learn.
        self.scale = if weight > 0.0 { (total / weight) as f32 } else { 0.0 };
        self.loss = if weight > 0.0 { self.loss / weight } else { 0.0 };
    }
}

fn weight_of(batch: &Batch) -> f64 {
    batch.weight.iter().map(|&w| f64::from(w)).sum()
}

/// Shards of a batch; the task left nothing open.
pub(super) fn shard_count(recipe: &Recipe) -> usize {
    recipe.train.shards.unwrap_or(1)
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
    let (momentum, nesterov) = (optimizer.momentum as f32, optimizer.nesterov);
    let rule = match optimizer.rule {
        UpdateRule::Sgd => Rule::Sgd { momentum, nesterov },
        UpdateRule::Lars => Rule::Lars { momentum, nesterov, trust: optimizer.trust as f32 },
    };
    let options = Options {
        frozen: Frozen {
            layers: if stretch.freeze { graph.head().0 } else { 0 },
            norm: recipe.train.freeze_norm,
        },
        precision: precision(recipe),
        optimizer: plan::Optimizer {
            rule,
            weight_decay: optimizer.weight_decay as f32,
            decay_norm_bias: optimizer.decay_norm_bias,
            backbone: optimizer.backbone_lr as f32,
            stage: optimizer.stage_lr as f32,
        },
        accumulate: recipe.train.accumulate > 1,
        shards: Shards::of(shard_count(recipe), &task.ranks).map(|shards| shards.places()),
        average: recipe.train.ema > 0.0,
        ..Options::train(stretch.batch / shard_count(recipe), recipe.train.label_smoothing as f32)
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
        share: Shards::of(shard_count(recipe), &task.ranks).map_or_else(Share::default, |shards| {
            Share { of: shards.count(), mine: shards.mine() }
        }),
        ..LoaderOptions::train(
            stretch.batch / shard_count(recipe),
            recipe.train.seed,
            workers(task),
        )
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
