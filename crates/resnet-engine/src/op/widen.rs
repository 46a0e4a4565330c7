//! y = x in f32, before layers that are f32 always and where maps of two precisions meet; no layer
//! of a graph, but a step of a plan.
//!
//! dx = dy, rounded to x's precision.

use crate::step::{Differentiate, Step, StepKind};

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    if let Some((dx, accumulate)) = diff.sink(step.reads[0]) {
        let kind = StepKind::WidenBackward { accumulate };
        diff.step(step.layer, kind, vec![dy], vec![dx]);
    }
}
