//! From a recipe to everything that a run needs: data, network, plans, loaders.

use std::sync::Arc;

use super::ema::Ema;
use super::monitor::Monitor;
use super::{TrainError, target};
use crate::data::{Batch, Loader, LoaderOptions, OnBroken, Preprocess};
use crate::measure::evaluate::{BATCH, loader_workers};
use crate::measure::summary;
use crate::model::{self, Model};
use crate::net::Arch;
use crate::train::recipe::{self, ClassWeights, Recipe, Sampling};
use crate::train::schedule::Schedule;
use crate::train::task::Task;
use resnet_engine::exec::{self, Backend, Cpu, Sgd};
use resnet_engine::graph::Graph;
use resnet_engine::plan::{Frozen, Options, Plan};
use resnet_engine::step::Precision;

/// Metadata of a model file that names its licence.
const LICENCE: &str = "licence";

/// A run, ready to start.
pub(super) struct Job {
    /// Every choice, nothing left to be chosen from the data.
    pub(super) recipe: Recipe,
    pub(super) arch: Arch,
    pub(super) graph: Graph,
    pub(super) macs: u64,
    pub(super) classes: Vec<String>,
    pub(super) preprocess: Preprocess,
    /// Training images.
    pub(super) train: Loader,
    /// Images that the network is evaluated on.
    pub(super) eval: Loader,
    /// What the data calls them.
    pub(super) eval_name: String,
    /// Trains what is to be trained at present; see [`Job::enter`].
    pub(super) trainer: Cpu,
    pub(super) evaluator: Cpu,
    /// Looks into the network now and then, where asked for.
    pub(super) monitor: Option<Monitor>,
    pub(super) schedule: Schedule,
    pub(super) sgd: Sgd,
    /// The first steps, in which only the head is trained.
    pub(super) frozen_steps: u64,
    /// The model to start from, until it was written into the trainer.
    pub(super) start: Option<Arc<Model>>,
    /// The licence of that model, which goes with what is made of it.
    pub(super) licence: Option<String>,
    /// How much the loss of each class counts, where they differ.
    class_weights: Option<Vec<f32>>,
    /// The running average of the weights, where one is kept.
    pub(super) ema: Option<Ema>,
    pub(super) threads: usize,
    pub(super) isa: String,
    /// Why maps are stored as they are, where that was left to this machine.
    pub(super) precision_why: Option<&'static str>,
    /// What the data says should be known.
    pub(super) warnings: Vec<String>,
}

impl Job {
    pub(super) fn prepare(task: Task) -> Result<Job, TrainError> {
        let isa = resnet_engine::exec::isa_in_use().map_err(TrainError::Isa)?;
        let Task { recipe, arch, graph, .. } = &task;
        let macs = summary::summary(arch, task.preprocess.shape, task.classes.len())?.macs;

        let threads = exec::threads(recipe.train.threads);
        let workers = recipe.train.workers;
        let workers = workers.unwrap_or_else(|| loader_workers(task.train.as_ref(), threads));
        let batch = recipe.train.batch;
        let on_broken = match recipe.data.bad_files {
            recipe::BadFiles::Skip => OnBroken::Replace,
            recipe::BadFiles::Refuse => OnBroken::Fail,
        };
        let options = LoaderOptions {
            on_broken,
            balanced: recipe.data.sampling == Sampling::Balanced,
            ..LoaderOptions::train(batch, recipe.train.seed, workers)
        };
        let train = Loader::new(task.train.clone(), task.transform.clone(), options)?;
        let eval_batch = BATCH.min(task.eval.len());
        let eval_options = match on_broken {
            OnBroken::Fail => {
                LoaderOptions { on_broken, ..LoaderOptions::eval(eval_batch, workers) }
            }
            _ => LoaderOptions::eval(eval_batch, workers),
        };
        let eval = Loader::new(task.eval.clone(), task.transform.clone(), eval_options)?;

        let frozen_steps = recipe.frozen_steps(train.steps() as u64);
        let plan = Plan::build(graph, options_of(recipe, graph, frozen_steps > 0))?;
        let trainer = Cpu::new(plan, threads)?;
        let labels = || (0..task.train.len()).map(|i| task.train.label(i));
        let class_weights = match recipe.train.class_weights {
            ClassWeights::None => None,
            ClassWeights::Balanced => Some(target::balanced(labels(), task.classes.len())),
        };
        let options = Options { precision: precision(recipe), ..Options::infer(eval_batch) };
        let evaluator = Cpu::new(Plan::build(graph, options)?, threads)?;
        let schedule = recipe.schedule(train.steps() as u64);
        let sgd = Sgd {
            lr: 0.0,
            momentum: recipe.optimizer.momentum as f32,
            weight_decay: recipe.optimizer.weight_decay as f32,
            decay_norm_bias: recipe.optimizer.decay_norm_bias,
            nesterov: recipe.optimizer.nesterov,
            backbone: recipe.optimizer.backbone_lr as f32,
            stage: recipe.optimizer.stage_lr as f32,
        };
        let monitor = Monitor::of(&task, train.steps() as u64, threads)?;
        let Task {
            recipe,
            arch,
            graph,
            classes,
            preprocess,
            eval_name,
            warnings,
            precision_why,
            start,
            ..
        } = task;
        Ok(Job {
            recipe,
            arch,
            graph,
            macs,
            classes,
            preprocess,
            train,
            eval,
            eval_name,
            trainer,
            evaluator,
            monitor,
            schedule,
            sgd,
            frozen_steps,
            licence: start.as_ref().and_then(|s| s.tensors.metadata.get(LICENCE).cloned()),
            start,
            class_weights,
            ema: None,
            threads,
            isa,
            precision_why,
            warnings,
        })
    }

    /// Writes the weights that training starts with.
    pub(super) fn initialise(&mut self) -> Result<(), TrainError> {
        model::initialise(&mut self.trainer, &self.graph, self.recipe.train.seed);
        if let Some(start) = self.start.take() {
            let mut model = Arc::unwrap_or_clone(start).for_classes(&self.classes, &self.graph)?;
            model.hand_over(&mut self.trainer)?;
        }
        if self.recipe.train.ema > 0.0 {
            self.ema = Some(Ema::new(self.recipe.train.ema, &self.trainer));
        }
        Ok(())
    }

    /// Lets the trainer train what step `step` trains, the first being 0: the head alone, or
    /// everything. Momentum of what was frozen starts at zero.
    pub(super) fn enter(&mut self, step: u64) -> Result<(), TrainError> {
        let frozen = step < self.frozen_steps;
        if frozen == (self.trainer.plan().options.frozen.layers > 0) {
            return Ok(());
        }
        let plan = Plan::build(&self.graph, options_of(&self.recipe, &self.graph, frozen))?;
        let mut trainer = Cpu::new(plan, self.threads)?;
        model::copy(&self.trainer, &mut trainer);
        let params = trainer.plan().params.clone();
        for (old, new) in self.trainer.plan().params.iter().zip(params) {
            if let (Some(old), Some(new)) = (old.training, new.training) {
                trainer.write(new.momentum, self.trainer.view(old.momentum));
            }
        }
        self.trainer = trainer;
        Ok(())
    }

    /// Forward and backward over a batch, whose images may be mixed on the way; `step` names the
    /// randomness. Returns the mean loss.
    pub(super) fn differentiate(&mut self, batch: &mut Batch, step: u64) -> f64 {
        let (mixup, seed) = (self.recipe.augment.mixup, self.recipe.train.seed);
        let part = (mixup > 0.0).then(|| target::draw(mixup, seed, step));
        if let Some(part) = part {
            target::mix(batch, part);
        }
        let trainer = &mut self.trainer;
        let plan = trainer.plan();
        let (input, losses) = (plan.input, plan.losses.expect("a plan that trains has losses"));
        let (forward, backward) = (plan.forward.clone(), plan.backward.clone());
        trainer.write(input, &batch.x);
        trainer.set_labels(&batch.labels);
        trainer.run(forward);
        let weights = self.class_weights.as_deref();
        if part.is_some() || weights.is_some() {
            target::adjust(trainer, &batch.labels, part, weights);
        }
        trainer.run(backward);
        let losses = trainer.view(losses);
        losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64
    }

    /// Changes the weights along the gradient; `step` steps were done before.
    pub(super) fn update(&mut self, lr: f64, step: u64) {
        self.trainer.set_optimizer(Sgd { lr: lr as f32, ..self.sgd });
        let update = self.trainer.plan().update.clone();
        self.trainer.run(update);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.trainer, step + 1);
        }
    }

    /// A backend that holds the weights to use: the average, where one is kept, or those that are
    /// trained.
    pub(super) fn result(&mut self) -> &Cpu {
        match &self.ema {
            Some(ema) => ema.write_to(&mut self.evaluator),
            None => model::copy(&self.trainer, &mut self.evaluator),
        }
        &self.evaluator
    }

    /// Steps in an epoch, at least 1.
    pub(super) fn steps_per_epoch(&self) -> u64 {
        self.train.steps() as u64
    }

    /// Steps of the whole run.
    pub(super) fn total_steps(&self) -> u64 {
        self.recipe.total_steps(self.steps_per_epoch())
    }

    /// Epochs of the whole run, the last perhaps cut short.
    pub(super) fn epochs(&self) -> u64 {
        self.total_steps().div_ceil(self.steps_per_epoch())
    }

    /// Adds what model files of a run carry beside the network: its recipe, and the licence of the
    /// model it started from.
    pub(super) fn describe(&self, model: &mut Model) {
        let metadata = &mut model.tensors.metadata;
        metadata.insert("recipe".into(), self.portable_recipe());
        if let Some(licence) = &self.licence {
            metadata.insert(LICENCE.into(), licence.clone());
        }
    }

    /// The recipe as model files carry it: without what depends on the machine and changes no
    /// result.
    fn portable_recipe(&self) -> String {
        let mut recipe = self.recipe.clone();
        recipe.train.threads = 0;
        recipe.train.workers = None;
        recipe.to_toml()
    }

    /// Training and evaluation images.
    pub(super) fn images(&self) -> (u64, u64) {
        (self.train.data().len() as u64, self.eval.data().len() as u64)
    }

    /// Number of trained parameters.
    pub(super) fn params(&self) -> u64 {
        self.trainer.plan().count_params() as u64
    }
}

/// How the task stores maps; it left nothing open.
fn precision(recipe: &Recipe) -> Precision {
    recipe.train.precision.asked().unwrap_or_default()
}

/// How the trainer's plan is made.
fn options_of(recipe: &Recipe, graph: &Graph, frozen: bool) -> Options {
    let optimizer = &recipe.optimizer;
    Options {
        frozen: Frozen {
            layers: if frozen { graph.head().0 } else { 0 },
            norm: recipe.train.freeze_norm,
        },
        precision: precision(recipe),
        staged: optimizer.backbone_lr != 1.0 || optimizer.stage_lr != 1.0,
        ..Options::train(recipe.train.batch, recipe.train.label_smoothing as f32)
    }
}
