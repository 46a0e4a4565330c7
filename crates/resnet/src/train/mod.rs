//! Training: from a recipe to a run directory.
//!
//! `job` turns a recipe into data, network and plans, and does a step; `run` is the loop;
//! `checkpoint` and `directory` keep it on disk; `target` mixes and weighs labels, `ema` averages
//! weights; `monitor` looks into the network on the way; `diverged` finds the layer that broke;
//! `report` draws the page. `lr_find` takes the same steps with a rate that rises.

mod checkpoint;
mod directory;
mod diverged;
mod ema;
pub mod event;
pub mod finetune;
mod job;
mod lr_find;
mod monitor;
pub mod recipe;
mod report;
mod run;
pub mod schedule;
mod target;
pub mod task;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::files::FileError;
use crate::data::DataError;
use crate::measure::probe::ProbeError;
use crate::measure::summary::SummaryError;
use crate::model::{Model, ModelError};
use crate::train::event::{Event, EventError, RunEnded};
use crate::train::recipe::{Recipe, RecipeError};
use crate::train::task::{Task, TaskError};
use resnet_engine::exec::NoMemory;
use resnet_engine::op::ShapeError;

pub use directory::{BEST, CONFIG, EVENTS, LAST, MODEL, REPORT};
pub use lr_find::{LrFind, lr_find};
pub use run::INTERRUPTED;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The network, the data or the recipe.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A layer cannot read its inputs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The recipe of the run to resume.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The network cannot be looked into.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A checkpoint or model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The log of events.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A file of the run directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its layers cannot be summed up.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// The network's plan needs too much memory.
    #[error(transparent)]
    Memory(#[from] NoMemory),
    /// The instruction set asked for does not exist.
    #[error("{0}")]
    Isa(String),
    /// The directory already holds a run.
    #[error("{path} already holds {file}; continue a run with --resume {path}, or choose another --out", path = .0.display(), file = .1)]
    Taken(PathBuf, &'static str),
    /// Another process trains in the directory.
    #[error("{} is in use by another `resnet train`; wait for it or stop it", .0.display())]
    InUse(PathBuf),
    /// The directory to resume holds no run.
    #[error("{path} holds no run: {file} is missing; give the directory that `resnet train` printed", path = .0.display(), file = .1)]
    NoRun(PathBuf, &'static str),
    /// The checkpoint is of another run.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A number became infinite or NaN.
    #[error(
        "training diverged at step {step}: {what}; the last checkpoint is {kept}; try a lower lr{warmup}"
    )]
    Diverged {
        /// The step, the first being 1.
        step: u64,
        /// Which number of which layer.
        what: String,
        /// The checkpoint that is kept.
        kept: String,
        /// A further suggestion.
        warmup: &'static str,
    },
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// Save a checkpoint and stop; the run can be resumed.
    Stop,
}

/// Where a run is, told after every step.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// The present epoch, the first being 1.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Loss of this step.
    pub loss: f64,
    /// Images in this step.
    pub images: usize,
}

/// Who watches a run.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// A step was done.
    fn tick(&mut self, tick: &Tick) -> Flow;
}

/// Watches nothing.
impl Observer for () {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, _: &Tick) -> Flow {
        Flow::Go
    }
}

/// Trains by a recipe, into a directory that must not hold a run yet. `command` is what the report
/// says was typed.
///
/// # Errors
/// [`TrainError`]; what was saved until then stays.
pub fn train(
    recipe: Recipe,
    out: &Path,
    command: &str,
    observer: &mut dyn Observer,
) -> Result<RunEnded, TrainError> {
    train_noted(recipe, out, command, Vec::new(), observer)
}

/// The same with notes about the data, which become warnings of the run.
///
/// # Errors
/// [`TrainError`]; what was saved until then stays.
pub fn train_noted(
    recipe: Recipe,
    out: &Path,
    command: &str,
    notes: Vec<String>,
    observer: &mut dyn Observer,
) -> Result<RunEnded, TrainError> {
    let mut job = job::Job::prepare(Task::open(recipe)?)?;
    job.warnings.extend(notes);
    let directory = directory::Directory::create(out, &job.recipe, command, job.threads)?;
    run::Run::start(job, directory, observer)?.go()
}

/// Continues a run where its last checkpoint stands; it ends with the same bits as a run that never
/// stopped. The number of threads may differ from before.
///
/// # Errors
/// [`TrainError`].
pub fn resume(
    out: &Path,
    threads: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<RunEnded, TrainError> {
    let (directory, mut recipe) = directory::Directory::open(out)?;
    recipe.train.threads = threads.unwrap_or(recipe.train.threads);
    // The checkpoint knows the preprocessing that the run took over from the model it started from,
    // which may be gone.
    let last = directory.path(LAST);
    let task = match recipe.model.start.is_empty() || !last.exists() {
        true => Task::open(recipe)?,
        false => Task::from(recipe, Some(Arc::new(Model::load(&last)?)))?,
    };
    let job = job::Job::prepare(task)?;
    run::Run::resume(job, directory, observer)?.go()
}
