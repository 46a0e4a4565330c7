//! Models for other tools: files of weights, and ONNX graphs, with everything that the model file
//! says.
//!
//! A format is a row of [`FORMATS`]. A written file can be read back and its network run by this
//! program's own engine on real pictures, beside the model it came from ([`verify`]).

mod error;
pub mod onnx;
mod options;
mod verify;

use std::io;
use std::path::Path;

use resnet_formats::{Array, Data, FormatError, Tensors, pth, safetensors};

use crate::base::files;
use crate::model::{CHECKED, Model, PIXEL_MEAN, PROGRESS};
use crate::net::Arch;
use resnet_engine::graph::{Graph, Op};
use resnet_engine::op::{self};

pub use error::{Difference, ExportError};
pub use options::{Format, Options, Stored};
pub use verify::verify;

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
            let mut tensors = state_dict(model, options)?;
            tensors.metadata.insert("format".into(), CHECKED.into());
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
    model.check_head()?;
    (format.write)(model, options, path)
}

/// Networks of torchvision's with bottlenecks, whose names are ours too.
const TORCHVISION: [&str; 7] = [
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
];
/// Metadata key of what whoever loads the weights elsewhere has to know.
const NOTE: &str = "note";

/// What whoever loads a file of weights elsewhere has to know: a network of torchvision's has the
/// same tensors and computes something else.
pub fn warning(model: &Model, format: &Format) -> Option<String> {
    if format.name == "onnx" {
        return None;
    }
    let ours = model.graph().ok()?;
    let params = |graph: &Graph| -> Option<Vec<(String, Vec<usize>)>> {
        let params = op::all_params(graph, &op::shapes(graph).ok()?).into_iter();
        Some(params.map(|(_, name, param)| (name, param.dims)).collect())
    };
    let found = params(&ours)?;
    let twin = TORCHVISION.into_iter().find(|name| {
        let theirs = Arch::parse(name).and_then(|arch| arch.graph(ours.input, model.classes.len()));
        theirs.is_ok_and(|theirs| theirs != ours && params(&theirs).as_ref() == Some(&found))
    })?;
    Some(format!(
        "torchvision's {twin} takes the weights of {} with strict=True and answers differently: its \
         bottlenecks have their strides in the 3x3 convolution (v1.5), not in the first 1x1 (v1); an \
         onnx file holds the whole network",
        model.arch.name()
    ))
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
    model.check_weights()?;
    let graph = model.graph()?;
    let shapes = op::shapes(&graph)?;
    let mut tensors = Tensors { metadata: model.metadata(), ..Tensors::default() };
    tensors.metadata.remove(PROGRESS);
    if let Some(note) = FORMATS.last().and_then(|weights| warning(model, weights)) {
        tensors.metadata.insert(NOTE.into(), note);
    }
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
