//! Why a run could not go on.

use std::path::PathBuf;

use resnet_engine::exec::{ExecError, OpenError};
use resnet_engine::op::ShapeError;

use super::event::EventError;
use super::recipe::RecipeError;
use super::task::TaskError;
use crate::base::files::FileError;
use crate::data::DataError;
use crate::measure::evaluate::UseError;
use crate::measure::probe::ProbeError;
use crate::measure::summary::SummaryError;
use crate::model::ModelError;
use crate::net::ArchError;
use crate::ranks::RanksError;

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
    /// The device that computes; the network's plan may need too much memory.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The device cannot be opened.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// The network cannot be evaluated.
    #[error(transparent)]
    Use(#[from] UseError),
    /// The network does not exist or cannot read the images of a phase.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A phase would train other weights.
    #[error(
        "`phase`: with images of {side} x {side} pixels {arch} has other weights; its last layer \
         reads maps pixel by pixel, so leave `side` out"
    )]
    Phase {
        /// The side of its images.
        side: usize,
        /// The network.
        arch: String,
    },
    /// Other processes of the run.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// The directory already holds a run.
    #[error("{} already holds {}; continue that run, or choose another directory", .0.display(), .1)]
    Taken(PathBuf, &'static str),
    /// The directory holds no run, but a file of a name that runs have.
    #[error("{} already holds {}, which is never replaced; choose another directory", .0.display(), .1)]
    Occupied(PathBuf, &'static str),
    /// What is to be a directory is a file.
    #[error("{} is a file, and a run needs a directory; choose another place", .0.display())]
    NotADirectory(PathBuf),
    /// Another process trains in the directory.
    #[error("{} is in use: another process trains there; wait for it or stop it", .0.display())]
    InUse(PathBuf),
    /// The directory to resume holds no run.
    #[error("{} holds no run: {} is missing; give the directory of a run", .0.display(), .1)]
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
    #[error("training diverged at step {step}: {what}; {kept}; try a lower lr{warmup}")]
    Diverged {
        /// The step, the first being 1.
        step: u64,
        /// Which number of which layer.
        what: String,
        /// The checkpoint that is kept, in words.
        kept: String,
        /// A further suggestion.
        warmup: &'static str,
    },
}

impl TrainError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing. What broke while a run was under way is a failure.
    pub fn is_usage(&self) -> bool {
        match self {
            TrainError::Task(error) => error.is_usage(),
            TrainError::Recipe(error) => error.is_usage(),
            TrainError::Arch(error) => error.is_usage(),
            TrainError::Summary(error) => error.is_usage(),
            TrainError::Probe(error) => error.is_usage(),
            TrainError::Shape(_)
            | TrainError::Device(_)
            | TrainError::Phase { .. }
            | TrainError::Taken(..)
            | TrainError::Occupied(..)
            | TrainError::NotADirectory(_)
            | TrainError::NoRun(..) => true,
            TrainError::Ranks(error) => matches!(error, RanksError::Differ(_)),
            TrainError::Data(_)
            | TrainError::Model(_)
            | TrainError::Event(_)
            | TrainError::File(_)
            | TrainError::Exec(_)
            | TrainError::Use(_)
            | TrainError::InUse(_)
            | TrainError::Checkpoint { .. }
            | TrainError::Diverged { .. } => false,
        }
    }
}
