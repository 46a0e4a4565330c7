//! y = maximum over a window; padding never wins. The gradient goes to the first maximum in row
//! order, as in PyTorch.

use super::conv2d::slide;
use crate::graph::{LayerId, Shape};
use crate::step::{Differentiate, Lower, Pool, SlotId, Step, StepKind};

pub(super) fn output_shape(
    kernel: usize,
    stride: usize,
    padding: usize,
    x: Shape,
) -> Result<Shape, String> {
    if 2 * padding > kernel {
        return Err(format!("padding {padding} is more than half of the window of {kernel}"));
    }
    Ok(Shape::new(x.c, slide(x.h, kernel, stride, padding)?, slide(x.w, kernel, stride, padding)?))
}

pub(super) fn forward(
    lower: &mut Lower<'_>,
    id: LayerId,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> SlotId {
    let (x, shape) = lower.operand(id, 0);
    let pool = Pool { n: lower.batch, h: shape.h, w: shape.w, c: shape.c, kernel, stride, padding };
    lower.step(id, StepKind::MaxPool(pool), vec![x])
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::MaxPool(pool) = step.kind else { unreachable!() };
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    if let Some((dx, accumulate)) = diff.sink(step.reads[0]) {
        diff.step(
            step.layer,
            StepKind::MaxPoolBackward { pool, accumulate },
            vec![step.reads[0], dy],
            vec![dx],
        );
    }
}
