//! From a graph to steps over planned memory, for one batch size and one mode: the narrow waist of
//! the engine.
//!
//! `lower` turns layers into forward steps, `fuse` joins neighbours, `differentiate` appends the
//! backward steps, `recompute` spares memory, `memory` gives every slot its place. Each is a
//! function over plain data, and `text` prints the result.

mod differentiate;
mod fuse;
mod memory;
mod recompute;
mod text;
mod update;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::graph::{Graph, LayerId, Shape};
use crate::op::{self, Param, Role, ShapeError};
use crate::step::{LossSlots, Lower, Memory, Precision, Slot, SlotId, Space, Step};

pub use update::Optimizer;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Forward, backward and update.
    Train {
        /// Label smoothing of the loss.
        label_smoothing: f32,
    },
    /// Forward with running statistics.
    Infer,
    /// The same, and then backward from the logits' gradient, which the caller writes, to the
    /// output of a layer. The plan's `gradients` say where both are.
    Explain {
        /// The layer; one that is fused into the step of a later layer has no output of its own to
        /// go back to.
        layer: LayerId,
    },
}

/// What training leaves as it is: it takes part as in inference, and nothing is computed for it
/// backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Layers from the first on.
    pub layers: usize,
    /// Every batch norm: statistics, gamma and beta.
    pub norm: bool,
}

/// How a plan is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Images in a batch.
    pub batch: usize,
    /// What for.
    pub mode: Mode,
    /// How maps and their gradients are stored.
    pub precision: Precision,
    /// Whether neighbouring steps are joined.
    pub fuse: bool,
    /// Whether every slot keeps memory of its own, so that all can be looked at after a run.
    pub keep_all: bool,
    /// Whether the backward pass computes the outputs of norms again instead of keeping them: the
    /// same bits in less memory.
    pub recompute: bool,
    /// What is not trained.
    pub frozen: Frozen,
    /// How parameters are updated, where the plan trains.
    pub optimizer: Optimizer,
    /// Whether gradients of several batches are summed before an update.
    pub accumulate: bool,
    /// Whether a moving average of parameters and state is kept.
    pub average: bool,
}

impl Options {
    /// A fused plan that trains, in f32.
    pub fn train(batch: usize, label_smoothing: f32) -> Options {
        Options {
            batch,
            mode: Mode::Train { label_smoothing },
            precision: Precision::F32,
            fuse: true,
            keep_all: false,
            recompute: true,
            frozen: Frozen::default(),
            optimizer: Optimizer::default(),
            accumulate: false,
            average: false,
        }
    }

    /// A fused plan that infers, in f32.
    pub fn infer(batch: usize) -> Options {
        Options { batch, mode: Mode::Infer, ..Options::train(batch, 0.0) }
    }
}

/// A parameter or running statistic and its slots.
#[derive(Clone, Debug)]
pub struct ParamSlots {
    /// Its name on disk.
    pub name: String,
    /// The layer it belongs to.
    pub layer: LayerId,
    /// Dimensions and role.
    pub param: Param,
    /// Where its value is.
    pub value: SlotId,
    /// Where its gradient is and what else training keeps; `None` for state, for what is frozen and
    /// for plans that do not train.
    pub training: Option<Training>,
    /// Its moving average, where one is kept.
    pub average: Option<SlotId>,
}

/// What training keeps beside a parameter.
#[derive(Clone, Debug)]
pub struct Training {
    /// The gradient.
    pub grad: SlotId,
    /// The sum of the gradients of several batches, where they are summed.
    pub sum: Option<SlotId>,
    /// What the update rule keeps, in the order of [`Rule::buffers`](crate::step::Rule::buffers).
    pub state: Vec<SlotId>,
}

/// Steps over planned memory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How it was made.
    pub options: Options,
    /// Shape of one image.
    pub input_shape: Shape,
    /// Logits of one image.
    pub classes: usize,
    /// Name of every layer of the network.
    pub layer_names: Vec<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The slots.
    pub slots: Vec<Slot>,
    /// Parameters and running statistics, in layer order.
    pub params: Vec<ParamSlots>,
    /// Steps of the forward pass, the loss included.
    pub forward: Range<usize>,
    /// Steps of the backward pass.
    pub backward: Range<usize>,
    /// Steps that add a batch's gradients to their sums; none where each batch is a step.
    pub accumulate: Range<usize>,
    /// Steps that change parameters and averages.
    pub update: Range<usize>,
    /// The images, `[batch, h, w, c]`.
    pub input: SlotId,
    /// The logits, `[batch, classes]`.
    pub logits: SlotId,
    /// What the loss reads and writes, where the plan trains.
    pub loss: Option<LossSlots>,
    /// Each space within its memory, in the order of [`Space::ALL`].
    pub regions: [Range<usize>; Space::ALL.len()],
    /// Output slot of each layer that still has one after fusion.
    pub outputs: Vec<Option<SlotId>>,
    /// Slot of the loss's gradient with respect to each layer's output, where the plan trains and
    /// the output has a slot. Two layers share one where an addition hands its gradient on
    /// unchanged. Only a plan that keeps all keeps them past the step that reads them last.
    pub gradients: Vec<Option<SlotId>>,
}

impl Plan {
    /// Makes the plan of `graph`.
    ///
    /// # Errors
    /// The first layer that cannot read its inputs, with the reason.
    pub fn build(graph: &Graph, options: Options) -> Result<Plan, ShapeError> {
        let shapes = op::shapes(graph)?;
        let train = matches!(options.mode, Mode::Train { .. });
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
            spans: Vec::new(),
        };
        if train {
            let below = match options.optimizer.is_staged() {
                true => stages_below_head(graph, &shapes),
                false => vec![0; graph.layers.len()],
            };
            appended = update::append(&params, &below, &options, &mut slots, &mut steps);
        }
        let update::Appended { accumulate, update, spans } = appended;
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
            update,
            input,
            logits,
            loss,
            regions,
            outputs,
            gradients,
        })
    }

    /// Where a slot is in its memory, in words of 32 bits.
    pub fn range(&self, id: SlotId) -> Range<usize> {
        let slot = &self.slots[id.0];
        slot.offset..slot.offset + slot.words()
    }

    /// Words of 32 bits in one of the plan's memories.
    pub fn len_of(&self, memory: Memory) -> usize {
        let of_memory = Space::ALL.into_iter().filter(|space| space.memory() == memory);
        of_memory.map(|space| self.region(space).end).max().unwrap_or(0)
    }

    /// Words of 32 bits in all of the plan's memory.
    pub fn len(&self) -> usize {
        self.len_of(Memory::Weights) + self.len_of(Memory::Arena)
    }

    /// Whether the plan needs no memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the weights of another plan lie as this one's do, so that both can run on the same.
    pub fn shares_weights_with(&self, other: &Plan) -> bool {
        let place = |plan: &Plan, p: &ParamSlots| (p.param.clone(), plan.range(p.value));
        let same = |(a, b): (&ParamSlots, &ParamSlots)| {
            a.name == b.name && place(self, a) == place(other, b)
        };
        self.params.len() == other.params.len() && self.params.iter().zip(&other.params).all(same)
    }

    /// A space within its memory.
    pub fn region(&self, space: Space) -> Range<usize> {
        self.regions[space as usize].clone()
    }

    /// Number of trained parameters.
    pub fn count_params(&self) -> usize {
        self.params.iter().filter(|p| p.param.role.is_trained()).map(|p| p.param.len()).sum()
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
    let train = matches!(options.mode, Mode::Train { .. });
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
