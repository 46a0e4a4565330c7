//! Convolution (cross-correlation).
//!
//! ```text
//! y[n,i,j,o] = b[o] + sum over r,s,c of x[n, i*stride + r - padding, j*stride + s - padding, c] w[r,s,c,o]
//! dx[n,h,v,c] = sum over i,j,o with i*stride + r - padding = h, j*stride + s - padding = v of dy[n,i,j,o] w[r,s,c,o]
//! dw[r,s,c,o] = sum over n,i,j of x[n, i*stride + r - padding, j*stride + s - padding, c] dy[n,i,j,o]
//! db[o] = sum over n,i,j of dy[n,i,j,o]
//! ```
//! With groups, output channel o reads only the input channels of its own group.

use super::{Param, Role};
use crate::graph::{LayerId, Op, Shape};
use crate::step::{Conv, Differentiate, Lower, SlotId, Step, StepKind};

/// Output side of a window that slides over `size` pixels, or why it cannot.
pub(super) fn slide(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 {
        return Err(format!("kernel {kernel} and stride {stride} must be at least 1"));
    }
    match (size + 2 * padding).checked_sub(kernel) {
        Some(room) => Ok(room / stride + 1),
        None => Err(format!(
            "a {kernel}x{kernel} window does not fit into a map of {size} pixels with padding {padding}; the images are too small for this network"
        )),
    }
}

pub(super) fn output_shape(op: &Op, x: Shape) -> Result<Shape, String> {
    let Op::Conv2d { c_out, kernel, stride, padding, groups, .. } = *op else { unreachable!() };
    if groups == 0 || !x.c.is_multiple_of(groups) || !c_out.is_multiple_of(groups) {
        return Err(format!(
            "{} input and {c_out} output channels do not divide into {groups} groups",
            x.c
        ));
    }
    Ok(Shape::new(
        c_out,
        slide(x.h, kernel, stride, padding)?,
        slide(x.w, kernel, stride, padding)?,
    ))
}

pub(super) fn params(op: &Op, x: Shape) -> Vec<Param> {
    let Op::Conv2d { c_out, kernel, groups, bias, .. } = *op else { unreachable!() };
    let mut params = vec![Param {
        suffix: "weight",
        dims: vec![c_out, x.c / groups, kernel, kernel],
        role: Role::ConvWeight,
    }];
    if bias {
        params.push(Param { suffix: "bias", dims: vec![c_out], role: Role::Bias });
    }
    params
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId) -> SlotId {
    let Op::Conv2d { c_out, kernel, stride, padding, groups, bias } = lower.graph.layer(id).op
    else {
        unreachable!()
    };
    let (x, shape) = lower.operand(id, 0);
    let conv = Conv {
        n: lower.batch,
        h: shape.h,
        w: shape.w,
        c_in: shape.c,
        c_out,
        kernel,
        stride,
        padding,
        groups,
    };
    let mut reads = vec![x, lower.param(id, "weight")];
    if bias {
        reads.push(lower.param(id, "bias"));
    }
    lower.step(id, StepKind::Conv { conv, bias }, reads)
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::Conv { conv, bias } = step.kind else { unreachable!() };
    let (x, w) = (step.reads[0], step.reads[1]);
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    if let Some(dw) = diff.param_gradient(w) {
        let mut writes = vec![dw];
        if bias {
            writes.extend(diff.param_gradient(step.reads[2]));
        }
        diff.step(step.layer, StepKind::ConvBackwardWeight { conv, bias }, vec![x, dy], writes);
    }
    if let Some((dx, accumulate)) = diff.sink(x) {
        diff.step(
            step.layer,
            StepKind::ConvBackwardInput { conv, accumulate },
            vec![dy, w],
            vec![dx],
        );
    }
}
