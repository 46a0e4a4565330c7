//! Batch normalisation (Ioffe & Szegedy 2015, algorithm 1), over the m = N*H*W numbers of each channel.
//!
//! ```text
//! mean = sum x / m     rstd = 1 / sqrt(sum (x - mean)^2 / m + eps)     xhat = (x - mean) rstd
//! y = gamma xhat + beta
//! dbeta = sum dy       dgamma = sum dy xhat
//! dx = gamma rstd (dy - dbeta / m - xhat dgamma / m)
//! ```
//! The last line is the derivative through mean and rstd as well: both depend on x, and their terms are the projections of
//! dy on the constant and on xhat. The running variance keeps m - 1 where the normaliser has m; PyTorch does the same.
//! A following ReLU, and an addition between the two, are fused into this step: then dy above is dy (y > 0), and that
//! same masked gradient is the gradient of the added map.

use super::{Param, Role};
use crate::graph::{LayerId, Shape};
use crate::step::{Differentiate, Lower, Norm, NormGrad, SlotId, Step, StepKind};

pub(super) fn params(zero: bool, x: Shape) -> Vec<Param> {
    let param = |suffix, role| Param {
        suffix,
        dims: vec![x.c],
        role,
    };
    vec![
        param("weight", Role::Gamma { zero }),
        param("bias", Role::Beta),
        param("running_mean", Role::RunningMean),
        param("running_var", Role::RunningVar),
    ]
}

pub(super) fn forward(lower: &mut Lower<'_>, id: LayerId, eps: f32, momentum: f32) -> SlotId {
    let (x, shape) = lower.operand(id, 0);
    let norm = Norm {
        channels: shape.c,
        eps,
        momentum,
        residual: None,
        relu: false,
        train: lower.train,
    };
    let reads = vec![x, lower.param(id, "weight"), lower.param(id, "bias")];
    let running = [
        lower.param(id, "running_mean"),
        lower.param(id, "running_var"),
    ];
    if !lower.train {
        let reads = [&reads[..], &running].concat();
        return lower.step(id, StepKind::Norm(norm), reads);
    }
    let y = lower.step(id, StepKind::Norm(norm), reads);
    let saved = [
        lower.saved(id, "mean", shape.c),
        lower.saved(id, "rstd", shape.c),
    ];
    lower.also_writes(&[saved, running].concat());
    y
}

pub(super) fn backward(diff: &mut Differentiate<'_>, step: &Step) {
    let StepKind::Norm(norm) = step.kind else {
        unreachable!()
    };
    let Some(dy) = diff.gradient_of(step.writes[0]) else {
        return;
    };
    let (x, gamma, beta) = (step.reads[0], step.reads[1], step.reads[2]);
    let (y, mean, rstd) = (step.writes[0], step.writes[1], step.writes[2]);
    let residual = step.reads.get(3).and_then(|&r| diff.sink(r));
    let dx = diff.sink(x);
    let mut reads = vec![dy, x, gamma, mean, rstd];
    if norm.relu {
        reads.push(y);
    }
    let (dx, accumulate) = dx.unwrap_or_else(|| (diff.discard(x), false));
    let mut writes = vec![dx, diff.param_gradient(gamma), diff.param_gradient(beta)];
    writes.extend(residual.map(|(slot, _)| slot));
    let grad = NormGrad {
        norm,
        accumulate,
        residual: residual.map(|(_, accumulate)| accumulate),
    };
    diff.step(step.layer, StepKind::NormBackward(grad), reads, writes);
}
