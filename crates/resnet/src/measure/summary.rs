//! What a network consists of: shapes, parameters and cost, layer by layer.

use serde::Serialize;

use crate::net::{Arch, ArchError};
use resnet_engine::graph::{Graph, Op, Shape, Window};
use resnet_engine::op::{self, ShapeError};

/// A network's layers and totals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The network, options included.
    pub arch: String,
    /// Shape of one image, `CxHxW`.
    pub input: String,
    /// Number of classes.
    pub classes: usize,
    /// Layers that count for the depth in a network's name: convolutions on the main path and the
    /// classifier.
    pub depth: usize,
    /// Trained numbers.
    pub params: u64,
    /// Multiply-adds of one image's forward pass, in convolutions and linear layers.
    pub macs: u64,
    /// Floating-point operations: two a multiply-add.
    pub flops: u64,
    /// The layers, in order.
    pub layers: Vec<LayerSummary>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSummary {
    /// torchvision's name.
    pub name: String,
    /// What it computes, such as `conv 3x3/2`.
    pub op: String,
    /// Shape of its output for one image, `CxHxW`.
    pub output: String,
    /// Trained numbers.
    pub params: u64,
    /// Multiply-adds for one image.
    pub macs: u64,
}

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// The network does not exist or cannot read the input.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A layer cannot read its inputs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

impl SummaryError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing: always, for nothing is read or run.
    pub fn is_usage(&self) -> bool {
        true
    }
}

/// Summarises a network for inputs of a shape.
///
/// # Errors
/// The network cannot read such inputs.
pub fn summary(arch: &Arch, input: Shape, classes: usize) -> Result<Summary, SummaryError> {
    let graph: Graph = arch.graph(input, classes)?;
    let shapes = op::shapes(&graph)?;
    let layers: Vec<LayerSummary> = graph
        .layers
        .iter()
        .enumerate()
        .filter_map(|(i, layer)| {
            let x = shapes[layer.inputs.first()?.0];
            let trained = op::params(&layer.op, x).into_iter().filter(|p| p.role.is_trained());
            Some(LayerSummary {
                name: layer.name.clone(),
                op: op_name(&layer.op),
                output: shapes[i].to_string(),
                params: trained.map(|p| p.len() as u64).sum(),
                macs: op::macs(&layer.op, x, shapes[i]),
            })
        })
        .collect();
    let macs = layers.iter().map(|l| l.macs).sum();
    Ok(Summary {
        arch: arch.name(),
        input: input.to_string(),
        classes,
        depth: arch.depth(),
        params: layers.iter().map(|l| l.params).sum(),
        macs,
        flops: 2 * macs,
        layers,
    })
}

fn op_name(op: &Op) -> String {
    match *op {
        Op::Input => "input".into(),
        Op::Conv2d { kernel, stride, groups, .. } => {
            let mut name = format!("conv {kernel}x{kernel}");
            if stride > 1 {
                name += &format!("/{stride}");
            }
            if groups > 1 {
                name += &format!(" in {groups} groups");
            }
            name
        }
        Op::BatchNorm { .. } => "batch norm".into(),
        Op::Relu => "relu".into(),
        Op::Add => "add".into(),
        Op::MaxPool2d { kernel, stride, .. } => format!("max pool {kernel}x{kernel}/{stride}"),
        Op::AvgPool2d(Window::Global) => "average over the map".into(),
        Op::AvgPool2d(Window::Square { kernel: 1, stride }) => format!("subsample 1x1/{stride}"),
        Op::AvgPool2d(Window::Square { kernel, stride }) => {
            format!("average {kernel}x{kernel}/{stride}")
        }
        Op::Linear { .. } => "linear".into(),
    }
}
