//! Runs plans. A backend sees steps and slots, never a network; another device is a second way to
//! run the same plan.

mod cpu;

use std::ops::Range;

use crate::plan::Plan;
use crate::step::{SlotId, Space};

pub use cpu::{Cpu, Kernel, isa_in_use, kernels, precision};

/// A plan needs more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the network needs {:.1} GiB of memory for batches of {batch}, which the system does not give; use a smaller batch or smaller images",
    *.bytes as f64 / f64::from(1u32 << 30)
)]
pub struct NoMemory {
    /// What it needs.
    pub bytes: u64,
    /// Images in a batch of the plan.
    pub batch: usize,
}

/// Threads that compute: as many as asked for, or one a core for 0.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.min(MOST_THREADS),
    }
}

/// Most threads that are of use.
const MOST_THREADS: usize = 1024;

/// What a machine can do at best.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Floating-point operations a second, two a multiply-add, all threads, f32 operands in
    /// registers.
    pub flops: f64,
    /// The same of bf16 operands from the first-level cache, where the CPU multiplies them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bf16_flops: Option<f64>,
    /// Bytes a second between memory and all threads, read and written.
    pub bandwidth: f64,
}

/// Stochastic gradient descent in PyTorch's form:
/// g = dw + weight_decay w;  v = momentum v + g;  w -= lr (nesterov ? g + momentum v : v).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum.
    pub momentum: f32,
    /// Weight decay of weight matrices.
    pub weight_decay: f32,
    /// Whether norms and biases decay too.
    pub decay_norm_bias: bool,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Factor on the learning rate of the layers before the head, where a plan tells stages apart.
    pub backbone: f32,
    /// A further factor for each stage between them and the head.
    pub stage: f32,
}

impl Sgd {
    /// The learning rate of a stage so many below the head, which is 0.
    pub fn rate(&self, below: usize) -> f32 {
        match below {
            0 => self.lr,
            1.. => self.lr * self.backbone * self.stage.powi(below as i32 - 1),
        }
    }
}

/// A device that runs a plan.
pub trait Backend {
    /// The plan it was prepared for.
    fn plan(&self) -> &Plan;

    /// Runs some of the plan's steps.
    fn run(&mut self, steps: Range<usize>);

    /// Sets the labels that the loss reads, one an image.
    fn set_labels(&mut self, labels: &[u32]);

    /// Sets what the update steps do.
    fn set_optimizer(&mut self, sgd: Sgd);

    /// Copies numbers into a slot, rounded where it stores fewer digits; the lengths must agree.
    fn write(&mut self, slot: SlotId, from: &[f32]);

    /// Copies a slot out; the lengths must agree.
    fn read(&self, slot: SlotId, into: &mut [f32]);

    /// Whether a whole space that is f32 throughout, any but the activations, holds only finite
    /// numbers.
    fn all_finite(&self, space: Space) -> bool;
}
