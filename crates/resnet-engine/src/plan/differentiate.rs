//! Appends the loss, the backward steps in reverse order, and the update.

use std::collections::{HashMap, HashSet};

use super::ParamSlots;
use crate::graph::Graph;
use crate::op;
use crate::step::{Differentiate, Precision, Slot, SlotId, Space, Step, StepKind};

/// Where the backward pass begins and ends.
pub(super) struct End {
    pub(super) logits: SlotId,
    pub(super) classes: usize,
    /// Label smoothing of the loss; without a loss, the logits' gradient comes from outside.
    pub(super) loss: Option<f32>,
    /// A slot whose gradient is wanted, beside those of trained parameters.
    pub(super) start: Option<SlotId>,
}

/// The slots whose gradient is wanted: those of trained parameters, `start`, and all that is
/// computed from them.
pub(super) fn live(
    params: &[ParamSlots],
    start: Option<SlotId>,
    steps: &[Step],
) -> HashSet<SlotId> {
    let trained = params.iter().filter(|p| p.training.is_some());
    let mut live: HashSet<SlotId> = trained.map(|p| p.value).chain(start).collect();
    for step in steps {
        if step.reads.iter().any(|slot| live.contains(slot)) {
            live.extend(&step.writes);
        }
    }
    live
}

/// Appends loss and backward steps; returns the slot of the losses, and the gradient of each slot
/// that has one.
pub(super) fn differentiate(
    graph: &Graph,
    batch: usize,
    params: &[ParamSlots],
    slots: &mut Vec<Slot>,
    steps: &mut Vec<Step>,
    end: End,
) -> (Option<SlotId>, HashMap<SlotId, SlotId>) {
    let mut readers: HashMap<SlotId, usize> = HashMap::new();
    for slot in steps.iter().flat_map(|step| &step.reads) {
        *readers.entry(*slot).or_default() += 1;
    }
    let gradients: HashMap<SlotId, SlotId> =
        params.iter().filter_map(|p| p.training.map(|t| (p.value, t.grad))).collect();
    let live = live(params, end.start, steps);
    let losses = end.loss.map(|smoothing| {
        let name = "losses".to_owned();
        slots.push(Slot::new(name, Space::Activation, batch, Precision::F32));
        (SlotId(slots.len() - 1), smoothing)
    });
    let forward = std::mem::take(steps);
    let mut diff = Differentiate {
        graph,
        batch,
        slots: std::mem::take(slots),
        steps: forward.clone(),
        gradients,
        readers,
        live,
    };
    match losses {
        Some((losses, smoothing)) => {
            op::loss(&mut diff, end.logits, end.classes, smoothing, losses);
        }
        None => {
            diff.sink(end.logits);
        }
    }
    for step in forward.iter().rev() {
        op::backward(&mut diff, step);
    }
    *slots = diff.slots;
    *steps = diff.steps;
    (losses.map(|(slot, _)| slot), diff.gradients)
}

/// Appends the optimiser's steps: for each stage one for the weight matrices and one for norms and
/// biases; `below` says which stage a layer is of. The slots span all of them.
pub(super) fn append_update(
    params: &[ParamSlots],
    below: &[usize],
    slots: &mut Vec<Slot>,
    steps: &mut Vec<Step>,
) {
    for weights in [true, false] {
        let trained = |p: &&ParamSlots| p.training.is_some() && p.param.role.is_weight() == weights;
        let trained: Vec<&ParamSlots> = params.iter().filter(trained).collect();
        for stage in trained.chunk_by(|a, b| below[a.layer.0] == below[b.layer.0]) {
            let (layer, len) = (stage[0].layer, stage.iter().map(|p| p.param.len()).sum());
            let what = if weights { "weights" } else { "norms and biases" };
            let mut span = |prefix: &str, space| {
                let name = format!("{prefix}{what}");
                slots.push(Slot::new(name, space, len, Precision::F32));
                SlotId(slots.len() - 1)
            };
            let (w, dw, v) =
                (span("", Space::Param), span("d ", Space::Grad), span("v ", Space::Momentum));
            let below = below[layer.0];
            steps.push(Step {
                layer,
                fused: Vec::new(),
                kind: StepKind::Sgd { weights, below },
                reads: vec![dw],
                writes: vec![w, v],
            });
        }
    }
}
