//! y = a + b, where b may have fewer channels: it is then zero in the missing ones, (c_a - c_b) / 2
//! of them before its own. This is the addition of a residual block (He et al. 2015, eq. 1), with
//! option A of section 3.3 for the narrower shortcut.
//!
//! da = dy and db = dy in b's channels: the shortcut hands the gradient on unchanged, whatever the
//! branch does to it.

use crate::graph::{LayerId, Shape};
use crate::step::{AddGrad, Differentiate, Lower, Residual, SlotId, Step, StepKind};

pub(super) fn output_shape(a: Shape, b: Shape) -> Result<Shape, String> {
    if (a.h, a.w) != (b.h, b.w) || b.c > a.c {
        return Err(format!(
            "a shortcut of {b} cannot be added to a branch of {a}; it needs the same height and width and no more channels"
        ));
    }
    Ok(a)
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId) -> SlotId {
    let (mut a, shape) = lower.operand(id, 0);
    let (mut b, narrow) = lower.operand(id, 1);
    if lower.precision_of(a) != lower.precision_of(b) {
        (a, b) = (lower.widened(id, a), lower.widened(id, b));
    }
    let residual = Residual { channels: narrow.c, offset: (shape.c - narrow.c) / 2 };
    lower.step(id, StepKind::Add { channels: shape.c, residual, relu: false }, vec![a, b])
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::Add { channels, residual, relu } = step.kind else { unreachable!() };
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    // Without a mask the branch's gradient is dy itself, and needs no copy where the branch has no
    // other reader.
    let shared = !relu && diff.share(step.reads[0], dy);
    let da = if shared { None } else { diff.sink(step.reads[0]) };
    let db = diff.sink(step.reads[1]);
    if da.is_none() && db.is_none() {
        return;
    }
    let mut reads = vec![dy];
    if relu {
        reads.push(step.writes[0]);
    }
    let writes = da.iter().chain(db.iter()).map(|&(slot, _)| slot).collect();
    let grad = AddGrad { channels, residual, relu, a: da.map(|d| d.1), b: db.map(|d| d.1) };
    diff.step(step.layer, StepKind::AddBackward(grad), reads, writes);
}
