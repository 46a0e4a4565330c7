//! Trades maps for arithmetic: what a norm wrote is computed again in the backward pass instead of
//! being kept for it.
//!
//! A norm's backward step needs its input x anyway, and y = relu(norm(x) + residual) is one cheap
//! pass over it (compare Chen et al. 2016, "Training deep nets with sublinear memory cost", and
//! Bulo et al. 2018, "In-place activated batch norm"). So x stays and y goes after its last forward
//! reader; the same arithmetic gives the same bits when the first backward reader wants it. If its
//! residual is itself computed again, that step comes first: a chain. A chain has one step, or two
//! where maps are large, so along a row of blocks every second output is kept, or every third. So
//! is an output that only the head reads.

use std::collections::{HashMap, HashSet};

use crate::step::{Slot, SlotId, Step, StepKind};

/// Where [`StepKind::NormAgain`] reads its residual, if it has one.
const RESIDUAL: usize = 5;
/// Maps of this many bytes or more may be computed again in chains of two: there memory counts more
/// than the time of one more step.
const LARGE: usize = 16 << 20;

/// Rewrites the steps; the backward pass begins at `backward`. Slots in `host` are looked at from
/// outside and stay.
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
    let mut chosen = choose(steps, backward, slots, &first_reader, host);
    let mut renamed: HashMap<SlotId, SlotId> = HashMap::new();
    for step in &mut chosen {
        let y = step.writes[0];
        let mut copy = slots[y.0].clone();
        copy.name.push_str(" again");
        slots.push(copy);
        step.writes[0] = SlotId(slots.len() - 1);
        renamed.insert(y, step.writes[0]);
        first_reader.insert(step.writes[0], first_reader[&y]);
        // A residual that is computed again stands before it.
        read_again(step, &renamed);
    }
    let mut again: HashMap<usize, Vec<Step>> = HashMap::new();
    // From the last on, for a residual is wanted no later than what is computed from it.
    for step in chosen.into_iter().rev() {
        let at = first_reader[&step.writes[0]];
        let residual = step.reads.get(RESIDUAL);
        if let Some(first) = residual.and_then(|slot| first_reader.get_mut(slot)) {
            *first = at.min(*first);
        }
        again.entry(at).or_default().push(step);
    }
    let old = std::mem::take(steps);
    for (at, mut step) in old.into_iter().enumerate() {
        steps.extend(again.remove(&at).into_iter().flatten().rev());
        if at >= backward {
            read_again(&mut step, &renamed);
        }
        steps.push(step);
    }
}

/// Has `step` read what is computed again instead of what it is a copy of.
fn read_again(step: &mut Step, renamed: &HashMap<SlotId, SlotId>) {
    for slot in &mut step.reads {
        *slot = renamed.get(slot).copied().unwrap_or(*slot);
    }
}

/// The steps that compute again what the backward pass reads, in the order of the forward pass.
fn choose(
    steps: &[Step],
    backward: usize,
    slots: &[Slot],
    first_reader: &HashMap<SlotId, usize>,
    host: &[Option<SlotId>],
) -> Vec<Step> {
    let outside: HashSet<SlotId> = host.iter().flatten().copied().collect();
    let mut chains: HashMap<SlotId, usize> = HashMap::new(); // how many steps compute a slot again, those for its residual included
    let mut chosen = Vec::new();
    for step in steps[..backward].iter().filter_map(once_more) {
        let (x, residual, y) = (step.reads[0], step.reads.get(RESIDUAL), step.writes[0]);
        let before = match residual {
            None => 0,
            Some(slot) => match chains.get(slot) {
                Some(&length) => length,
                None if first_reader.contains_key(slot) => 0,
                None => continue,
            },
        };
        let map = &slots[y.0];
        let longest = if map.len * map.precision.bytes() >= LARGE { 2 } else { 1 };
        let Some(&at) = first_reader.get(&y) else {
            continue;
        };
        let x_is_kept = first_reader.contains_key(&x) && !chains.contains_key(&x);
        // Behind the last block there is only the head, so the first step to read that block's
        // output again is its own norm's backward step (`dy, x, ..`), almost at once. Dropping it
        // would save nothing, and its residual would be needed at the peak.
        let reader = &steps[at];
        let at_once = matches!(reader.kind, StepKind::NormBackward(_)) && reader.reads[1] == x;
        if x_is_kept && !at_once && !outside.contains(&y) && before < longest {
            chains.insert(y, before + 1);
            chosen.push(step);
        }
    }
    chosen
}

/// The step that computes a norm's output again, from the statistics it saved. Only where a norm
/// trains is its input kept.
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
