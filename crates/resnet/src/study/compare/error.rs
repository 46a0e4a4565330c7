//! Why networks cannot be compared.

use std::path::PathBuf;

use super::record::RunProblem;

use crate::base::files::FileError;
use crate::model::ModelError;
use crate::study::inspect::InspectError;
use crate::train::TrainError;
use crate::train::event::EventError;
use crate::train::recipe::RecipeError;
use crate::train::task::TaskError;

/// Why networks cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The network, the data or the recipe.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A run failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A run's configuration.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A run's log.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A run's model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A look into a network failed.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was asked for cannot be compared.
    #[error("{0}")]
    Request(String),
    /// A directory holds no run that can be compared.
    #[error("{}: {problem}", path.display())]
    Run {
        /// The directory.
        path: PathBuf,
        /// What is missing or in the way, and what to do.
        problem: RunProblem,
    },
}

impl CompareError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        match self {
            CompareError::Task(error) => error.is_usage(),
            CompareError::Train(error) => error.is_usage(),
            CompareError::Recipe(error) => error.is_usage(),
            CompareError::Inspect(error) => error.is_usage(),
            CompareError::Request(_) | CompareError::Run { .. } => true,
            CompareError::Event(_) | CompareError::Model(_) | CompareError::File(_) => false,
        }
    }
}
