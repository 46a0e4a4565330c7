//! Appends the loss, the backward steps in reverse order, and the update.

use std::collections::HashMap;

use super::ParamSlots;
use crate::graph::Graph;
use crate::op;
use crate::step::{Differentiate, Slot, SlotId, Space, Step, StepKind};

/// Where the loss hangs.
pub(super) struct Loss {
    pub(super) input: SlotId,
    pub(super) logits: SlotId,
    pub(super) classes: usize,
    pub(super) label_smoothing: f32,
}

/// Appends loss and backward steps; returns the slot of the losses, and the gradient of each slot that has one.
pub(super) fn differentiate(
    graph: &Graph,
    batch: usize,
    params: &[ParamSlots],
    slots: &mut Vec<Slot>,
    steps: &mut Vec<Step>,
    loss: Loss,
) -> (SlotId, HashMap<SlotId, SlotId>) {
    let mut readers: HashMap<SlotId, usize> = HashMap::new();
    for slot in steps.iter().flat_map(|step| &step.reads) {
        *readers.entry(*slot).or_default() += 1;
    }
    let gradients = params
        .iter()
        .filter_map(|p| p.training.map(|t| (p.value, t.grad)))
        .collect();
    slots.push(Slot {
        name: "losses".into(),
        space: Space::Activation,
        len: batch,
        offset: 0,
    });
    let losses = SlotId(slots.len() - 1);
    let forward = std::mem::take(steps);
    let mut diff = Differentiate {
        graph,
        batch,
        slots: std::mem::take(slots),
        steps: forward.clone(),
        gradients,
        readers,
        input: loss.input,
    };
    op::loss(
        &mut diff,
        loss.logits,
        loss.classes,
        loss.label_smoothing,
        losses,
    );
    for step in forward.iter().rev() {
        op::backward(&mut diff, step);
    }
    *slots = diff.slots;
    *steps = diff.steps;
    (losses, diff.gradients)
}

/// Appends the optimiser's steps: one for the weight matrices, one for norms and biases. The slots span all of them.
pub(super) fn append_update(params: &[ParamSlots], slots: &mut Vec<Slot>, steps: &mut Vec<Step>) {
    for weights in [true, false] {
        let len = params
            .iter()
            .filter(|p| p.param.role.is_trained() && p.param.role.is_weight() == weights)
            .map(|p| p.param.len())
            .sum();
        if len == 0 {
            continue;
        }
        let what = if weights {
            "weights"
        } else {
            "norms and biases"
        };
        let mut span = |prefix: &str, space| {
            slots.push(Slot {
                name: format!("{prefix}{what}"),
                space,
                len,
                offset: 0,
            });
            SlotId(slots.len() - 1)
        };
        let (w, dw, v) = (
            span("", Space::Param),
            span("d ", Space::Grad),
            span("v ", Space::Momentum),
        );
        let layer = params[0].layer;
        steps.push(Step {
            layer,
            fused: Vec::new(),
            kind: StepKind::Sgd { weights },
            reads: vec![dw],
            writes: vec![w, v],
        });
    }
}
