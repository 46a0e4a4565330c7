//! What everybody above holds: images and targets in, logits, losses and gradients out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::device::{Backend, Device, Keep, Rates, Reduce};
use super::error::ExecError;
use crate::plan::Plan;
use crate::step::{LossSlots, SlotId, Space};

/// A plan on a device, with its weights.
pub struct Session {
    backend: Box<dyn Backend>,
    plan: Arc<Plan>,
}

/// What a batch is to become.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `[batch, classes]`, each row adding up to 1.
    pub target: &'a [f32],
    /// How much each image counts, `[batch]`.
    pub weight: &'a [f32],
    /// What weighted losses are divided by: the sum of the weights.
    pub total: f32,
}

impl Session {
    /// A plan on a device; weights are zero at first, and can be read back.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(device: &dyn Device, plan: impl Into<Arc<Plan>>) -> Result<Session, ExecError> {
        Ok(Session::of(device.prepare(plan.into(), Keep::Values)?))
    }

    /// The same for a plan that only infers: weights that are written are kept as its kernels read
    /// them, and cannot be read back.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn to_run(device: &dyn Device, plan: impl Into<Arc<Plan>>) -> Result<Session, ExecError> {
        Ok(Session::of(device.prepare(plan.into(), Keep::Packed)?))
    }

    fn of(backend: Box<dyn Backend>) -> Session {
        Session { plan: backend.plan().clone(), backend }
    }

    /// Another session on the same weights: see [`Backend::fork`].
    ///
    /// # Errors
    /// As there.
    pub fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Session, ExecError> {
        Ok(Session::of(self.backend.fork(plan)?))
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Whether runs use all threads of the device or the caller's alone: see [`Backend::set_gang`].
    pub fn set_gang(&mut self, all: bool) {
        self.backend.set_gang(all);
    }

    /// Logits `[batch, classes]` of images `[batch, h, w, c]`.
    ///
    /// # Errors
    /// The device fails.
    pub fn infer(&mut self, x: &[f32], logits: &mut [f32]) -> Result<(), ExecError> {
        self.backend.write(self.plan.input, x)?;
        self.backend.run(self.plan.forward.clone())?;
        self.backend.read(self.plan.logits, logits)
    }

    /// Writes a batch: images `[batch, h, w, c]` and what they are to become.
    ///
    /// # Errors
    /// The device fails.
    ///
    /// # Panics
    /// If the plan does not train.
    pub fn feed(&mut self, x: &[f32], target: Target<'_>) -> Result<(), ExecError> {
        let loss = self.loss();
        self.backend.write(self.plan.input, x)?;
        self.backend.write(loss.target, target.target)?;
        self.backend.write(loss.weight, target.weight)?;
        self.backend.write(loss.total, &[target.total])
    }

    /// The forward pass, the loss included.
    ///
    /// # Errors
    /// The device fails.
    pub fn forward(&mut self) -> Result<(), ExecError> {
        self.backend.run(self.plan.forward.clone())
    }

    /// The backward pass.
    ///
    /// # Errors
    /// The device fails.
    pub fn backward(&mut self) -> Result<(), ExecError> {
        self.backend.run(self.plan.backward.clone())
    }

    /// Adds the gradients to the sums of a step, where the plan sums several batches.
    ///
    /// # Errors
    /// The device fails.
    pub fn accumulate(&mut self) -> Result<(), ExecError> {
        self.backend.run(self.plan.accumulate.clone())
    }

    /// Changes the weights along the gradients or their sums, and the averages after them.
    ///
    /// # Errors
    /// The device fails, or another session shares the weights.
    pub fn update(&mut self, rates: Rates) -> Result<(), ExecError> {
        self.set_rates(rates);
        self.backend.run(self.plan.update.clone())
    }

    /// Sum of the batch's weighted losses, not divided by their total.
    ///
    /// # Errors
    /// The device fails.
    ///
    /// # Panics
    /// If the plan does not train.
    pub fn sum_of_losses(&self) -> Result<f64, ExecError> {
        Ok(self.get(self.loss().losses)?.iter().map(|&loss| f64::from(loss)).sum())
    }

    fn loss(&self) -> LossSlots {
        self.plan.loss.expect("a plan that trains has a loss")
    }

    /// Sets what update steps do from now on.
    pub fn set_rates(&mut self, rates: Rates) {
        self.backend.set_rates(rates);
    }

    /// Runs some of the plan's steps.
    ///
    /// # Errors
    /// The device fails.
    pub fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError> {
        self.backend.run(steps)
    }

    /// Waits until all that was run is done: see [`Backend::wait`].
    ///
    /// # Errors
    /// The device fails.
    pub fn wait(&self) -> Result<(), ExecError> {
        self.backend.wait()
    }

    /// Runs some of the plan's steps and tells the seconds that each took: see
    /// [`Backend::run_timed`].
    ///
    /// # Errors
    /// The device fails.
    pub fn run_timed(&mut self, steps: Range<usize>) -> Result<Vec<f64>, ExecError> {
        if let Some(times) = self.backend.run_timed(steps.clone())? {
            return Ok(times);
        }
        let mut times = Vec::with_capacity(steps.len());
        for step in steps {
            let start = Instant::now();
            self.backend.run(step..step + 1)?;
            self.backend.wait()?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(times)
    }

    /// Copies numbers into a slot; the lengths must agree.
    ///
    /// # Errors
    /// The device fails, or the slot is of weights that another session shares.
    pub fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError> {
        self.backend.write(slot, from)
    }

    /// Copies a slot out; the lengths must agree.
    ///
    /// # Errors
    /// The device fails, or the slot is of weights that were not kept.
    pub fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError> {
        self.backend.read(slot, into)
    }

    /// What a slot holds, in f32.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn get(&self, slot: SlotId) -> Result<Vec<f32>, ExecError> {
        let mut numbers = vec![0.0; self.plan.slots[slot.0].len];
        self.backend.read(slot, &mut numbers)?;
        Ok(numbers)
    }

    /// A number about a slot.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError> {
        self.backend.reduce(slot, what)
    }

    /// The Euclidean length of a slot.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn norm(&self, slot: SlotId) -> Result<f64, ExecError> {
        Ok(self.backend.reduce(slot, Reduce::Squares)?.sqrt())
    }

    /// Whether a slot holds only finite numbers.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn is_finite(&self, slot: SlotId) -> Result<bool, ExecError> {
        Ok(self.backend.reduce(slot, Reduce::Finite)? == 1.0)
    }

    /// Whether a whole space, any but the activations, holds only finite numbers.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn all_finite(&self, space: Space) -> Result<bool, ExecError> {
        self.backend.all_finite(space)
    }
}
