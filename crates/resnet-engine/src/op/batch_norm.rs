//! Batch normalisation (Ioffe & Szegedy 2015, algorithm 1), over the m = N*H*W numbers of each
//! channel.
//!
//! ```text
//! mean = sum x / m     rstd = 1 / sqrt(sum (x - mean)^2 / m + eps)     xhat = (x - mean) rstd
//! y = gamma xhat + beta
//! dbeta = sum dy       dgamma = sum dy xhat
//! dx = gamma rstd (dy - dbeta / m - xhat dgamma / m)
//! ```
//! The last line is the derivative through mean and rstd as well: both depend on x, and their terms
//! are the projections of dy on the constant and on xhat. The running variance keeps m - 1 where
//! the normaliser has m; PyTorch does the same. A following ReLU, and an addition between the two,
//! are fused into this step: then dy above is dy (y > 0), and that same masked gradient is the
//! gradient of the added map.
//!
//! With fixed statistics (inference, and layers that are not trained) mean and rstd are constants,
//! the running ones, and dx = gamma rstd dy.

use super::{Param, Role};
use crate::graph::{LayerId, Shape};
use crate::step::{
    AddGrad, Differentiate, Lower, Norm, NormGrad, Residual, SlotId, Step, StepKind,
};

pub(super) fn params(zero: bool, x: Shape) -> Vec<Param> {
    let param = |suffix, role| Param { suffix, dims: vec![x.c], role };
    vec![
        param("weight", Role::Gamma { zero }),
        param("bias", Role::Beta),
        param("running_mean", Role::RunningMean),
        param("running_var", Role::RunningVar),
    ]
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId, eps: f32, momentum: f32) -> SlotId {
    let (x, shape) = lower.operand(id, 0);
    let train = lower.trains_norm(id);
    let norm = Norm { channels: shape.c, eps, momentum, residual: None, relu: false, train };
    let reads = vec![x, lower.param(id, "weight"), lower.param(id, "bias")];
    let running = [lower.param(id, "running_mean"), lower.param(id, "running_var")];
    if !train {
        let reads = [&reads[..], &running].concat();
        return lower.step(id, StepKind::Norm(norm), reads);
    }
    let y = lower.step(id, StepKind::Norm(norm), reads);
    let saved = [lower.saved(id, "mean", shape.c), lower.saved(id, "rstd", shape.c)];
    lower.also_writes(&[saved, running].concat());
    y
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::Norm(norm) = step.kind else { unreachable!() };
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    if !norm.train {
        return backward_fixed(diff, step, norm, dy);
    }
    let (x, gamma, beta) = (step.reads[0], step.reads[1], step.reads[2]);
    let (y, mean, rstd) = (step.writes[0], step.writes[1], step.writes[2]);
    let residual = step.reads.get(3).and_then(|&r| diff.sink(r));
    let dx = diff.sink(x);
    let mut reads = vec![dy, x, gamma, mean, rstd];
    if norm.relu {
        // Where nothing was added, x and beta tell where the output was positive, and x is read
        // anyway.
        reads.push(if norm.residual.is_some() { y } else { beta });
    }
    let (dx, accumulate) = dx.unwrap_or_else(|| (diff.discard(x), false));
    let mut writes = vec![dx];
    writes.extend(
        [gamma, beta].map(|p| diff.param_gradient(p).expect("a norm that trains is trained")),
    );
    writes.extend(residual.map(|(slot, _)| slot));
    let grad = NormGrad { norm, accumulate, residual: residual.map(|(_, accumulate)| accumulate) };
    diff.step(step.layer, StepKind::NormBackward(grad), reads, writes);
}

/// The same with fixed statistics: mask and residual first, as of an addition, then the scale.
fn backward_fixed(diff: &mut Differentiate<'_>, step: &Step, norm: Norm, dy: SlotId) {
    let (x, gamma, var, y) = (step.reads[0], step.reads[1], step.reads[4], step.writes[0]);
    let residual = step.reads.get(5).and_then(|&r| diff.sink(r));
    let dx = diff.sink(x);
    // The gradient behind mask and addition: dy itself where there is no mask.
    let mut dz = dy;
    if norm.relu && dx.is_some() {
        dz = diff.discard(y);
    }
    if let (Some((dr, accumulate)), Some(wide)) = (residual, norm.residual) {
        let masked = dz != dy;
        let grad = AddGrad {
            channels: norm.channels,
            residual: wide,
            relu: norm.relu,
            a: masked.then_some(false),
            b: Some(accumulate),
        };
        let reads = if norm.relu { vec![dy, y] } else { vec![dy] };
        let writes = if masked { vec![dz, dr] } else { vec![dr] };
        diff.step(step.layer, StepKind::AddBackward(grad), reads, writes);
    } else if dz != dy {
        let kind = StepKind::ReluBackward { accumulate: false };
        diff.step(step.layer, kind, vec![dy, y], vec![dz]);
    }
    let Some((dx, accumulate)) = dx else { return };
    let channels = norm.channels;
    let scale = StepKind::NormScale { channels, eps: norm.eps };
    let reads = vec![dz, gamma, var];
    if !accumulate {
        return diff.step(step.layer, scale, reads, vec![dx]);
    }
    let part = diff.discard(x);
    diff.step(step.layer, scale, reads, vec![part]);
    let sum = AddGrad {
        channels,
        residual: Residual { channels, offset: 0 },
        relu: false,
        a: Some(true),
        b: None,
    };
    diff.step(step.layer, StepKind::AddBackward(sum), vec![part], vec![dx]);
}
