//! Cuts the gradients of a step whose batch is computed in shards into buckets: spans that are
//! summed over shards, and sent to other processes, as soon as the backward pass has made them.

use std::ops::Range;

use super::program::{Bucket, ParamSlots};
use super::update::Spans;
use crate::graph::LayerId;
use crate::step::{Precision, Slot, SlotId, Space, Step, StepKind};

/// Most words of a bucket that holds several parameters: enough for the speed of a network, few
/// enough that the first leave early.
const MOST: usize = 4 << 20;
/// Fewest words, where the network has more.
const LEAST: usize = 32 << 10;
/// Buckets of a network between both.
const BUCKETS: usize = 8;

/// Appends the steps of sums put aside at `places` places, and returns the buckets in the order in
/// which `backward` ends them.
pub(super) fn append(
    params: &[ParamSlots],
    places: usize,
    backward: Range<usize>,
    spans: &mut Spans,
    steps: &mut Vec<Step>,
) -> Vec<Bucket> {
    let trained = || params.iter().filter_map(|p| Some((p, p.training.as_ref()?.grad)));
    let is_weight = |p: &ParamSlots| p.param.role.is_weight();
    let all: usize = trained().map(|(p, _)| p.param.len()).sum();
    let most = (all / BUCKETS).clamp(LEAST, MOST);
    let mut groups: Vec<Vec<(SlotId, usize)>> = Vec::new();
    // The backward pass ends the last layer's first. Norms and biases lie behind all weights.
    for weights in [true, false] {
        let mut group: Vec<(SlotId, usize)> = Vec::new();
        let mut words = 0;
        for (p, grad) in trained().filter(|(p, _)| is_weight(p) == weights) {
            let len = p.param.len();
            if weights && words > 0 && words + len > most {
                groups.push(std::mem::take(&mut group));
                words = 0;
            }
            group.push((grad, len));
            words += len;
        }
        groups.extend((!group.is_empty()).then_some(group));
    }
    let made = |group: &Vec<(SlotId, usize)>| {
        let writes = |step: &Step| group.iter().any(|(grad, _)| step.writes.contains(grad));
        let last = backward.clone().rev().find(|&i| writes(&steps[i]));
        last.map_or(backward.start, |last| last + 1)
    };
    let mut groups: Vec<(usize, Vec<(SlotId, usize)>)> =
        groups.into_iter().map(|group| (made(&group), group)).collect();
    groups.sort_by_key(|(made, _)| *made);
    let bucket = |(made, group): (usize, Vec<(SlotId, usize)>)| {
        let len = group.iter().map(|(_, len)| len).sum();
        let grad = spans.over("d bucket", group[0].0, len);
        let first = steps.len();
        let aside = (0..places).map(|place| {
            let name = format!("aside {place} of bucket");
            let aside = spans.add(Slot::new(name, Space::Sum, len, Precision::F32));
            let layer = LayerId(0);
            let mut step = |kind, reads: SlotId, writes: SlotId| {
                let (reads, writes) = (vec![reads], vec![writes]);
                steps.push(Step { layer, fused: Vec::new(), kind, reads, writes });
            };
            step(StepKind::Accumulate, aside, grad);
            step(StepKind::Keep, grad, aside);
            aside
        });
        let aside = aside.collect();
        Bucket { grad, aside, made, first }
    };
    groups.into_iter().map(bucket).collect()
}
