//! From a recipe to everything that a run needs: data, network, plans, loaders.

use super::TrainError;
use super::monitor::Monitor;
use crate::arch::Arch;
use crate::data::{Loader, LoaderOptions, OnBroken, Preprocess};
use crate::evaluate::{BATCH, loader_workers};
use crate::exec::{self, Backend, Cpu, Sgd};
use crate::graph::Graph;
use crate::plan::{Options, Plan};
use crate::recipe::{self, Recipe};
use crate::schedule::Schedule;
use crate::summary;
use crate::task::Task;

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
    pub(super) trainer: Cpu,
    pub(super) evaluator: Cpu,
    /// Looks into the network now and then, where asked for.
    pub(super) monitor: Option<Monitor>,
    pub(super) schedule: Schedule,
    pub(super) sgd: Sgd,
    pub(super) threads: usize,
    pub(super) isa: String,
    /// What the data says should be known.
    pub(super) warnings: Vec<String>,
}

impl Job {
    pub(super) fn prepare(recipe: Recipe) -> Result<Job, TrainError> {
        let isa = crate::exec::isa_in_use().map_err(TrainError::Isa)?;
        let task = Task::open(recipe)?;
        let Task {
            recipe,
            arch,
            graph,
            ..
        } = &task;
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
            ..LoaderOptions::train(batch, recipe.train.seed, workers)
        };
        let train = Loader::new(task.train.clone(), task.transform.clone(), options)?;
        let eval_batch = BATCH.min(task.eval.len());
        let eval_options = match on_broken {
            OnBroken::Fail => LoaderOptions {
                on_broken,
                ..LoaderOptions::eval(eval_batch, workers)
            },
            _ => LoaderOptions::eval(eval_batch, workers),
        };
        let eval = Loader::new(task.eval.clone(), task.transform.clone(), eval_options)?;

        let plan = Plan::build(
            graph,
            Options::train(batch, recipe.train.label_smoothing as f32),
        )?;
        let trainer = Cpu::new(plan, threads)?;
        let evaluator = Cpu::new(Plan::build(graph, Options::infer(eval_batch))?, threads)?;
        let schedule = recipe.schedule(train.steps() as u64);
        let sgd = Sgd {
            lr: 0.0,
            momentum: recipe.optimizer.momentum as f32,
            weight_decay: recipe.optimizer.weight_decay as f32,
            decay_norm_bias: recipe.optimizer.decay_norm_bias,
            nesterov: recipe.optimizer.nesterov,
            backbone: 1.0,
            stage: 1.0,
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
            threads,
            isa,
            warnings,
        })
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

    /// The recipe as model files carry it: without what depends on the machine and changes no result.
    pub(super) fn portable_recipe(&self) -> String {
        let mut recipe = self.recipe.clone();
        recipe.train.threads = 0;
        recipe.train.workers = None;
        recipe.to_toml()
    }

    /// Training and evaluation images.
    pub(super) fn images(&self) -> (u64, u64) {
        (
            self.train.data().len() as u64,
            self.eval.data().len() as u64,
        )
    }

    /// Number of trained parameters.
    pub(super) fn params(&self) -> u64 {
        self.trainer.plan().count_params() as u64
    }
}
