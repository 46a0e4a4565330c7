//! y = max(x, 0);  dx = dy where y > 0, else 0. The derivative at 0 is taken as 0, as in PyTorch.

use crate::graph::LayerId;
use crate::step::{Differentiate, Lower, SlotId, Step, StepKind};

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId) -> SlotId {
    let (x, _) = lower.operand(id, 0);
    lower.step(id, StepKind::Relu, vec![x])
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    if let Some((dx, accumulate)) = diff.sink(step.reads[0]) {
        diff.step(
            step.layer,
            StepKind::ReluBackward { accumulate },
            vec![dy, step.writes[0]],
            vec![dx],
        );
    }
}
