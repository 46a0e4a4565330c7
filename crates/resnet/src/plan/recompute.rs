//! Trades maps for arithmetic: what a norm wrote is computed again in the backward pass instead of being kept for it.
//!
//! A norm's backward step needs its input x anyway, and y = relu(norm(x) + residual) is one cheap pass over it (compare Chen et
//! al. 2016, "Training deep nets with sublinear memory cost", and Bulo et al. 2018, "In-place activated batch norm"). So x stays and y goes
//! after its last forward reader; the same arithmetic gives the same bits when the first backward reader wants it. A residual that is
//! itself computed again would need a chain of such steps: then y is kept, so that along a row of blocks every second output is.

use std::collections::{HashMap, HashSet};

use crate::step::{Slot, SlotId, Step, StepKind};

/// Rewrites the steps; the backward pass begins at `backward`. Slots in `host` are looked at from outside and stay.
pub(super) fn recompute(
    steps: &mut Vec<Step>,
    slots: &mut Vec<Slot>,
    backward: usize,
    host: &[Option<SlotId>],
) {
    let mut first_reader: HashMap<SlotId, usize> = HashMap::new();
    for (at, step) in steps.iter().enumerate().skip(backward) {
        for slot in &step.reads {
            first_reader.entry(*slot).or_insert(at);
        }
    }
    let mut again: HashMap<usize, Vec<Step>> = HashMap::new();
    let mut renamed: HashMap<SlotId, SlotId> = HashMap::new();
    let outside: HashSet<SlotId> = host.iter().flatten().copied().collect();
    for step in &steps[..backward] {
        let Some(mut step) = once_more(step) else {
            continue;
        };
        let (x, residual, y) = (step.reads[0], step.reads.get(5), step.writes[0]);
        let kept = |slot: &SlotId| first_reader.contains_key(slot) && !renamed.contains_key(slot);
        let Some(&at) = first_reader.get(&y) else {
            continue;
        };
        if outside.contains(&y) || !kept(&x) || !residual.is_none_or(kept) {
            continue;
        }
        let slot = &slots[y.0];
        let name = format!("{} again", slot.name);
        slots.push(Slot {
            name,
            ..slot.clone()
        });
        let copy = SlotId(slots.len() - 1);
        renamed.insert(y, copy);
        step.writes[0] = copy;
        again.entry(at).or_default().push(step);
    }
    let old = std::mem::take(steps);
    for (at, mut step) in old.into_iter().enumerate() {
        steps.extend(again.remove(&at).unwrap_or_default());
        if at >= backward {
            for slot in &mut step.reads {
                *slot = renamed.get(slot).copied().unwrap_or(*slot);
            }
        }
        steps.push(step);
    }
}

/// The step that computes a norm's output again, from the statistics it saved. Only where a norm trains is its input kept.
fn once_more(step: &Step) -> Option<Step> {
    let norm = match step.kind {
        StepKind::Norm(norm) if norm.train => norm,
        _ => return None,
    };
    let [x, gamma, beta, ..] = step.reads[..] else {
        return None;
    };
    let [y, mean, rstd, ..] = step.writes[..] else {
        return None;
    };
    let mut reads = vec![x, gamma, beta, mean, rstd];
    reads.extend(step.reads.get(3));
    Some(Step {
        layer: step.layer,
        fused: step.fused.clone(),
        kind: StepKind::NormAgain(norm),
        reads,
        writes: vec![y],
    })
}
