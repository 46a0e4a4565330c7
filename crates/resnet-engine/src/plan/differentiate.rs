//! Appends the loss and the backward steps in reverse order.

use std::collections::{HashMap, HashSet};

use super::program::ParamSlots;
use crate::graph::Graph;
use crate::op;
use crate::step::{Differentiate, LossSlots, Precision, Slot, SlotId, Space, Step};

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

/// Appends loss and backward steps; returns the slots of the loss, and the gradient of each slot
/// that has one.
pub(super) fn differentiate(
    graph: &Graph,
    batch: usize,
    params: &[ParamSlots],
    slots: &mut Vec<Slot>,
    steps: &mut Vec<Step>,
    end: End,
) -> (Option<LossSlots>, HashMap<SlotId, SlotId>) {
    let mut readers: HashMap<SlotId, usize> = HashMap::new();
    for slot in steps.iter().flat_map(|step| &step.reads) {
        *readers.entry(*slot).or_default() += 1;
    }
    let gradients: HashMap<SlotId, SlotId> =
        params.iter().filter_map(|p| Some((p.value, p.training.as_ref()?.grad))).collect();
    let live = live(params, end.start, steps);
    let loss = end.loss.map(|smoothing| {
        let mut slot = |name: &str, len| {
            slots.push(Slot::new(name.into(), Space::Activation, len, Precision::F32));
            SlotId(slots.len() - 1)
        };
        let loss = LossSlots {
            target: slot("target", batch * end.classes),
            weight: slot("weight", batch),
            total: slot("total", 1),
            losses: slot("losses", batch),
        };
        (loss, smoothing)
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
    match loss {
        Some((slots, smoothing)) => {
            op::loss(&mut diff, end.logits, end.classes, smoothing, slots);
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
    (loss.map(|(slots, _)| slots), diff.gradients)
}
