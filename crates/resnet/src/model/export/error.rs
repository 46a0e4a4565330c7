//! Why a model cannot be exported, or its file does not do what the model does.

use std::path::PathBuf;

use resnet_engine::exec::ExecError;
use resnet_engine::op::ShapeError;
use resnet_formats::FormatError;

use crate::base::files::FileError;
use crate::data::DataError;
use crate::model::ModelError;
use crate::net::ArchError;
use resnet_formats::DataType as Stored;

/// Why a model cannot be exported, or its file does not do what the model does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file's bytes.
    #[error("{}: {error}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: FormatError,
    },
    /// Options that mean nothing together.
    #[error("{0}")]
    Options(String),
    /// A number of the model has no place in 16 bits.
    #[error(
        "tensor `{tensor}` holds numbers that are too large for {stored}; store it as {better}"
    )]
    Half {
        /// The tensor.
        tensor: String,
        /// The type it was to have.
        stored: Stored,
        /// A type with room for it.
        better: &'static str,
    },
    /// The graph of a file is not one of ours.
    #[error("{}: node `{node}`: {problem}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// The operation.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// The file's network answers otherwise than the model.
    #[error(
        "{}: on {} pictures its logits differ from the model's by up to {:e}, {:e} is allowed; \
         keep the model file and report this",
        path.display(), difference.images, difference.most, difference.allowed
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// By how much.
        difference: Difference,
    },
    /// The network.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A layer of it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Running it needs too much memory.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The pictures to verify with.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// How far two networks are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Pictures that both saw.
    pub images: usize,
    /// Largest difference between two logits.
    pub most: f32,
    /// Largest difference that is allowed.
    pub allowed: f32,
    /// Largest logit, without its sign.
    pub largest: f32,
    /// Pictures with the same most likely class.
    pub same: usize,
}

impl ExportError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing. The network is the model's own, so what is wrong with it is a failure.
    pub fn is_usage(&self) -> bool {
        matches!(self, ExportError::Options(_))
    }
}
