//! Softmax cross-entropy with label smoothing s (Szegedy et al. 2016, section 7), over K classes:
//!
//! ```text
//! p = softmax(logits)     t = (1 - s) onehot(label) + s / K
//! loss = - sum t log p, averaged over the batch     dlogits = (p - t) / N
//! ```
//! Loss and gradient share the softmax, so one step computes both.

use crate::step::{Differentiate, SlotId, StepKind};

/// Appends the loss step: reads the logits (and, beside the slots, the labels), writes one loss an
/// image and the gradient of the logits.
pub fn forward(
    diff: &mut Differentiate<'_>,
    logits: SlotId,
    classes: usize,
    smoothing: f32,
    losses: SlotId,
) {
    let layer = diff.graph.output();
    let (dlogits, _) = diff.sink(logits).expect("the logits depend on the input");
    diff.step(
        layer,
        StepKind::SoftmaxCrossEntropy { n: diff.batch, classes, smoothing },
        vec![logits],
        vec![losses, dlogits],
    );
}
