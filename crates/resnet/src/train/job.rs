//! From a task to everything that a run needs: what learns, what is evaluated, when what happens.

use std::sync::Arc;

use resnet_engine::exec::Session;

use super::TrainError;
use super::event::{Pace, RunStarted};
use super::learner::{self, Learner};
use super::monitor::Monitor;
use super::recipe::{Calendar, Keep, Recipe};
use super::schedule::Schedule;
use super::task::Task;
use crate::data::{self, Loader, LoaderOptions, OnBroken};
use crate::device::{self, Wanted};
use crate::measure::evaluate::{BATCH, Evaluation, evaluate_while, plan_within, share};
use crate::measure::summary;
use crate::model::{self, Model};
use crate::ranks::is_first;

/// Metadata of a model file that names its licence.
const LICENCE: &str = "licence";

/// A run, ready to start.
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) macs: u64,
    pub(super) calendar: Calendar,
    pub(super) schedule: Schedule,
    pub(super) learner: Learner,
    /// The phase that the learner is in.
    phase: usize,
    pub(super) evaluator: Evaluator,
    /// Looks into the network now and then, where asked for.
    pub(super) monitor: Option<Monitor>,
    /// What tells the data apart.
    pub(super) data: String,
    /// The licence of the model to start from, which goes with what is made of it.
    licence: Option<String>,
}

/// The network in inference, and the pictures that it is measured on.
pub(super) struct Evaluator {
    session: Session,
    pub(super) loader: Loader,
}

impl Job {
    pub(super) fn prepare(task: Task) -> Result<Job, TrainError> {
        let recipe = &task.recipe;
        let macs = summary::summary(&task.arch, task.preprocess.shape, task.classes.len())?.macs;
        let calendar = recipe.calendar(task.train.len() as u64)?;
        learner::check_phases(&task, &calendar)?;
        let learner = Learner::new(&task, calendar.phases()[0])?;
        let evaluator = Evaluator::new(&task)?;
        let schedule = recipe.schedule(&calendar);
        let monitor = match is_first(&task.ranks) {
            true => Monitor::of(&task, &calendar)?,
            false => None,
        };
        let start = task.start.as_ref();
        let licence = start.and_then(|start| start.tensors.metadata.get(LICENCE).cloned());
        let data = data::fingerprint(&[task.train.as_ref(), task.eval.as_ref()]);
        Ok(Job {
            macs,
            calendar,
            schedule,
            learner,
            phase: 0,
            evaluator,
            monitor,
            data,
            licence,
            task,
        })
    }

    /// Every choice, nothing left to be chosen from the data.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.task.recipe
    }

    /// Writes the weights that training starts with.
    pub(super) fn initialise(&mut self) -> Result<(), TrainError> {
        let session = &mut self.learner.session;
        model::initialise(session, &self.task.graph, self.task.recipe.train.seed)?;
        if let Some(start) = self.task.start.take() {
            let start = Arc::unwrap_or_clone(start);
            start.for_classes(&self.task.classes, &self.task.graph)?.hand_over(session)?;
        }
        Ok(model::begin_averages(session)?)
    }

    /// Goes over to the phase of step `step`, the first being 0.
    pub(super) fn enter(&mut self, step: u64) -> Result<(), TrainError> {
        let phase = self.calendar.phase(step);
        if phase != self.phase {
            self.learner.enter(&self.task, self.calendar.phases()[phase])?;
            self.phase = phase;
        }
        Ok(())
    }

    /// Goes over to the phase of the last of `steps` steps, which were done and trained the last
    /// layer alone or more than that.
    pub(super) fn begin_at(&mut self, steps: u64, frozen: bool) -> Result<(), TrainError> {
        self.calendar.begin_at(steps, frozen);
        self.phase = self.calendar.phase(steps.saturating_sub(1));
        self.learner.enter(&self.task, self.calendar.phases()[self.phase])
    }

    /// What changes with step `step`, in a sentence, where it begins a phase.
    pub(super) fn announcement(&self, step: u64) -> Option<String> {
        let at = self.calendar.phases().iter().position(|phase| phase.from == step && step > 0)?;
        let (before, now) = (self.calendar.phases()[at - 1], self.calendar.phases()[at]);
        let mut changes = Vec::new();
        if before.freeze != now.freeze {
            let what = if now.freeze { "only the last layer is" } else { "all layers are" };
            changes.push(format!("{what} trained"));
        }
        if before.side != now.side {
            let side = now.side.unwrap_or(self.task.preprocess.shape.h);
            changes.push(format!("images are {side} x {side} pixels"));
        }
        if before.batch != now.batch {
            changes.push(format!("batches have {} images", now.batch));
        }
        if before.lr != now.lr {
            changes.push(format!("the learning rate is multiplied by {}", now.lr));
        }
        (!changes.is_empty()).then(|| format!("{} from step {} on", changes.join(", "), step + 1))
    }

    /// About what steps cost, where phases make that differ: a frozen layer runs forward only, a
    /// trained one backward as well, to its inputs and to its weights.
    fn pace(&self) -> Vec<Pace> {
        let all = self.calendar.phases().iter();
        let phases: Vec<_> = all.filter(|phase| phase.from < self.calendar.total()).collect();
        let own = self.task.preprocess.shape.h as f64;
        let pace = phases.iter().map(|phase| Pace {
            from: phase.from,
            cost: phase.batch as f64
                * phase.side.map_or(1.0, |side| (side as f64 / own).powi(2))
                * if phase.freeze { 1.0 } else { 3.0 },
        });
        if phases.len() > 1 { pace.collect() } else { Vec::new() }
    }

    /// The learning rate of a step.
    pub(super) fn lr(&self, step: u64, warm_start: &super::schedule::WarmStart) -> f64 {
        self.schedule.lr_with(step, warm_start) * self.learner.lr_factor()
    }

    /// Measures the weights to use: the average, where one is kept, or those that are trained.
    /// `on` hears of the images done, and ends it by a `false`: there is no evaluation then.
    pub(super) fn evaluate(
        &mut self,
        on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Evaluator { session, loader } = &mut self.evaluator;
        model::copy(&self.learner.session, session, true)?;
        Ok(evaluate_while(None, session, loader, self.task.ranks.as_deref(), on)?)
    }

    /// Measures a model of the same network.
    pub(super) fn evaluate_model(
        &mut self,
        model: &Model,
        on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Evaluator { session, loader } = &mut self.evaluator;
        model.clone().hand_over(session)?;
        Ok(evaluate_while(None, session, loader, self.task.ranks.as_deref(), on)?)
    }

    /// Whether the run leaves its best weights rather than its last.
    pub(super) fn keeps_best(&self) -> bool {
        match self.task.recipe.train.keep {
            Keep::Best => true,
            Keep::Last => false,
            Keep::Auto => !self.task.eval_is_test,
        }
    }

    /// A model of the weights to use, with what goes with it.
    pub(super) fn model(&self) -> Result<Model, TrainError> {
        let Task { arch, classes, preprocess, .. } = &self.task;
        let session = &self.learner.session;
        let mut model = match self.learner.averages() {
            true => Model::of_averages(session, arch.clone(), classes.clone(), preprocess.clone()),
            false => Model::of(session, arch.clone(), classes.clone(), preprocess.clone()),
        }?;
        let metadata = &mut model.tensors.metadata;
        metadata.insert("recipe".into(), self.portable_recipe());
        if let Some(licence) = &self.licence {
            metadata.insert(LICENCE.into(), licence.clone());
        }
        Ok(model)
    }

    /// The recipe as model files carry it: without what depends on the machine and changes no
    /// result, but for the last digits between devices.
    pub(super) fn portable_recipe(&self) -> String {
        let mut recipe = self.task.recipe.clone();
        recipe.train.threads = 0;
        recipe.train.device = Wanted::Auto;
        recipe.train.workers = None;
        recipe.to_toml()
    }

    /// Training and evaluation images.
    pub(super) fn images(&self) -> (u64, u64) {
        (self.task.train.len() as u64, self.task.eval.len() as u64)
    }

    /// What is about to happen, into the directory `out` or none.
    pub(super) fn started(&self, out: String) -> RunStarted {
        let task = &self.task;
        let (train_images, test_images) = self.images();
        RunStarted {
            arch: task.arch.name(),
            params: self.params(),
            macs: self.macs,
            data: task.recipe.data.source.clone(),
            train_images,
            test_images,
            epochs: self.calendar.epochs(),
            steps: self.calendar.total(),
            batch: (task.recipe.train.batch * task.recipe.train.accumulate) as u64,
            seed: task.recipe.train.seed,
            threads: task.device.threads() as u64,
            isa: task.device.about(),
            classes: task.classes.len() as u64,
            start: task.recipe.model.start.clone(),
            pace: self.pace(),
            precision: self.learner.session.plan().options.precision.to_string(),
            precision_why: task.precision_why.map(str::to_owned),
            device: device::label(task.device.as_ref()),
            device_why: task.device_why.clone(),
            sizes: task.sizes.clone(),
            ranks: task.ranks.as_ref().map_or(1, |ranks| ranks.count() as u64),
            carrier: task.ranks.as_ref().map_or_else(String::new, |ranks| ranks.about()),
            shards: learner::shard_count(&task.recipe) as u64,
            out,
        }
    }

    /// Number of trained parameters.
    pub(super) fn params(&self) -> u64 {
        self.learner.session.plan().count_params() as u64
    }
}

impl Evaluator {
    fn new(task: &Task) -> Result<Evaluator, TrainError> {
        let precision = learner::precision(&task.recipe);
        let most = BATCH.min(task.eval.len()).max(1);
        let (plan, batch) = plan_within(&task.graph, precision, most, 1)?;
        let share = share(task.ranks.as_deref());
        let options = LoaderOptions { share, ..LoaderOptions::eval(batch, learner::workers(task)) };
        let options = match learner::on_broken(&task.recipe) {
            OnBroken::Fail => LoaderOptions { on_broken: OnBroken::Fail, ..options },
            _ => options,
        };
        let loader = Loader::new(task.eval.clone(), task.transform.clone(), options)?;
        Ok(Evaluator { session: Session::to_run(task.device.as_ref(), plan)?, loader })
    }
}
