//! What each step of a plan launches: one file an operation.

mod conv;
mod elementwise;
mod gemm;
mod loss;
mod norm;
mod pool;
mod reduce;
mod update;

use std::ops::Range;

use resnet_engine::plan::Plan;
use resnet_engine::step::{Precision, Residual, SlotId, Step, StepKind};

use crate::kernel::{Kernel, Of};

pub(crate) use reduce::finite;

/// The kernels of one step, in order, and the words of scratch that they share.
pub(crate) struct Launches<'a> {
    plan: &'a Plan,
    step: &'a Step,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) scratch: usize,
    /// The parts of spans of one length that kernels can see.
    split: &'a Split<'a>,
}

/// Cuts spans of one length where one of them passes from a buffer to the next, or is too long.
pub(crate) type Split<'a> = dyn Fn(&[SlotId]) -> Vec<Range<usize>> + 'a;

/// What launches a step.
pub(crate) fn launches<'a>(plan: &'a Plan, step: &'a Step, split: &'a Split<'a>) -> Launches<'a> {
    let mut to = Launches { plan, step, kernels: Vec::new(), scratch: 0, split };
    match step.kind {
        StepKind::Conv { conv, bias } => conv::forward(&mut to, conv, bias),
        StepKind::ConvNorm { conv, norm } => conv::forward_norm(&mut to, conv, norm),
        StepKind::Linear(linear) => conv::linear(&mut to, linear),
        StepKind::ConvBackwardInput { conv, accumulate } => {
            conv::backward_input(&mut to, conv, accumulate);
        }
        StepKind::ConvBackwardWeight { conv, bias } => conv::backward_weight(&mut to, conv, bias),
        StepKind::LinearBackwardInput { linear, accumulate } => {
            conv::backward_input(&mut to, conv::of_linear(linear), accumulate);
        }
        StepKind::LinearBackwardWeight(linear) => {
            conv::backward_weight(&mut to, conv::of_linear(linear), true);
        }
        StepKind::Norm(norm) if norm.train => norm::train(&mut to, norm),
        StepKind::Norm(norm) => norm::infer(&mut to, norm),
        StepKind::NormAgain(norm) => norm::again(&mut to, norm),
        StepKind::NormBackward(grad) => norm::backward(&mut to, grad),
        StepKind::NormScale { channels, eps } => norm::scale(&mut to, channels, eps),
        StepKind::Relu => elementwise::relu(&mut to),
        StepKind::ReluBackward { accumulate } => elementwise::relu_backward(&mut to, accumulate),
        StepKind::Add { channels, residual, relu } => {
            elementwise::add(&mut to, channels, residual, relu);
        }
        StepKind::AddBackward(grad) => elementwise::add_backward(&mut to, grad),
        StepKind::Widen => elementwise::widen(&mut to, false),
        StepKind::WidenBackward { accumulate } => elementwise::widen(&mut to, accumulate),
        StepKind::MaxPool(pool) => pool::max(&mut to, pool),
        StepKind::MaxPoolBackward { pool, accumulate } => {
            pool::max_backward(&mut to, pool, accumulate);
        }
        StepKind::AvgPool(pool) => pool::avg(&mut to, pool),
        StepKind::AvgPoolBackward { pool, accumulate } => {
            pool::avg_backward(&mut to, pool, accumulate);
        }
        StepKind::GlobalAvgPool { pixels, c, .. } => pool::global(&mut to, pixels, c),
        StepKind::GlobalAvgPoolBackward { pixels, c, accumulate, .. } => {
            pool::global_backward(&mut to, pixels, c, accumulate);
        }
        StepKind::SoftmaxCrossEntropy { n, classes, smoothing } => {
            loss::softmax_cross_entropy(&mut to, n, classes, smoothing);
        }
        StepKind::Accumulate => update::accumulate(&mut to),
        StepKind::Keep => update::keep(&mut to),
        StepKind::Clear => update::clear(&mut to),
        StepKind::Update(update) => update::update(&mut to, update),
        StepKind::Average => update::average(&mut to),
    }
    to
}

/// Why a step cannot run here.
pub(crate) fn refusal(plan: &Plan, step: &Step) -> Option<String> {
    let stores_pairs = plan.slots[step.writes.first()?.0].precision == Precision::Bf16;
    match step.kind {
        StepKind::Conv { conv, .. } | StepKind::ConvNorm { conv, .. } if stores_pairs => {
            conv::refusal(conv, false)
        }
        StepKind::ConvBackwardInput { conv, .. } if stores_pairs => conv::refusal(conv, true),
        _ => None,
    }
}

impl Launches<'_> {
    /// The slot of the `i`-th operand that is read.
    fn reads(&self, i: usize) -> SlotId {
        self.step.reads[i]
    }

    /// The slot of the `i`-th operand that is written.
    fn writes(&self, i: usize) -> SlotId {
        self.step.writes[i]
    }

    /// Numbers of a slot.
    fn len(&self, slot: SlotId) -> usize {
        self.plan.slots[slot.0].len
    }

    fn precision(&self, slot: SlotId) -> Precision {
        self.plan.slots[slot.0].precision
    }

    /// Words for what kernels of this step hand on.
    fn scratch(&mut self, len: usize) -> Range<usize> {
        let start = self.scratch.next_multiple_of(64);
        self.scratch = start + len;
        start..start + len
    }

    fn push(&mut self, kernel: Kernel) {
        self.kernels.push(kernel);
    }

    /// Adds a slot to a kernel's operands.
    fn with(&self, kernel: Kernel, name: &'static str, slot: SlotId) -> Kernel {
        kernel.operand(name, Of::Slot(slot, 0..self.len(slot)), self.precision(slot))
    }

    /// Adds slots by name.
    fn with_all(&self, kernel: Kernel, slots: &[(&'static str, SlotId)]) -> Kernel {
        slots.iter().fold(kernel, |kernel, (name, slot)| self.with(kernel, name, *slot))
    }
}

/// Adds scratch to a kernel's operands.
fn with_scratch(kernel: Kernel, name: &'static str, words: &Range<usize>) -> Kernel {
    kernel.operand(name, Of::Scratch(words.clone()), Precision::F32)
}

/// `v` with what stands at `y(i)`, where it is added to.
fn added(accumulate: bool, y: &str) -> String {
    if accumulate { format!("v = v + {y}(i);") } else { String::new() }
}

/// `v` of element `i` and channel `c` with a residual and a ReLU behind it, where there are some.
/// The operand is `residual`, the constants are those of [`residual_constants`].
fn tail(residual: Option<Residual>, relu: bool) -> String {
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
fn residual_constants(kernel: Kernel, residual: Option<Residual>) -> Kernel {
    match residual {
        None => kernel,
        Some(Residual { channels, offset }) => {
            kernel.constant("r_channels", channels).constant("r_offset", offset)
        }
    }
}
