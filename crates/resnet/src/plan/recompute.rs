//! Trades maps for arithmetic: what a norm wrote is computed again in the backward pass instead of being kept for it.
//!
//! A norm's backward step needs its input x anyway, and y = relu(norm(x) + residual) is one cheap pass over it (compare Chen et
//! al. 2016, "Training deep nets with sublinear memory cost", and Bulo et al. 2018, "In-place activated batch norm"). So x stays and y goes
//! after its last forward reader; the same arithmetic gives the same bits when the first backward reader wants it. A residual that is
//! itself computed again must be so before, in a chain of such steps: along a row of blocks every second output is kept, of large maps every
//! third.

use std::collections::{HashMap, HashSet};

use crate::step::{Slot, SlotId, Step, StepKind};

/// Where [`StepKind::NormAgain`] reads its residual, if it has one.
const RESIDUAL: usize = 5;

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
    let chosen = choose(&steps[..backward], slots, &first_reader, host);
    let mut again: HashMap<usize, Vec<Step>> = HashMap::new();
    let mut renamed: HashMap<SlotId, SlotId> = HashMap::new();
    // From the last on, for a residual is read by what is computed from it.
    for mut step in chosen.into_iter().rev() {
        let y = step.writes[0];
        let at = first_reader[&y];
        if let Some(&residual) = step.reads.get(RESIDUAL) {
            let first = first_reader.entry(residual).or_insert(at);
            *first = at.min(*first);
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
    for (at, step) in old.into_iter().enumerate() {
        let before = again.remove(&at).unwrap_or_default();
        for mut step in before.into_iter().rev().chain([step]) {
            if at >= backward {
                for slot in &mut step.reads {
                    *slot = renamed.get(slot).copied().unwrap_or(*slot);
                }
            }
            steps.push(step);
        }
    }
}

/// The steps that compute again what the backward pass reads, in the order of the forward pass.
fn choose(
    forward: &[Step],
    slots: &[Slot],
    first_reader: &HashMap<SlotId, usize>,
    host: &[Option<SlotId>],
) -> Vec<Step> {
    let outside: HashSet<SlotId> = host.iter().flatten().copied().collect();
    let mut chains: HashMap<SlotId, usize> = HashMap::new(); // steps that compute a slot again, one after another
    let mut chosen = Vec::new();
    for step in forward.iter().filter_map(once_more) {
        let (x, residual, y) = (step.reads[0], step.reads.get(RESIDUAL), step.writes[0]);
        let read = |slot: &SlotId| first_reader.contains_key(slot);
        let kept = |slot: &SlotId| read(slot) && !chains.contains_key(slot);
        let before = match residual {
            Some(slot) if !kept(slot) => chains.get(slot).copied(),
            _ => Some(0),
        };
        let length = before.map(|steps| steps + 1);
        let short = length.filter(|&steps| steps <= longest_chain(&slots[y.0]));
        if let Some(steps) = short
            && kept(&x)
            && read(&y)
            && !outside.contains(&y)
        {
            chains.insert(y, steps);
            chosen.push(step);
        }
    }
    chosen
}

/// How many norms may be computed again for one map. Where maps are large their memory counts, elsewhere the time.
fn longest_chain(map: &Slot) -> usize {
    if 4 * map.words() >= 16 << 20 { 2 } else { 1 }
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
