//! Why a model file cannot be used.

use std::path::PathBuf;

use resnet_engine::exec::ExecError;
use resnet_engine::op::ShapeError;
use resnet_formats::FormatError;

use crate::base::files::FileError;
use crate::data::DataError;
use crate::net::ArchError;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bytes are not safetensors.
    #[error("{}: {error}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: FormatError,
    },
    /// The file lacks what a model file of ours has.
    #[error(
        "{}: metadata `{key}` {problem}; expected a model or checkpoint that training wrote; \
         import weights trained elsewhere first",
        path.display()
    )]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// What it says of its own answers is not usable.
    #[error("{}: metadata `{key}` {problem}; calibrate the model again", path.display())]
    Confidence {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The network in the metadata does not exist.
    #[error("{}: {error}", path.display())]
    Arch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ArchError,
    },
    /// The network cannot read images of the shape that the file says.
    #[error("{}: {error}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ShapeError,
    },
    /// The preprocessing does not fit.
    #[error("{}: {error}", path.display())]
    Preprocess {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: DataError,
    },
    /// There is no trained last layer.
    #[error(
        "{}: the weights came without a last layer, so the model knows no classes; fine-tune it on \
         pictures of your own first",
        path.display()
    )]
    Headless {
        /// The file.
        path: PathBuf,
    },
    /// The device that holds the weights.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Tensors are missing, unexpected or of the wrong shape.
    #[error("{}: the tensors do not fit network `{arch}`: {problem}", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// The network.
        arch: String,
        /// The first differences, named.
        problem: String,
    },
}
