//! Appends what happens once a step: gradients of several batches are summed, the rule changes the
//! parameters, averages follow them. Each of these steps passes over spans of many slots.

use std::ops::Range;

use super::buckets;
use super::options::Options;
use super::program::{Bucket, ParamSlots};
use crate::graph::LayerId;
use crate::step::{Precision, Slot, SlotId, Space, Step, StepKind};

/// A slot that spans others, and the first of them.
pub(super) type Span = (SlotId, SlotId);

/// What [`append`] appended.
pub(super) struct Appended {
    /// Steps that add a batch's gradients to the sums.
    pub(super) accumulate: Range<usize>,
    /// Gradients that are summed over shards, whose steps lie between the others.
    pub(super) buckets: Vec<Bucket>,
    /// Steps that follow the last batch of a step.
    pub(super) update: Range<usize>,
    pub(super) spans: Vec<Span>,
}

/// Slots that are made on the way.
pub(super) struct Spans<'a> {
    slots: &'a mut Vec<Slot>,
    made: Vec<Span>,
}

impl Spans<'_> {
    /// A slot of its own.
    pub(super) fn add(&mut self, slot: Slot) -> SlotId {
        self.slots.push(slot);
        SlotId(self.slots.len() - 1)
    }

    /// A slot over slots that lie side by side, of which `first` is the first.
    pub(super) fn over(&mut self, name: &str, first: SlotId, len: usize) -> SlotId {
        let space = self.slots[first.0].space;
        let span = self.add(Slot::new(name.to_owned(), space, len, Precision::F32));
        self.made.push((span, first));
        span
    }
}

/// Appends the steps: for each stage one update of the weight matrices, or one of each where the
/// rule fits rates to them, and one of norms and biases; `below` says which stage a layer is of.
pub(super) fn append(
    params: &[ParamSlots],
    below: &[usize],
    options: &Options,
    backward: Range<usize>,
    slots: &mut Vec<Slot>,
    steps: &mut Vec<Step>,
) -> Appended {
    let mut spans = Spans { slots, made: Vec::new() };
    let buckets = match options.shards {
        Some(places) => buckets::append(params, places, backward, &mut spans, steps),
        None => Vec::new(),
    };
    let start = steps.len();
    let mut step = |layer, kind, reads, writes| {
        steps.push(Step { layer, fused: Vec::new(), kind, reads, writes });
        steps.len()
    };
    let trained = || params.iter().filter_map(|p| Some((p, p.training.as_ref()?)));
    // Slots are numbered in the order in which they lie.
    let all: usize = trained().map(|(p, _)| p.param.len()).sum();
    let first_grad = trained().map(|(_, t)| t.grad).min();
    let first_sum = trained().filter_map(|(_, t)| t.sum).min();
    let layer = LayerId(0);
    let mut end = start;
    let mut sums = None;
    if let Some((grad, sum)) = first_grad.zip(first_sum) {
        let (dw, sum) = (spans.over("d all", grad, all), spans.over("sum of all", sum, all));
        end = step(layer, StepKind::Accumulate, vec![dw], vec![sum]);
        sums = Some(sum);
    }
    let accumulate = start..end;
    for weights in [true, false] {
        let group = trained().filter(|(p, _)| p.param.role.is_weight() == weights);
        let group: Vec<_> = group.collect();
        let rule = options.optimizer.rule;
        let apart = weights && rule.fits_rates();
        let together =
            |a: &ParamSlots, b: &ParamSlots| !apart && below[a.layer.0] == below[b.layer.0];
        for part in group.chunk_by(|(a, _), (b, _)| together(a, b)) {
            let (first, training) = part[0];
            let what = match (weights, apart) {
                (true, true) => &*first.name,
                (true, false) => "weights",
                (false, _) => "norms and biases",
            };
            let len = part.iter().map(|(p, _)| p.param.len()).sum();
            let dw = match training.sum {
                Some(sum) => spans.over(&format!("sum of {what}"), sum, len),
                None => spans.over(&format!("d {what}"), training.grad, len),
            };
            let mut writes = vec![spans.over(what, first.value, len)];
            for (buffer, slot) in rule.buffers().iter().zip(&training.state) {
                writes.push(spans.over(&format!("{buffer} of {what}"), *slot, len));
            }
            let update = options.optimizer.update(weights, below[first.layer.0]);
            end = step(first.layer, StepKind::Update(update), vec![dw], writes);
        }
    }
    if let Some(sum) = sums {
        end = step(layer, StepKind::Clear, vec![], vec![sum]);
    }
    for space in [Space::Param, Space::State] {
        let of_space = |p: &&ParamSlots| spans.slots[p.value.0].space == space;
        let kept: Vec<&ParamSlots> =
            params.iter().filter(of_space).filter(|p| p.average.is_some()).collect();
        let Some(first) = kept.iter().min_by_key(|p| p.value) else { continue };
        let (value, average) = (first.value, first.average.unwrap_or(first.value));
        let len = kept.iter().map(|p| p.param.len()).sum();
        let what = if space == Space::Param { "all parameters" } else { "all state" };
        let w = spans.over(what, value, len);
        let a = spans.over(&format!("average of {what}"), average, len);
        end = step(layer, StepKind::Average, vec![w], vec![a]);
    }
    Appended { update: accumulate.end..end, accumulate, buckets, spans: spans.made }
}
