//! Steps and slots: what a plan is made of, and the two builders that operations append to.
//!
//! A step is one kernel launch; a slot is a piece of memory it reads or writes. Both are plain data: a backend needs
//! nothing else, and never sees a network.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::graph::{Graph, LayerId, Shape};

/// Index of a slot in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub usize);

/// A kind of memory. Each is one contiguous region, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Trained parameters.
    Param,
    /// Their gradients, in the same order.
    Grad,
    /// Their momentum buffers, in the same order.
    Momentum,
    /// Running statistics.
    State,
    /// Everything that lives within one step of training: maps, their gradients, saved statistics.
    Activation,
}

impl Space {
    /// All spaces in memory order.
    pub const ALL: [Space; 5] = [
        Space::Param,
        Space::Grad,
        Space::Momentum,
        Space::State,
        Space::Activation,
    ];
}

/// How numbers are stored; what is computed from them is f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Their upper halves. A convolution multiplies such numbers, its weights rounded to them as well, and sums in f32.
    Bf16,
}

impl Precision {
    /// Its name: `f32` or `bf16`.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A piece of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What it holds, such as `layer1.0.conv1` or `d layer1.0.conv1`.
    pub name: String,
    /// Where it lives.
    pub space: Space,
    /// Numbers it holds.
    pub len: usize,
    /// How they are stored.
    pub precision: Precision,
    /// First word, counted from the start of the plan's memory; set when memory is laid out.
    pub offset: usize,
}

impl Slot {
    /// A slot that has no place yet.
    pub(crate) fn new(name: String, space: Space, len: usize, precision: Precision) -> Slot {
        Slot {
            name,
            space,
            len,
            precision,
            offset: 0,
        }
    }

    /// Words of 32 bits that it takes.
    pub fn words(&self) -> usize {
        (self.len * self.precision.bytes()).div_ceil(4)
    }
}

/// A convolution over a batch; the formula stands in the module of that operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Conv {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Conv {
    /// Multiply-adds over the whole batch, the same for each of the three passes.
    pub fn macs(&self) -> u64 {
        let side = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        let outputs = self.n * side(self.h) * side(self.w) * self.c_out;
        (outputs * (self.c_in / self.groups) * self.kernel * self.kernel) as u64
    }
}

/// A square pool over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Pool {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// A linear layer over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Linear {
    pub n: usize,
    pub c_in: usize,
    pub c_out: usize,
}

/// The narrower or equal operand of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Residual {
    /// Its channels.
    pub channels: usize,
    /// The output channel at which they begin.
    pub offset: usize,
}

/// Batch norm with what follows it: y = relu(norm(x) + residual).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
    /// PyTorch's momentum of the running statistics.
    pub momentum: f32,
    /// The map added after the norm, if any.
    pub residual: Option<Residual>,
    /// Whether a ReLU ends the step.
    pub relu: bool,
    /// Whether the batch's statistics are used (and the running ones updated).
    pub train: bool,
}

/// Gradient of a [`Norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormGrad {
    /// The forward step.
    pub norm: Norm,
    /// Whether dx is added to what is there.
    pub accumulate: bool,
    /// Where the residual's gradient is wanted: whether it is added to what is there.
    pub residual: Option<bool>,
}

/// Gradient of an addition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddGrad {
    /// Channels of the output.
    pub channels: usize,
    /// The second operand.
    pub residual: Residual,
    /// Whether the step ended in a ReLU.
    pub relu: bool,
    /// Where the first operand's gradient is wanted: whether it is added to what is there.
    pub a: Option<bool>,
    /// The same for the second.
    pub b: Option<bool>,
}

/// What a step computes, with the slots it reads and writes in order; `[]` marks those that depend on the fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepKind {
    /// `x, w, [bias] -> y`
    Conv {
        /** The shape. */
        conv: Conv,
        /** Whether a bias is read. */
        bias: bool,
    },
    /// `x, w, gamma, beta, running mean, running var, [residual] -> y`, where nothing is differentiated
    ConvNorm {
        /** The shape. */
        conv: Conv,
        /** What its sums go through before they are written; the residual has all channels. */
        norm: Norm,
    },
    /// `x, gamma, beta, [running mean, running var], [residual] -> y, [mean, rstd, running mean, running var]`
    Norm(Norm),
    /// `x, gamma, beta, mean, rstd, [residual] -> y`: the output of a norm that trains, in the backward pass
    NormAgain(Norm),
    /// `x -> y`
    Relu,
    /// `a, b -> y`
    Add {
        /** Channels of a and y. */
        channels: usize,
        /** b. */
        residual: Residual,
        /** Whether a ReLU ends it. */
        relu: bool,
    },
    /// `x -> y`
    MaxPool(Pool),
    /// `x -> y`
    AvgPool(Pool),
    /// `x -> y`: the same numbers in f32
    Widen,
    /// `x -> y`, in f32
    GlobalAvgPool {
        /** Images. */
        n: usize,
        /** Pixels of a map. */
        pixels: usize,
        /** Channels. */
        c: usize,
    },
    /// `x, w, b -> y`
    Linear(Linear),
    /// `logits -> losses, dlogits`
    SoftmaxCrossEntropy {
        /** Images. */
        n: usize,
        /** Classes. */
        classes: usize,
        /** Label smoothing. */
        smoothing: f32,
    },
    /// `dy, w -> dx`
    ConvBackwardInput {
        /** The forward shape. */
        conv: Conv,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `x, dy -> dw, [db]`
    ConvBackwardWeight {
        /** The forward shape. */
        conv: Conv,
        /** Whether db is written. */
        bias: bool,
    },
    /// `dy, x, gamma, mean, rstd, [y] -> dx, dgamma, dbeta, [dresidual]`
    NormBackward(NormGrad),
    /// `dy, gamma, running var -> dx`: through a norm whose statistics are fixed
    NormScale {
        /** Channels. */
        channels: usize,
        /** Added to the variance. */
        eps: f32,
    },
    /// `dy, y -> dx`
    ReluBackward {
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy, [y] -> [da], [db]`
    AddBackward(AddGrad),
    /// `x, dy -> dx`
    MaxPoolBackward {
        /** The forward shape. */
        pool: Pool,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`
    AvgPoolBackward {
        /** The forward shape. */
        pool: Pool,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`: of f32 to x's precision
    WidenBackward {
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`
    GlobalAvgPoolBackward {
        /** Images. */
        n: usize,
        /** Pixels of a map. */
        pixels: usize,
        /** Channels. */
        c: usize,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy, w -> dx`
    LinearBackwardInput {
        /** The forward shape. */
        linear: Linear,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `x, dy -> dw, db`
    LinearBackwardWeight(Linear),
    /// `gradients -> parameters, momentum buffers`
    Sgd {
        /** Whether they always decay: weights do, norms and biases only where asked. */
        weights: bool,
        /** Stages below the head, whose learning rate may be lower; 0 is the head, or all where stages do not count. */
        below: usize,
    },
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The layer it computes; of several fused, the first.
    pub layer: LayerId,
    /// Layers fused into it.
    pub fused: Vec<LayerId>,
    /// What it computes.
    pub kind: StepKind,
    /// What it reads.
    pub reads: Vec<SlotId>,
    /// What it writes.
    pub writes: Vec<SlotId>,
}

/// Appends forward steps.
pub struct Lower<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Images in a batch.
    pub batch: usize,
    /// Whether the plan trains.
    pub train: bool,
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

    /// Slot of a layer's parameter.
    pub(crate) fn param(&self, id: LayerId, suffix: &'static str) -> SlotId {
        self.params[&(id, suffix)]
    }

    /// A slot that a forward step fills for its backward step.
    pub(crate) fn saved(&mut self, id: LayerId, what: &str, len: usize) -> SlotId {
        let name = format!("{}.{what}", self.graph.layer(id).name);
        self.slot(name, len, Precision::F32)
    }

    /// Appends the step that computes a layer, and returns the slot of its output, which is stored as its first input is.
    pub(crate) fn step(&mut self, id: LayerId, kind: StepKind, reads: Vec<SlotId>) -> SlotId {
        let precision = match kind {
            StepKind::GlobalAvgPool { .. } => Precision::F32,
            _ => self.slots[reads[0].0].precision,
        };
        let y = self.output(id, precision);
        self.steps.push(Step {
            layer: id,
            fused: Vec::new(),
            kind,
            reads,
            writes: vec![y],
        });
        y
    }

    /// Adds slots to what the last step writes.
    pub(crate) fn also_writes(&mut self, slots: &[SlotId]) {
        let step = self.steps.last_mut().expect("a step was appended before");
        step.writes.extend_from_slice(slots);
    }
}

/// Appends backward steps, and keeps track of which slot holds which gradient.
pub struct Differentiate<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Images in a batch.
    pub batch: usize,
    pub(crate) slots: Vec<Slot>,
    pub(crate) steps: Vec<Step>,
    /// Gradient of each slot that has one.
    pub(crate) gradients: HashMap<SlotId, SlotId>,
    /// How many forward steps read each slot.
    pub(crate) readers: HashMap<SlotId, usize>,
    /// Slots that depend on something whose gradient is wanted; nobody needs the gradient of another, such as the images'.
    pub(crate) live: HashSet<SlotId>,
}

impl Differentiate<'_> {
    /// Slot of the gradient of `y`, if any later step contributed to it.
    pub(crate) fn gradient_of(&self, y: SlotId) -> Option<SlotId> {
        self.gradients.get(&y).copied()
    }

    /// Where the gradient of `x` goes, and whether it is added to earlier contributions; `None` where nobody needs it.
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

    /// Lets `dy` be the gradient of `x` as it stands, where the step at hand is `x`'s only reader: then nothing is ever
    /// added to it.
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
        self.steps.push(Step {
            layer,
            fused: Vec::new(),
            kind,
            reads,
            writes,
        });
    }
}
