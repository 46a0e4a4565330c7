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

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::graph::{Graph, LayerId, Shape};
use crate::op::{self, Param, Role, ShapeError};
use crate::step::{Lower, Precision, Slot, SlotId, Space, Step};

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
    /// Whether the optimiser tells stages apart: the head, and runs of layers between changes of
    /// the maps' size.
    pub staged: bool,
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
            staged: false,
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
    /// Where its gradient and momentum are; `None` for state, for what is frozen and for plans that
    /// do not train.
    pub training: Option<Training>,
}

/// What training keeps beside a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// The gradient.
    pub grad: SlotId,
    /// The momentum buffer.
    pub momentum: SlotId,
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
    /// Steps of the optimiser.
    pub update: Range<usize>,
    /// The images, `[batch, h, w, c]`.
    pub input: SlotId,
    /// The logits, `[batch, classes]`.
    pub logits: SlotId,
    /// One loss an image, where the plan trains.
    pub losses: Option<SlotId>,
    /// Memory of each space, in the order of [`Space::ALL`].
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
        let (mut slots, params) = param_slots(graph, &shapes, train.then_some(options.frozen));
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
        let (mut losses, mut gradient_of) = (None, HashMap::new());
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
            (losses, gradient_of) =
                differentiate::differentiate(graph, batch, &params, &mut slots, &mut steps, end);
            forward.end += usize::from(losses.is_some());
        }
        let mut read_by_host = vec![Some(input), Some(logits), losses];
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
        if train {
            let below = match options.staged {
                true => stages_below_head(graph, &shapes),
                false => vec![0; graph.layers.len()],
            };
            differentiate::append_update(&params, &below, &mut slots, &mut steps);
        }
        let update = backward.end..steps.len();
        let regions = memory::lay_out(&mut slots, &steps, &read_by_host, options.keep_all);
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
            update,
            input,
            logits,
            losses,
            regions,
            outputs,
            gradients,
        })
    }

    /// Where a slot is in the plan's memory, in words of 32 bits.
    pub fn range(&self, id: SlotId) -> Range<usize> {
        let slot = &self.slots[id.0];
        slot.offset..slot.offset + slot.words()
    }

    /// Words of 32 bits in the plan's memory.
    pub fn len(&self) -> usize {
        self.regions[Space::ALL.len() - 1].end
    }

    /// Whether the plan needs no memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of a space.
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
fn param_slots(
    graph: &Graph,
    shapes: &[Shape],
    train: Option<Frozen>,
) -> (Vec<Slot>, Vec<ParamSlots>) {
    let all = op::all_params(graph, shapes);
    let is_frozen = |layer: LayerId, role: Role| {
        let norm = matches!(role, Role::Gamma { .. } | Role::Beta);
        train.is_some_and(|frozen| layer.0 < frozen.layers || (norm && frozen.norm))
    };
    let is_trained = |i: usize| all[i].2.role.is_trained() && !is_frozen(all[i].0, all[i].2.role);
    let mut slots = Vec::new();
    let mut value_of = vec![SlotId(0); all.len()];
    let rank = |i: usize| match (is_trained(i), all[i].2.role.is_weight()) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&i| rank(i));
    let mut add = |name: String, space, len| {
        slots.push(Slot::new(name, space, len, Precision::F32));
        SlotId(slots.len() - 1)
    };
    let mut training_of = vec![None; all.len()];
    for &i in &order {
        let (_, name, param) = &all[i];
        let space = if is_trained(i) { Space::Param } else { Space::State };
        value_of[i] = add(name.clone(), space, param.len());
        if train.is_some() && is_trained(i) {
            let grad = add(format!("d {name}"), Space::Grad, param.len());
            let momentum = add(format!("v {name}"), Space::Momentum, param.len());
            training_of[i] = Some(Training { grad, momentum });
        }
    }
    let params = all.into_iter().enumerate();
    let params = params.map(|(i, (layer, name, param))| ParamSlots {
        name,
        layer,
        param,
        value: value_of[i],
        training: training_of[i],
    });
    (slots, params.collect())
}
