//! A plan: steps over planned memory.

use std::ops::Range;

use super::options::Options;
use crate::graph::{LayerId, Shape};
use crate::op::Param;
use crate::step::{LossSlots, Memory, Slot, SlotId, Space, Step};

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

/// Gradients of parameters that lie side by side, of a plan that sums them over shards.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// All of them.
    pub grad: SlotId,
    /// Where sums of them are put aside, by place.
    pub aside: Vec<SlotId>,
    /// The step of the backward pass before which the last of them is made.
    pub made: usize,
    /// The first step of its sums.
    pub(super) first: usize,
}

impl Bucket {
    /// The step that adds the sum at a place to the gradients.
    pub fn add(&self, place: usize) -> Range<usize> {
        self.first + 2 * place..self.first + 2 * place + 1
    }

    /// The step that puts the gradients aside at a place.
    pub fn keep(&self, place: usize) -> Range<usize> {
        self.first + 2 * place + 1..self.first + 2 * place + 2
    }
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
    /// Gradients by when the backward pass has made them, where they are summed over shards.
    pub buckets: Vec<Bucket>,
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
