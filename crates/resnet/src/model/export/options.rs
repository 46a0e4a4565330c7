//! Kinds of files, and how they are written.

use std::path::Path;

use super::error::ExportError;
use crate::model::Model;

pub use resnet_formats::DataType as Stored;

/// A kind of file.
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// What its files' names end with.
    pub extensions: &'static [&'static str],
    /// What it is, in a few words.
    pub about: &'static str,
    pub(super) write: fn(&Model, &Options, &Path) -> Result<(), ExportError>,
}

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
    /// Version of ONNX's operations; the oldest that the graph needs where it is not said (ONNX).
    pub opset: Option<u32>,
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
        if !is_onnx && self.opset.is_some() {
            return Err(ExportError::Options(format!(
                "an opset is the version of a graph's operations, and {} holds weights alone",
                format.name
            )));
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
