//! The data that plans are made of.

use std::fmt;

use super::kind::StepKind;
use crate::graph::LayerId;

/// Index of a slot in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub usize);

/// A kind of memory. Each is one contiguous region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Trained parameters.
    Param,
    /// Running statistics, and parameters that are not trained.
    State,
    /// Gradients of the trained parameters, in their order.
    Grad,
    /// Sums of those over the batches of a step, in the same order.
    Sum,
    /// What the update rule keeps: for each of its buffers all parameters, in the same order.
    Optimizer,
    /// Moving averages of parameters, then of state, in the orders of both.
    Average,
    /// Everything that lives within one step of training: maps, their gradients, saved statistics.
    Activation,
}

impl Space {
    /// All spaces in memory order.
    pub const ALL: [Space; 7] = [
        Space::Param,
        Space::State,
        Space::Grad,
        Space::Sum,
        Space::Optimizer,
        Space::Average,
        Space::Activation,
    ];

    /// The piece of memory that it is a region of.
    pub const fn memory(self) -> Memory {
        match self {
            Space::Param | Space::State => Memory::Weights,
            _ => Memory::Arena,
        }
    }
}

/// A piece of memory, with offsets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// What a model is: executors of one model share it.
    Weights,
    /// What running it takes: each executor has its own.
    Arena,
}

/// How numbers are stored; what is computed from them is f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Their upper halves. Sums are f32; weights may be rounded to them as well before they are
    /// multiplied.
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
    /// First word, counted from the start of its memory; set when memory is laid out.
    pub offset: usize,
}

impl Slot {
    /// A slot that has no place yet.
    pub(crate) fn new(name: String, space: Space, len: usize, precision: Precision) -> Slot {
        Slot { name, space, len, precision, offset: 0 }
    }

    /// Words of 32 bits that it takes.
    pub fn words(&self) -> usize {
        (self.len * self.precision.bytes()).div_ceil(4)
    }
}

/// The slots of a loss beside the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossSlots {
    /// What is wanted, `[batch, classes]`; each row adds up to 1.
    pub target: SlotId,
    /// How much each image counts, `[batch]`.
    pub weight: SlotId,
    /// What the weighted losses are divided by, one number: the sum of the weights, of all batches
    /// of a step.
    pub total: SlotId,
    /// One weighted loss an image, `[batch]`, not divided.
    pub losses: SlotId,
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
