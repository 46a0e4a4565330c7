//! Why a model cannot be used.

use resnet_engine::exec::{ExecError, OpenError};
use resnet_engine::op::ShapeError;

use crate::data::DataError;
use crate::model::ModelError;
use crate::net::ArchError;
use crate::ranks::RanksError;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UseError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its network.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A layer of it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The device cannot be opened.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// Its plan, on the device.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A picture, the data or the preprocessing.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The processes that evaluate together cannot go on.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// The numbers of a network grow without bound on a picture, although its weights are finite.
    #[error(
        "{what}{}the answers of `{arch}` are not numbers (infinite or NaN): its weights are too \
         large for these pictures, or its running statistics are not theirs; train it again with a \
         lower rate, or check how pictures are normalised",
        if what.is_empty() { "" } else { ": " }
    )]
    NotFinite {
        /// The picture, or how many of them; empty where the caller knows.
        what: String,
        /// The network.
        arch: String,
    },
}
