//! From a recipe to everything that a run needs: data, network, plans, loaders.

use std::sync::Arc;

use super::TrainError;
use crate::arch::Arch;
use crate::data::{
    self, Augment, Dataset, Loader, LoaderOptions, Normalize, OnBroken, OpenOptions, Preprocess,
    RandomResizedCrop, Transform,
};
use crate::evaluate::{BATCH, loader_workers};
use crate::exec::{self, Backend, Cpu, Sgd};
use crate::graph::{Graph, Shape};
use crate::plan::{Options, Plan};
use crate::recipe::{self, ImageFacts, Recipe};
use crate::schedule::Schedule;
use crate::summary;

/// Warnings about the data that are told one by one.
const WARNINGS: usize = 20;

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
    pub(super) schedule: Schedule,
    pub(super) sgd: Sgd,
    pub(super) threads: usize,
    pub(super) isa: String,
    /// What the data says should be known.
    pub(super) warnings: Vec<String>,
}

impl Job {
    pub(super) fn prepare(mut recipe: Recipe) -> Result<Job, TrainError> {
        let isa = crate::exec::isa_in_use().map_err(TrainError::Isa)?;
        let mut arch = Arch::parse(&recipe.model.arch)?;
        for (key, value) in recipe.model.options() {
            arch.set(&key, &value)?;
        }
        let bad_files = match recipe.data.bad_files {
            recipe::BadFiles::Skip => data::BadFiles::Skip,
            recipe::BadFiles::Refuse => data::BadFiles::Refuse,
        };
        let splits = data::open(&recipe.data.source, &OpenOptions { bad_files })?;
        let mut warnings: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
        if warnings.len() > WARNINGS {
            let more = warnings.len() - WARNINGS;
            warnings.truncate(WARNINGS);
            warnings.push(format!("and {more} more warnings about the data"));
        }
        let (train, eval, eval_name): (Arc<dyn Dataset>, Arc<dyn Dataset>, String) =
            match (splits.val, splits.test) {
                (Some(val), _) => (splits.train, val, "val".into()),
                (None, Some(test)) => (splits.train, test, splits.test_name),
                (None, None) => {
                    let (train, val) =
                        data::split(splits.train, recipe.data.val_fraction, recipe.train.seed)?;
                    (Arc::new(train), Arc::new(val), "val".into())
                }
            };

        let size = train.shape().map(|shape| (shape.h, shape.w));
        recipe.resolve(ImageFacts { size })?;
        let classes = train.classes().to_vec();
        let preprocess = preprocess(&recipe, train.as_ref())?;
        let graph = arch.graph(preprocess.shape, classes.len())?;
        let macs = summary::summary(&arch, preprocess.shape, classes.len())?.macs;

        let threads = exec::threads(recipe.train.threads);
        let workers = recipe.train.workers;
        let workers = workers.unwrap_or_else(|| loader_workers(train.as_ref(), threads));
        let batch = recipe.train.batch;
        let on_broken = match bad_files {
            data::BadFiles::Skip => OnBroken::Replace,
            data::BadFiles::Refuse => OnBroken::Fail,
        };
        let augment = Augment {
            pad: recipe.augment.pad.unwrap_or(0),
            flip: recipe.augment.flip,
            random_resized_crop: recipe
                .augment
                .random_resized_crop
                .unwrap_or(false)
                .then(RandomResizedCrop::default),
        };
        let transform = Transform::new(preprocess.clone(), augment)?;
        let options = LoaderOptions {
            on_broken,
            ..LoaderOptions::train(batch, recipe.train.seed, workers)
        };
        let train = Loader::new(train, transform.clone(), options)?;
        let eval_batch = BATCH.min(eval.len());
        let eval_options = match on_broken {
            OnBroken::Fail => LoaderOptions {
                on_broken,
                ..LoaderOptions::eval(eval_batch, workers)
            },
            _ => LoaderOptions::eval(eval_batch, workers),
        };
        let eval = Loader::new(eval, transform, eval_options)?;

        let plan = Plan::build(
            &graph,
            Options::train(batch, recipe.train.label_smoothing as f32),
        )?;
        let trainer = Cpu::new(plan, threads)?;
        let evaluator = Cpu::new(Plan::build(&graph, Options::infer(eval_batch))?, threads)?;
        let schedule = recipe.schedule(train.steps() as u64);
        let sgd = Sgd {
            lr: 0.0,
            momentum: recipe.optimizer.momentum as f32,
            weight_decay: recipe.optimizer.weight_decay as f32,
            decay_norm_bias: recipe.optimizer.decay_norm_bias,
            nesterov: recipe.optimizer.nesterov,
        };
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

/// What the recipe and the data make of a picture.
fn preprocess(recipe: &Recipe, train: &dyn Dataset) -> Result<Preprocess, TrainError> {
    let nonzero = |value: Option<usize>| value.filter(|&v| v > 0);
    let (h, w) = match (nonzero(recipe.data.crop), train.shape()) {
        (Some(crop), _) => (crop, crop),
        (None, Some(shape)) => (shape.h, shape.w),
        (None, None) => (224, 224),
    };
    let shape = Shape::new(train.channels(), h, w);
    let normalize = match recipe.augment.normalize {
        recipe::Normalize::Channel => Normalize::channel(train, shape.c)?,
        recipe::Normalize::Pixel => Normalize::pixel(train, shape)?,
    };
    Ok(Preprocess {
        shape,
        resize: nonzero(recipe.data.resize),
        normalize,
    })
}
