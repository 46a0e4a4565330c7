//! Softmax cross-entropy against targets t, with label smoothing s (Szegedy et al. 2016, section
//! 7), over K classes, image i counting w[i] of the total W:
//!
//! ```text
//! p = softmax(logits)     t' = (1 - s) t + s / K
//! loss = sum over i of w[i] l[i] / W     l = - sum t' log p     dlogits[i] = w[i] (p - t') / W
//! ```
//! With t the one-hot label, w its class's weight and W the sum of w, this is PyTorch's weighted
//! mean; t and w are slots that are written from outside, so a mixed pair needs no step of its own.
//! Loss and gradient share the softmax, so one step computes both, and writes w[i] l[i].

use crate::step::{Differentiate, LossSlots, SlotId, StepKind};

/// Appends the loss step.
pub(crate) fn forward(
    diff: &mut Differentiate<'_>,
    logits: SlotId,
    classes: usize,
    smoothing: f32,
    loss: LossSlots,
) {
    let layer = diff.graph.output();
    let (dlogits, _) = diff.sink(logits).expect("the logits depend on the input");
    diff.step(
        layer,
        StepKind::SoftmaxCrossEntropy { n: diff.batch, classes, smoothing },
        vec![logits, loss.target, loss.weight, loss.total],
        vec![loss.losses, dlogits],
    );
}
