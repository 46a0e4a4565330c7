//! The operations: shape, parameters, cost, forward steps, backward steps.
//!
//! One file an operation: `output_shape` and `params`, where they are not trivial, describe it;
//! `forward` appends its steps to a plan; `backward` appends the steps that turn the gradient of
//! its output into the gradients of its inputs and parameters, with the derivation in the head.

mod add;
mod avg_pool2d;
mod batch_norm;
mod conv2d;
mod linear;
mod max_pool2d;
mod param;
mod relu;
mod softmax_cross_entropy;
mod widen;

use crate::graph::{Graph, LayerId, Op, Shape};
use crate::step::{Differentiate, Lower, SlotId, Step, StepKind};

pub use param::{Param, Role};
pub(crate) use softmax_cross_entropy::forward as loss;

/// Why a layer cannot read its inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer `{layer}`: {reason}")]
pub struct ShapeError {
    /// The layer's name.
    pub layer: String,
    /// What does not fit, and what would.
    pub reason: String,
}

/// Most numbers in a map of one image, with the zero rim that a convolution reads, or in a weight:
/// kernels count them in 32 bits.
const MOST_NUMBERS: usize = u32::MAX as usize;

/// Shape of the output of `op` over inputs of these shapes.
///
/// # Errors
/// A sentence that says what does not fit.
pub(crate) fn output_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, String> {
    let y = unlimited_shape(op, inputs)?;
    let x = inputs.first().copied().unwrap_or(y);
    let rim = if let Op::Conv2d { padding, .. } = op { 2 * padding } else { 0 };
    let fits = |dims: &[usize]| {
        dims.iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n))
            .is_some_and(|product| product <= MOST_NUMBERS)
    };
    let map_fits = fits(&[x.c, x.h + rim, x.w + rim]) && fits(&[y.c, y.h, y.w]);
    if map_fits && params(op, x).iter().all(|param| fits(&param.dims)) {
        return Ok(y);
    }
    Err(format!("a map or weight would hold more than {MOST_NUMBERS} numbers; use smaller images"))
}

fn unlimited_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, String> {
    match (op, inputs) {
        (Op::Conv2d { .. }, [x]) => conv2d::output_shape(op, *x),
        (Op::BatchNorm { .. } | Op::Relu, [x]) => Ok(*x),
        (Op::Add, [a, b]) => add::output_shape(*a, *b),
        (Op::MaxPool2d { kernel, stride, padding }, [x]) => {
            max_pool2d::output_shape(*kernel, *stride, *padding, *x)
        }
        (Op::AvgPool2d(window), [x]) => avg_pool2d::output_shape(*window, *x),
        (Op::Linear { out }, [_]) => Ok(Shape::new(*out, 1, 1)),
        _ => Err(format!("{} inputs given to {op:?}", inputs.len())),
    }
}

/// Parameters of `op` over an input of shape `x`, in the order of torchvision's files.
pub fn params(op: &Op, x: Shape) -> Vec<Param> {
    match op {
        Op::Conv2d { .. } => conv2d::params(op, x),
        Op::BatchNorm { zero_init, .. } => batch_norm::params(*zero_init, x),
        Op::Linear { out } => linear::params(*out, x),
        Op::Input | Op::Relu | Op::Add | Op::MaxPool2d { .. } | Op::AvgPool2d(_) => Vec::new(),
    }
}

/// Multiply-adds of `op` for one image; one is two floating-point operations. Convolutions and
/// linear layers count, as everywhere in the field.
pub fn macs(op: &Op, x: Shape, y: Shape) -> u64 {
    match op {
        Op::Conv2d { kernel, groups, .. } => (y.len() * x.c / groups * kernel * kernel) as u64,
        Op::Linear { out } => (x.len() * out) as u64,
        _ => 0,
    }
}

/// Shape of every layer's output.
///
/// # Errors
/// The first layer that cannot read its inputs; an addition cannot read one map twice.
pub fn shapes(graph: &Graph) -> Result<Vec<Shape>, ShapeError> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.layers.len());
    for layer in &graph.layers {
        let shape = if layer.op == Op::Input {
            Ok(graph.input)
        } else {
            let inputs: Vec<Shape> = layer.inputs.iter().map(|id| shapes[id.0]).collect();
            match layer.inputs[..] {
                // A step borrows each of its slots once.
                [a, b] if a == b => Err("its two inputs are one map, expected two maps".into()),
                _ => output_shape(&layer.op, &inputs),
            }
        };
        let shape = shape.and_then(|s| {
            if s.is_empty() { Err(format!("its output would be {s}")) } else { Ok(s) }
        });
        shapes.push(shape.map_err(|reason| ShapeError { layer: layer.name.clone(), reason })?);
    }
    Ok(shapes)
}

/// Every parameter of a graph with its full name, in layer order; `shapes` is [`shapes`] of the
/// graph.
pub fn all_params(graph: &Graph, shapes: &[Shape]) -> Vec<(LayerId, String, Param)> {
    let mut all = Vec::new();
    for (index, layer) in graph.layers.iter().enumerate() {
        let Some(input) = layer.inputs.first() else {
            continue;
        };
        for param in params(&layer.op, shapes[input.0]) {
            all.push((LayerId(index), format!("{}.{}", layer.name, param.suffix), param));
        }
    }
    all
}

/// Appends the forward steps of a layer and returns the slot of its output.
pub(crate) fn forward(lower: &mut Lower<'_>, id: LayerId) -> SlotId {
    match lower.graph.layer(id).op {
        Op::Input => lower.input(id),
        Op::Conv2d { .. } => conv2d::forward(lower, id),
        Op::BatchNorm { eps, momentum, .. } => batch_norm::forward(lower, id, eps, momentum),
        Op::Relu => relu::forward(lower, id),
        Op::Add => add::forward(lower, id),
        Op::MaxPool2d { kernel, stride, padding } => {
            max_pool2d::forward(lower, id, kernel, stride, padding)
        }
        Op::AvgPool2d(window) => avg_pool2d::forward(lower, id, window),
        Op::Linear { out } => linear::forward(lower, id, out),
    }
}

/// Appends the backward steps of one forward step.
pub(crate) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    match step.kind {
        StepKind::Conv { .. } => conv2d::backward(diff, step),
        // Made only where nothing is differentiated.
        StepKind::ConvNorm { .. } => {}
        StepKind::Norm { .. } => batch_norm::backward(diff, step),
        StepKind::Relu => relu::backward(diff, step),
        StepKind::Add { .. } => add::backward(diff, step),
        StepKind::MaxPool(_) => max_pool2d::backward(diff, step),
        StepKind::AvgPool(_) | StepKind::GlobalAvgPool { .. } => avg_pool2d::backward(diff, step),
        StepKind::Linear { .. } => linear::backward(diff, step),
        StepKind::Widen => widen::backward(diff, step),
        _ => unreachable!("{:?} is not a forward step", step.kind),
    }
}
