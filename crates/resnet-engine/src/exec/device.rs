//! What a device is, and what it prepares: the traits that a second device implements.

use std::ops::Range;
use std::sync::Arc;

use super::error::ExecError;
use crate::plan::Plan;
use crate::step::{Precision, SlotId, Space};

/// Something that runs plans. All that it prepares share its threads.
pub trait Device: Send + Sync {
    /// The kind of device: `cpu` or `gpu`.
    fn name(&self) -> &'static str;

    /// What computes: a CPU's instruction set, or what a GPU is called.
    fn about(&self) -> String;

    /// Threads of the host that it uses.
    fn threads(&self) -> usize;

    /// How it is best to store maps, and why.
    fn precision(&self) -> (Precision, &'static str);

    /// What it can do at best; measured now, which takes a while.
    fn limits(&self) -> Limits;

    /// What runs each step of a plan, without taking memory for it.
    fn kernels(&self, plan: &Plan) -> Vec<Kernel>;

    /// Takes memory for a plan; weights, sums and what update rules keep are zero.
    ///
    /// # Errors
    /// There is not enough memory.
    fn prepare(&self, plan: Arc<Plan>, keep: Keep) -> Result<Box<dyn Backend>, ExecError>;
}

/// What becomes of weights that are written to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They can be read back.
    Values,
    /// Where the plan does not train, only what its kernels read is kept: no number is in memory
    /// twice, and weights cannot be read back.
    Packed,
}

/// A plan on a device: weights, which [forks](Backend::fork) share, and an arena of its own.
pub trait Backend: Send {
    /// The plan it was prepared for.
    fn plan(&self) -> &Arc<Plan>;

    /// Runs some of the plan's steps.
    ///
    /// # Errors
    /// The device fails, or a step changes weights that are shared.
    fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError>;

    /// Waits until all that was run is done; a device may go on while its caller does.
    ///
    /// # Errors
    /// The device fails.
    fn wait(&self) -> Result<(), ExecError> {
        Ok(())
    }

    /// Runs some of the plan's steps, and tells the seconds that each took by the device's own
    /// clock; none where it has no such clock.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn run_timed(&mut self, _steps: Range<usize>) -> Result<Option<Vec<f64>>, ExecError> {
        Ok(None)
    }

    /// Sets what update steps do from now on.
    fn set_rates(&mut self, rates: Rates);

    /// Copies numbers into a slot, rounded where it stores fewer digits; the lengths must agree.
    ///
    /// # Errors
    /// The device fails, or the slot is of weights that are shared.
    fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError>;

    /// Copies a slot out; the lengths must agree.
    ///
    /// # Errors
    /// The device fails, or the slot is of weights that were not kept.
    fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError>;

    /// A number about a slot.
    ///
    /// # Errors
    /// As [`Backend::read`].
    fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError>;

    /// Whether a whole space that is f32 throughout, any but the activations, holds only finite
    /// numbers.
    ///
    /// # Errors
    /// As [`Backend::read`].
    fn all_finite(&self, space: Space) -> Result<bool, ExecError>;

    /// Another backend on the same weights, for the same plan or another one that
    /// [shares weights](Plan::shares_weights_with) with it. While both are there, neither changes
    /// them.
    ///
    /// # Errors
    /// There is not enough memory, or the plan's weights are other ones.
    fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Box<dyn Backend>, ExecError>;

    /// Whether the next runs may use all threads of the device (at first they may) or the caller's
    /// alone, so that several backends run beside each other. The results are the same bits.
    fn set_gang(&mut self, all: bool);
}

/// What changes from one update to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub lr: f32,
    /// Factor on gradients.
    pub scale: f32,
    /// How far averages go towards the present values: a = a + average (w - a).
    pub average: f32,
}

/// A number about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// 1 if all numbers are finite, else 0.
    Finite,
    /// The sum.
    Sum,
    /// The sum of squares.
    Squares,
    /// In how many channels, the slot's last dimension, no number is positive.
    Dead {
        /// Channels.
        channels: usize,
    },
}

/// What a machine can do at best.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Floating-point operations a second, two a multiply-add, all threads, f32 operands in
    /// registers.
    pub flops: f64,
    /// The same of bf16 operands from the first-level cache, where they are multiplied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bf16_flops: Option<f64>,
    /// Bytes a second between memory and all threads, read and written.
    pub bandwidth: f64,
}

/// What runs a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Of a convolution: operation, precision, register tile, instruction set; else the instruction
    /// set.
    pub name: String,
    /// Whether its products are of bf16 numbers, for which the device has instructions of their
    /// own.
    pub multiplies_bf16: bool,
}
