//! Models for other tools: files of weights, and ONNX graphs, with everything that the model file
//! says.
//!
//! A format is a row of [`FORMATS`]. A written file can be read back and its network run by this
//! program's own engine on real pictures, beside the model it came from ([`verify`]).

pub mod onnx;
mod verify;

use std::io;
use std::path::{Path, PathBuf};

use resnet_formats::{Array, Data, FormatError, Tensors, pth, safetensors};

use crate::base::files::{self, FileError};
use crate::data::DataError;
use crate::model::{Model, ModelError, PIXEL_MEAN};
use crate::net::ArchError;
use resnet_engine::exec::ExecError;
use resnet_engine::graph::Op;
use resnet_engine::op::{self, ShapeError};

pub use resnet_formats::DataType as Stored;
pub use verify::{Difference, verify};

/// A kind of file.
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// What its files' names end with.
    pub extensions: &'static [&'static str],
    /// What it is, in a few words.
    pub about: &'static str,
    write: fn(&Model, &Options, &Path) -> Result<(), ExportError>,
}

/// Every kind of file.
pub static FORMATS: &[Format] = &[
    Format {
        name: "onnx",
        extensions: &["onnx"],
        about: "a graph that ONNX Runtime and others run, for any batch",
        write: write_onnx,
    },
    Format {
        name: "safetensors",
        extensions: &["safetensors"],
        about: "weights with torchvision's names, and everything this program needs",
        write: |model, options, path| {
            let tensors = state_dict(model, options)?;
            write_tensors(path, |to| safetensors::write(&tensors, to))
        },
    },
    Format {
        name: "pth",
        extensions: &["pth", "pt"],
        about: "the same as torch.load(weights_only=True) reads it",
        write: |model, options, path| {
            let tensors = state_dict(model, options)?;
            write_tensors(path, |to| pth::write(&tensors, to))
        },
    },
];

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Weight matrices are stored as 16-bit floats of this type; norms and biases stay as they are.
    pub half: Option<Stored>,
    /// Batch norms are folded into the convolutions before them (ONNX).
    pub fold: bool,
    /// The graph takes bytes as pictures have them, `[n, h, w, c]`, and normalises them itself
    /// (ONNX).
    pub preprocessing: bool,
}

impl Options {
    /// Checks that the options mean something for a format.
    ///
    /// # Errors
    /// [`ExportError::Options`] says which does not.
    pub fn check(&self, format: &Format) -> Result<(), ExportError> {
        let is_onnx = format.name == "onnx";
        if is_onnx && self.half.is_some() {
            let problem =
                "16-bit storage is for safetensors and pth; an onnx file holds 32-bit floats";
            return Err(ExportError::Options(problem.into()));
        }
        if !is_onnx && (self.fold || self.preprocessing) {
            return Err(ExportError::Options(format!(
                "folding and preprocessing change the graph, and {} holds weights alone; use onnx",
                format.name
            )));
        }
        Ok(())
    }
}

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

impl ExportError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing. The network is the model's own, so what is wrong with it is a failure.
    pub fn is_usage(&self) -> bool {
        matches!(self, ExportError::Options(_))
    }
}

/// The format of this name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The format that a file's name says.
pub fn format_of(path: &Path) -> Option<&'static Format> {
    let extension = path.extension()?.to_str()?;
    FORMATS.iter().find(|format| format.extensions.contains(&extension))
}

/// Writes a model as `format`; the old file stays until the new one is whole.
///
/// # Errors
/// [`ExportError`]; the model's parts do not fit each other, or the file cannot be written.
pub fn export(
    model: &Model,
    format: &Format,
    options: &Options,
    path: &Path,
) -> Result<(), ExportError> {
    options.check(format)?;
    (format.write)(model, options, path)
}

fn write_onnx(model: &Model, options: &Options, path: &Path) -> Result<(), ExportError> {
    let proto = onnx::from_model(model, options)?;
    write_tensors(path, |to| resnet_formats::onnx::write(&proto, to))
}

fn write_tensors(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> Result<(), FormatError>,
) -> Result<(), ExportError> {
    let mut refused = None;
    let written = files::write_atomic(path, |to| {
        write(to).map_err(|error| match error {
            FormatError::Io(error) => error,
            other => {
                let text = other.to_string();
                refused = Some(other);
                io::Error::other(text)
            }
        })
    });
    match (refused, written) {
        (Some(error), _) => Err(ExportError::Format { path: path.into(), error }),
        (None, written) => Ok(written?),
    }
}

/// The network's tensors alone, with the counters that PyTorch expects beside batch norms, and all
/// metadata.
fn state_dict(model: &Model, options: &Options) -> Result<Tensors, ExportError> {
    let graph = model.graph()?;
    let shapes = op::shapes(&graph)?;
    let mut tensors = Tensors { metadata: model.metadata(), ..Tensors::default() };
    tensors.metadata.remove("progress");
    if let Some(mean) = model.preprocess.pixel_mean() {
        let json = serde_json::to_string(mean).expect("numbers always become JSON");
        tensors.metadata.insert(PIXEL_MEAN.into(), json);
    }
    for (_, name, param) in op::all_params(&graph, &shapes) {
        let Some(array) = model.tensors.get(&name) else {
            return Err(model.lacks(&name).into());
        };
        let stored = match options.half {
            Some(stored) if param.role.is_weight() => narrow(&name, array, stored)?,
            _ => array.clone(),
        };
        tensors.insert(name, stored);
    }
    for layer in &graph.layers {
        if let Op::BatchNorm { .. } = layer.op {
            let zero = Array::new(Vec::new(), Data::I64(vec![0])).expect("one number");
            tensors.insert(format!("{}.num_batches_tracked", layer.name), zero);
        }
    }
    Ok(tensors)
}

/// The array in 16 bits.
fn narrow(name: &str, array: &Array, stored: Stored) -> Result<Array, ExportError> {
    let narrow = array.to_float(stored);
    let finite = |array: &Array| {
        let values = array.to_f32();
        values.is_some_and(|values| values.iter().all(|x| x.is_finite()))
    };
    narrow.filter(finite).ok_or_else(|| ExportError::Half {
        tensor: name.to_owned(),
        stored,
        better: if stored == Stored::F16 { "bf16" } else { "f32" },
    })
}

#[cfg(test)]
mod tests;
