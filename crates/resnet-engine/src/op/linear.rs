//! Fully connected: y = x w + b, w: `[c_in, c_out]`.
//!
//! dx = dy w^T,  dw = x^T dy,  db = the sum of dy over the batch.

use super::{Param, Role};
use crate::graph::{LayerId, Shape};
use crate::step::{Differentiate, Linear, Lower, SlotId, Step, StepKind};

pub(super) fn params(out: usize, x: Shape) -> Vec<Param> {
    vec![
        Param { suffix: "weight", dims: vec![out, x.len()], role: Role::LinearWeight { input: x } },
        Param { suffix: "bias", dims: vec![out], role: Role::Bias },
    ]
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId, out: usize) -> SlotId {
    let (x, shape) = lower.operand(id, 0);
    // Few products, and logits are wanted as they are.
    let x = lower.widened(id, x);
    let linear = Linear { n: lower.batch, c_in: shape.len(), c_out: out };
    let reads = vec![x, lower.param(id, "weight"), lower.param(id, "bias")];
    lower.step(id, StepKind::Linear(linear), reads)
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::Linear(linear) = step.kind else { unreachable!() };
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    let (x, w, b) = (step.reads[0], step.reads[1], step.reads[2]);
    if let (Some(dw), Some(db)) = (diff.param_gradient(w), diff.param_gradient(b)) {
        diff.step(step.layer, StepKind::LinearBackwardWeight(linear), vec![x, dy], vec![dw, db]);
    }
    if let Some((dx, accumulate)) = diff.sink(x) {
        diff.step(
            step.layer,
            StepKind::LinearBackwardInput { linear, accumulate },
            vec![dy, w],
            vec![dx],
        );
    }
}
