//! The functions of this folder, one after another.

use std::collections::{HashMap, HashSet};

use super::options::{Mode, Options};
use super::program::{ParamSlots, Plan, Training};
use super::{differentiate, fuse, memory, recompute, update};
use crate::graph::{Graph, LayerId, Shape};
use crate::op::{self, Role, ShapeError};
use crate::step::{LossSlots, Lower, Precision, Slot, SlotId, Space};

impl Plan {
    /// Makes the plan of `graph`.
    ///
    /// # Errors
    /// The first layer that cannot read its inputs, with the reason.
    pub fn build(graph: &Graph, options: Options) -> Result<Plan, ShapeError> {
        let shapes = op::shapes(graph)?;
        let train = options.mode.trains();
        let (mut slots, params) = param_slots(graph, &shapes, &options);
        let by_name: HashMap<(LayerId, &'static str), SlotId> =
            params.iter().map(|p| ((p.layer, p.param.suffix), p.value)).collect();
        let mut lower = Lower {
            graph,
            batch: options.batch,
            train,
            precision: options.precision,
            frozen_layers: options.frozen.layers,
            frozen_norm: options.frozen.norm,
            shapes: &shapes,
            params: &by_name,
            slots: std::mem::take(&mut slots),
            steps: Vec::new(),
            outputs: Vec::new(),
        };
        for index in 0..graph.layers.len() {
            let output = op::forward(&mut lower, LayerId(index));
            lower.outputs.push(output);
        }
        // Logits are read as they are, whatever layer makes them.
        if let Some(&last) = lower.outputs.last() {
            let id = LayerId(graph.layers.len() - 1);
            let logits = lower.widened(id, last);
            lower.outputs[id.0] = logits;
        }
        let Lower { mut slots, mut steps, outputs, .. } = lower;
        let (input, logits) = (outputs[0], outputs[outputs.len() - 1]);
        let classes = shapes[graph.output().0].len();
        let (mut loss, mut gradient_of) = (None, HashMap::new());
        let end = match options.mode {
            Mode::Train { label_smoothing } => Some(differentiate::End {
                logits,
                classes,
                loss: Some(label_smoothing),
                start: None,
            }),
            Mode::Explain { layer } => Some(differentiate::End {
                logits,
                classes,
                loss: None,
                start: Some(outputs[layer.0]),
            }),
            Mode::Infer => None,
        };
        if options.fuse {
            let start = end.as_ref().and_then(|end| end.start);
            let live = differentiate::live(&params, start, &steps);
            fuse::fuse(&mut steps, logits, &live);
        }
        let mut forward = 0..steps.len();
        if let Some(end) = end {
            let batch = options.batch;
            (loss, gradient_of) =
                differentiate::differentiate(graph, batch, &params, &mut slots, &mut steps, end);
            forward.end += usize::from(loss.is_some());
        }
        let mut read_by_host = vec![Some(input), Some(logits)];
        if let Some(LossSlots { target, weight, total, losses }) = loss {
            read_by_host.extend([target, weight, total, losses].map(Some));
        }
        if let Mode::Explain { layer } = options.mode {
            let explained = outputs[layer.0];
            let ends = [logits, explained].map(|slot| gradient_of.get(&slot).copied());
            read_by_host.push(Some(explained));
            read_by_host.extend(ends);
        }
        if options.recompute && !options.keep_all {
            recompute::recompute(&mut steps, &mut slots, forward.end, &read_by_host);
        }
        let backward = forward.end..steps.len();
        let mut appended = update::Appended {
            accumulate: backward.end..backward.end,
            update: backward.end..backward.end,
            buckets: Vec::new(),
            spans: Vec::new(),
        };
        if train {
            let below = match options.optimizer.is_staged() {
                true => stages_below_head(graph, &shapes),
                false => vec![0; graph.layers.len()],
            };
            appended =
                update::append(&params, &below, &options, backward.clone(), &mut slots, &mut steps);
        }
        let update::Appended { accumulate, update, buckets, spans } = appended;
        let regions = memory::lay_out(&mut slots, &steps, &read_by_host, options.keep_all, &spans);
        let written: HashSet<SlotId> = steps[forward.clone()]
            .iter()
            .flat_map(|s| s.writes.iter().copied())
            .chain([input])
            .collect();
        let outputs: Vec<Option<SlotId>> =
            outputs.into_iter().map(|slot| written.contains(&slot).then_some(slot)).collect();
        let gradients =
            outputs.iter().map(|slot| gradient_of.get(slot.as_ref()?).copied()).collect();
        let layer_names = graph.layers.iter().map(|layer| layer.name.clone()).collect();
        Ok(Plan {
            options,
            input_shape: graph.input,
            classes,
            layer_names,
            steps,
            slots,
            params,
            forward,
            backward,
            accumulate,
            buckets,
            update,
            input,
            logits,
            loss,
            regions,
            outputs,
            gradients,
        })
    }
}

/// For each layer, how many stages stand between it and the head, itself included: 0 for the head.
/// A stage begins where maps become smaller.
fn stages_below_head(graph: &Graph, shapes: &[Shape]) -> Vec<usize> {
    let head = graph.head().0;
    let mut stage = 0;
    let mut smallest = usize::MAX;
    let mut stages: Vec<usize> = Vec::with_capacity(shapes.len());
    for shape in shapes {
        if shape.h * shape.w < smallest {
            smallest = shape.h * shape.w;
            stage += 1;
        }
        stages.push(stage);
    }
    // A pool between the last weights and the head begins no stage of its own.
    let has_params = |i: &usize| !op::params(&graph.layers[*i].op, shapes[0]).is_empty();
    let last = (1..head).rev().find(has_params).map_or(0, |i| stages[i]);
    let below = |(i, stage): (usize, &usize)| {
        if i >= head { 0 } else { last.saturating_sub(*stage) + 1 }
    };
    stages.iter().enumerate().map(below).collect()
}

/// Slots of all parameters: weight matrices first, then norms and biases, so that decay is one span
/// of memory. What is frozen lies with the state.
fn param_slots(graph: &Graph, shapes: &[Shape], options: &Options) -> (Vec<Slot>, Vec<ParamSlots>) {
    let all = op::all_params(graph, shapes);
    let frozen = options.frozen;
    let train = options.mode.trains();
    let is_frozen = |layer: LayerId, role: Role| {
        let norm = matches!(role, Role::Gamma { .. } | Role::Beta);
        train && (layer.0 < frozen.layers || (norm && frozen.norm))
    };
    let is_trained = |i: usize| all[i].2.role.is_trained() && !is_frozen(all[i].0, all[i].2.role);
    let rank = |i: usize| match (is_trained(i), all[i].2.role.is_weight()) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&i| rank(i));
    let mut slots = Vec::new();
    // One slot for each of `of`, side by side.
    let mut add = |prefix: &str, space: fn(bool) -> Space, of: &mut dyn Iterator<Item = usize>| {
        let mut ids = vec![None; all.len()];
        for i in of {
            let name = format!("{prefix}{}", all[i].1);
            slots.push(Slot::new(name, space(is_trained(i)), all[i].2.len(), Precision::F32));
            ids[i] = Some(SlotId(slots.len() - 1));
        }
        ids
    };
    let of_value = |trained| if trained { Space::Param } else { Space::State };
    let values = add("", of_value, &mut order.iter().copied());
    let trained = || order.iter().copied().filter(|&i| train && is_trained(i));
    let grads = add("d ", |_| Space::Grad, &mut trained());
    let sums = add("sum of ", |_| Space::Sum, &mut trained().filter(|_| options.accumulate));
    let buffers = options.optimizer.rule.buffers().iter();
    let buffers = buffers.map(|b| add(&format!("{b} of "), |_| Space::Optimizer, &mut trained()));
    let buffers: Vec<_> = buffers.collect();
    let averaged = order.iter().copied().filter(|_| train && options.average);
    let averages = add("average of ", |_| Space::Average, &mut { averaged });
    let params = all.iter().enumerate().map(|(i, (layer, name, param))| ParamSlots {
        name: name.clone(),
        layer: *layer,
        param: param.clone(),
        value: values[i].unwrap_or(SlotId(0)),
        training: grads[i].map(|grad| Training {
            grad,
            sum: sums[i],
            state: buffers.iter().filter_map(|buffer| buffer[i]).collect(),
        }),
        average: averages[i],
    });
    let params = params.collect();
    (slots, params)
}
