//! Cuts the gradients of a step whose batch is computed in shards into buckets: spans that are
//! summed over shards, and sent to other processes, as soon as the backward pass has made them.

use std::ops::Range;

use super::program::{Bucket, ParamSlots};
use super::update::Spans;
use crate::graph::LayerId;
use crate::step::{Precision, Slot, SlotId, Space, Step, StepKind};

/// Most words of a bucket that holds several parameters.
const MOST: usize = 4 << 20;
/// Fewest words, where as many are left: what a network carries as fast as fewer.
const LEAST: usize = 32 << 10;
/// A bucket is at most this part of what is left. So they become smaller towards the first layers,
/// and little is under way when the backward pass ends.
const PART: usize = 4;

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
    let mut left: usize = trained().map(|(p, _)| p.param.len()).sum();
    let mut groups: Vec<Vec<(SlotId, usize)>> = Vec::new();
    // The backward pass ends the last layer's first. Norms and biases lie behind all weights.
    for weights in [true, false] {
        let of_kind: Vec<_> = trained().filter(|(p, _)| is_weight(p) == weights).collect();
        let mut group: Vec<(SlotId, usize)> = Vec::new();
        let mut words = 0;
        for (p, grad) in of_kind.into_iter().rev() {
            let len = p.param.len();
            let most = (left / PART).clamp(LEAST, MOST);
            if weights && words > 0 && words + len > most {
                groups.push(std::mem::take(&mut group));
                left -= words;
                words = 0;
            }
            group.push((grad, len));
            words += len;
        }
        groups.extend((!group.is_empty()).then_some(group));
        left -= words;
    }
    // As they lie.
    groups.iter_mut().for_each(|group| group.reverse());
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

#[cfg(test)]
mod tests {
    use crate::graph::{Graph, LayerId, Op, Shape};
    use crate::plan::{Options, Plan};
    use crate::step::{Space, StepKind};

    fn deep() -> Graph {
        let mut graph = Graph::new(Shape::new(3, 8, 8));
        let mut x = LayerId(0);
        for (i, c_out) in [16, 32, 64, 128, 128, 64].into_iter().enumerate() {
            let conv =
                Op::Conv2d { c_out, kernel: 3, stride: 1, padding: 1, groups: 1, bias: false };
            x = graph.push(format!("conv{i}"), conv, &[x]);
            let norm = Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init: false };
            x = graph.push(format!("bn{i}"), norm, &[x]);
            x = graph.push(format!("relu{i}"), Op::Relu, &[x]);
        }
        graph.push("fc", Op::Linear { out: 5 }, &[x]);
        graph
    }

    #[test]
    fn buckets_hold_every_gradient_once_and_leave_when_it_is_made() {
        let options = Options { shards: Some(2), ..Options::train(2, 0.0) };
        let plan = Plan::build(&deep(), options).unwrap();
        assert!(plan.buckets.len() > 3, "{:?}", plan.buckets);
        let mut ranges: Vec<_> = plan.buckets.iter().map(|b| plan.range(b.grad)).collect();
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        let region = plan.region(Space::Grad);
        assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (region.start, region.end));
        assert!(plan.buckets.is_sorted_by_key(|bucket| bucket.made));
        for bucket in &plan.buckets {
            let range = plan.range(bucket.grad);
            let within = |slot| {
                let own = plan.range(slot);
                plan.slots[slot.0].space == Space::Grad
                    && range.start <= own.start
                    && own.end <= range.end
            };
            let writes = |i: &usize| plan.steps[*i].writes.iter().any(|&slot| within(slot));
            let last = plan.backward.clone().rev().find(writes).unwrap();
            assert_eq!(bucket.made, last + 1);
            for place in 0..2 {
                let [add, keep] = [bucket.add(place), bucket.keep(place)];
                assert_eq!(plan.steps[add.start].kind, StepKind::Accumulate);
                assert_eq!(plan.steps[add.start].writes, [bucket.grad]);
                assert_eq!(plan.steps[keep.start].kind, StepKind::Keep);
                assert_eq!(plan.steps[keep.start].reads, [bucket.grad]);
                assert_eq!(plan.steps[keep.start].writes, [bucket.aside[place]]);
            }
        }
        // The last to be made, of the first layers, are few.
        let last = &plan.buckets[plan.buckets.len() - 2..];
        assert!(last.iter().all(|b| plan.slots[b.grad.0].len <= super::LEAST), "{last:?}");
        // Whoever sums nothing has none.
        assert!(Plan::build(&deep(), Options::train(2, 0.0)).unwrap().buckets.is_empty());
    }
}
