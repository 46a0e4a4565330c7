//! y = mean over a window of k pixels;  dx = dy / k for every pixel of the window.

use super::conv2d::slide;
use crate::graph::{LayerId, Shape, Window};
use crate::step::{Differentiate, Lower, Pool, SlotId, Step, StepKind};

pub(super) fn output_shape(window: Window, x: Shape) -> Result<Shape, String> {
    match window {
        Window::Global => Ok(Shape::new(x.c, 1, 1)),
        Window::Square { kernel, stride } => {
            Ok(Shape::new(x.c, slide(x.h, kernel, stride, 0)?, slide(x.w, kernel, stride, 0)?))
        }
    }
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId, window: Window) -> SlotId {
    let (x, shape) = lower.operand(id, 0);
    let n = lower.batch;
    let kind = match window {
        Window::Global => StepKind::GlobalAvgPool { n, pixels: shape.h * shape.w, c: shape.c },
        Window::Square { kernel, stride } => StepKind::AvgPool(Pool {
            n,
            h: shape.h,
            w: shape.w,
            c: shape.c,
            kernel,
            stride,
            padding: 0,
        }),
    };
    lower.step(id, kind, vec![x])
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    let Some((dx, accumulate)) = diff.sink(step.reads[0]) else {
        return;
    };
    let kind = match step.kind {
        StepKind::GlobalAvgPool { n, pixels, c } => {
            StepKind::GlobalAvgPoolBackward { n, pixels, c, accumulate }
        }
        StepKind::AvgPool(pool) => StepKind::AvgPoolBackward { pool, accumulate },
        _ => unreachable!(),
    };
    diff.step(step.layer, kind, vec![dy], vec![dx]);
}
