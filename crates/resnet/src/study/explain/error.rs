//! Why there is no explanation.

use std::path::PathBuf;

use crate::base::files::FileError;
use crate::data::DataError;
use crate::measure::evaluate::UseError;
use crate::measure::summary::SummaryError;
use crate::model::ModelError;
use crate::net::ArchError;
use crate::page::draw::DrawError;
use crate::study::compare::CompareError;
use crate::study::features::FeatureError;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The runs, or a look into them.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A look at features.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A trained network cannot be run.
    #[error(transparent)]
    Use(#[from] UseError),
    /// A trained model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network's size.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// A network of the text.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A drawing.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run that is to be explained diverged.
    #[error("{network} diverged after {step} steps: {reason}; try another seed")]
    Diverged {
        /// The network.
        network: String,
        /// Steps done.
        step: u64,
        /// What became infinite.
        reason: String,
    },
    /// A run ended, and its model is gone.
    #[error("{}: the run's model is gone; remove the directory, and it is trained again", .0.display())]
    NoModel(PathBuf),
}

impl ExplainError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        matches!(self, ExplainError::Compare(error) if error.is_usage())
    }
}
