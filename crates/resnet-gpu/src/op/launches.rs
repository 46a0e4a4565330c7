//! What the kernels of a step are made with.

use std::ops::Range;

use resnet_engine::plan::Plan;
use resnet_engine::step::{Precision, Residual, SlotId, Step};

use crate::kernel::{Kernel, Of};

/// The kernels of one step, in order, and the words of scratch that they share.
pub(crate) struct Launches<'a> {
    plan: &'a Plan,
    step: &'a Step,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) scratch: usize,
    /// The parts of spans of one length that kernels can see.
    pub(super) split: &'a Split<'a>,
}

/// Cuts spans of one length where one of them passes from a buffer to the next, or is too long.
pub(crate) type Split<'a> = dyn Fn(&[SlotId]) -> Vec<Range<usize>> + 'a;

impl<'a> Launches<'a> {
    pub(super) fn new(plan: &'a Plan, step: &'a Step, split: &'a Split<'a>) -> Launches<'a> {
        Launches { plan, step, kernels: Vec::new(), scratch: 0, split }
    }
}

impl Launches<'_> {
    /// The slot of the `i`-th operand that is read.
    pub(super) fn reads(&self, i: usize) -> SlotId {
        self.step.reads[i]
    }

    /// The slot of the `i`-th operand that is written.
    pub(super) fn writes(&self, i: usize) -> SlotId {
        self.step.writes[i]
    }

    /// Numbers of a slot.
    pub(super) fn len(&self, slot: SlotId) -> usize {
        self.plan.slots[slot.0].len
    }

    pub(super) fn precision(&self, slot: SlotId) -> Precision {
        self.plan.slots[slot.0].precision
    }

    /// Words for what kernels of this step hand on.
    pub(super) fn scratch(&mut self, len: usize) -> Range<usize> {
        let start = self.scratch.next_multiple_of(64);
        self.scratch = start + len;
        start..start + len
    }

    pub(super) fn push(&mut self, kernel: Kernel) {
        self.kernels.push(kernel);
    }

    /// Adds a slot to a kernel's operands.
    pub(super) fn with(&self, kernel: Kernel, name: &'static str, slot: SlotId) -> Kernel {
        kernel.operand(name, Of::Slot(slot, 0..self.len(slot)), self.precision(slot))
    }

    /// Adds slots by name.
    pub(super) fn with_all(&self, kernel: Kernel, slots: &[(&'static str, SlotId)]) -> Kernel {
        slots.iter().fold(kernel, |kernel, (name, slot)| self.with(kernel, name, *slot))
    }
}

/// Adds scratch to a kernel's operands.
pub(super) fn with_scratch(kernel: Kernel, name: &'static str, words: &Range<usize>) -> Kernel {
    kernel.operand(name, Of::Scratch(words.clone()), Precision::F32)
}

/// `v` with what stands at `y(i)`, where it is added to.
pub(super) fn added(accumulate: bool, y: &str) -> String {
    if accumulate { format!("v = v + {y}(i);") } else { String::new() }
}

/// `v` of element `i` and channel `c` with a residual and a ReLU behind it, where there are some.
/// The operand is `residual`, the constants are those of [`residual_constants`].
pub(super) fn tail(residual: Option<Residual>, relu: bool) -> String {
    let mut text = String::new();
    if residual.is_some() {
        // What begins at a later channel wraps and is no less.
        text += "let r = c - p.r_offset;
    if (r < p.r_channels) { v = v + residual((i / p.channels) * p.r_channels + r); }\n";
    }
    if relu {
        text += "    v = relu_of(v);";
    }
    text
}

/// The constants of [`tail`].
pub(super) fn residual_constants(kernel: Kernel, residual: Option<Residual>) -> Kernel {
    match residual {
        None => kernel,
        Some(Residual { channels, offset }) => {
            kernel.constant("r_channels", channels).constant("r_offset", offset)
        }
    }
}
