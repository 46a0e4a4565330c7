//! The builders that operations append steps to: forward, then backward.

use std::collections::{HashMap, HashSet};

use super::data::{Precision, Slot, SlotId, Space, Step};
use super::kind::StepKind;
use crate::graph::{Graph, LayerId, Shape};

/// Appends forward steps.
pub(crate) struct Lower<'a> {
    /// The network.
    pub(crate) graph: &'a Graph,
    /// Images in a batch.
    pub(crate) batch: usize,
    /// Whether the plan trains.
    pub(crate) train: bool,
    /// How maps are stored.
    pub(crate) precision: Precision,
    /// Layers at the start that are not trained.
    pub(crate) frozen_layers: usize,
    /// Whether no batch norm is trained.
    pub(crate) frozen_norm: bool,
    pub(crate) shapes: &'a [Shape],
    pub(crate) params: &'a HashMap<(LayerId, &'static str), SlotId>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<SlotId>,
}

impl Lower<'_> {
    fn slot(&mut self, name: String, len: usize, precision: Precision) -> SlotId {
        let slot = Slot::new(name, Space::Activation, len, precision);
        self.slots.push(slot);
        SlotId(self.slots.len() - 1)
    }

    /// The slot of a layer's output.
    fn output(&mut self, id: LayerId, precision: Precision) -> SlotId {
        let len = self.batch * self.shapes[id.0].len();
        self.slot(self.graph.layer(id).name.clone(), len, precision)
    }

    /// The slot that the images are written to.
    pub(crate) fn input(&mut self, id: LayerId) -> SlotId {
        self.output(id, self.precision)
    }

    /// The same numbers in f32, by a step of its own where they are stored otherwise.
    pub(crate) fn widened(&mut self, id: LayerId, x: SlotId) -> SlotId {
        let slot = &self.slots[x.0];
        if slot.precision == Precision::F32 {
            return x;
        }
        let (name, len) = (format!("{} in f32", slot.name), slot.len);
        let y = self.slot(name, len, Precision::F32);
        self.steps.push(Step {
            layer: id,
            fused: Vec::new(),
            kind: StepKind::Widen,
            reads: vec![x],
            writes: vec![y],
        });
        y
    }

    /// Whether a norm takes the batch's statistics and is trained.
    pub(crate) fn trains_norm(&self, id: LayerId) -> bool {
        self.train && !self.frozen_norm && id.0 >= self.frozen_layers
    }

    /// Slot and shape of a layer's `index`-th input.
    pub(crate) fn operand(&self, id: LayerId, index: usize) -> (SlotId, Shape) {
        let input = self.graph.layer(id).inputs[index];
        (self.outputs[input.0], self.shapes[input.0])
    }

    /// How a slot's numbers are stored.
    pub(crate) fn precision_of(&self, slot: SlotId) -> Precision {
        self.slots[slot.0].precision
    }

    /// Slot of a layer's parameter.
    pub(crate) fn param(&self, id: LayerId, suffix: &'static str) -> SlotId {
        self.params[&(id, suffix)]
    }

    /// A slot that a forward step fills for its backward step.
    pub(crate) fn saved(&mut self, id: LayerId, what: &str, len: usize) -> SlotId {
        let name = format!("{}.{what}", self.graph.layer(id).name);
        self.slot(name, len, Precision::F32)
    }

    /// Appends the step that computes a layer, and returns the slot of its output, which is stored
    /// as its first input is.
    pub(crate) fn step(&mut self, id: LayerId, kind: StepKind, reads: Vec<SlotId>) -> SlotId {
        let precision = match kind {
            StepKind::GlobalAvgPool { .. } => Precision::F32,
            _ => self.slots[reads[0].0].precision,
        };
        let y = self.output(id, precision);
        self.steps.push(Step { layer: id, fused: Vec::new(), kind, reads, writes: vec![y] });
        y
    }

    /// Adds slots to what the last step writes.
    pub(crate) fn also_writes(&mut self, slots: &[SlotId]) {
        let step = self.steps.last_mut().expect("a step was appended before");
        step.writes.extend_from_slice(slots);
    }
}

/// Appends backward steps, and keeps track of which slot holds which gradient.
pub(crate) struct Differentiate<'a> {
    /// The network.
    pub(crate) graph: &'a Graph,
    /// Images in a batch.
    pub(crate) batch: usize,
    pub(crate) slots: Vec<Slot>,
    pub(crate) steps: Vec<Step>,
    /// Gradient of each slot that has one.
    pub(crate) gradients: HashMap<SlotId, SlotId>,
    /// How many forward steps read each slot.
    pub(crate) readers: HashMap<SlotId, usize>,
    /// Slots that depend on something whose gradient is wanted; nobody needs the gradient of
    /// another, such as the images'.
    pub(crate) live: HashSet<SlotId>,
}

impl Differentiate<'_> {
    /// Slot of the gradient of `y`, if any later step contributed to it.
    pub(crate) fn gradient_of(&self, y: SlotId) -> Option<SlotId> {
        self.gradients.get(&y).copied()
    }

    /// Where the gradient of `x` goes, and whether it is added to earlier contributions; `None`
    /// where nobody needs it.
    pub(crate) fn sink(&mut self, x: SlotId) -> Option<(SlotId, bool)> {
        if !self.live.contains(&x) {
            return None;
        }
        if let Some(&dx) = self.gradients.get(&x) {
            return Some((dx, true));
        }
        let dx = self.discard(x);
        self.gradients.insert(x, dx);
        Some((dx, false))
    }

    /// A slot as large as `x` for a gradient that nobody reads.
    pub(crate) fn discard(&mut self, x: SlotId) -> SlotId {
        let x = &self.slots[x.0];
        let name = format!("d {}", x.name);
        let slot = Slot::new(name, Space::Activation, x.len, x.precision);
        self.slots.push(slot);
        SlotId(self.slots.len() - 1)
    }

    /// Lets `dy` be the gradient of `x` as it stands, where the step at hand is `x`'s only reader:
    /// then nothing is ever added to it.
    pub(crate) fn share(&mut self, x: SlotId, dy: SlotId) -> bool {
        let alone = self.live.contains(&x) && self.readers[&x] == 1;
        if alone {
            self.gradients.insert(x, dy);
        }
        alone
    }

    /// Slot of a parameter's gradient, if it is trained.
    pub(crate) fn param_gradient(&self, param: SlotId) -> Option<SlotId> {
        self.gradients.get(&param).copied()
    }

    /// Appends a step.
    pub(crate) fn step(
        &mut self,
        layer: LayerId,
        kind: StepKind,
        reads: Vec<SlotId>,
        writes: Vec<SlotId>,
    ) {
        self.steps.push(Step { layer, fused: Vec::new(), kind, reads, writes });
    }
}
