//! One step of a run, and what is told of steps.

use std::time::{Duration, Instant};

use super::Run;
use crate::base::text;
use crate::data::Epoch;
use crate::ranks::RanksError;
use crate::train::event::{Event, Step};
use crate::train::learner::Gradient;
use crate::train::{Flow, TrainError, company, diverged};

/// How long other processes are waited for at least: evaluations and files take their time.
const LEAST_PATIENCE: Duration = Duration::from_secs(300);
/// How many of the slowest step so far they are waited for.
const STEPS_OF_PATIENCE: u32 = 10;

impl Run<'_> {
    /// One step: forward, backward, update. Returns the mean loss, the number of images, and
    /// whether a process of the run wanted to stop after it.
    pub(super) fn train_on(
        &mut self,
        batches: &mut Epoch,
    ) -> Result<(f64, usize, Flow), TrainError> {
        let (began, before) = (Instant::now(), self.progress.step);
        let lr = self.job.lr(before, &self.progress.warm_start);
        let record = &mut self.record;
        let gradient = self.job.learner.gradient(batches, self.asked, &mut |batch| {
            for warning in &batch.warnings {
                // Of the step under way, so that a run resumed before it tells it once.
                let message = warning.to_string();
                record.emit(Event::Warned { message, step: before + 1 })?;
            }
            Ok(())
        })?;
        let gradient = gradient.expect("the calendar counts the steps of an epoch");
        for message in &gradient.warnings {
            self.warn(message.clone(), before + 1)?;
        }
        self.clock.sync += gradient.waited;
        if gradient.diverged {
            let look = |batch| {
                let found = diverged::first_bad_layer(&self.job, batch);
                found.unwrap_or_else(|error| format!("a gradient is not finite ({error})"))
            };
            let own = gradient.bad.as_ref().map(look);
            let what = company::first_said(&self.job.task.ranks, own)?;
            let what = what.unwrap_or("the sum of the shards' gradients is not finite".into());
            return Err(self.diverged(what, before + 1));
        }
        let session = &self.job.learner.session;
        if let Some(monitor) = self.job.monitor.as_mut().filter(|m| m.is_due(before + 1)) {
            monitor.before_update(session)?;
        }
        self.job.learner.update(&gradient, &self.job.task.recipe, lr, before)?;
        self.count(&gradient, lr)?;
        self.be_patient(began.elapsed());
        let flow = if gradient.stop { Flow::Stop } else { Flow::Go };
        Ok((gradient.loss, gradient.images as usize, flow))
    }

    /// Counts a step that was done.
    fn count(&mut self, gradient: &Gradient, lr: f64) -> Result<(), TrainError> {
        let Gradient { images, right, loss, .. } = *gradient;
        let progress = &mut self.progress;
        progress.step += 1;
        progress.lr = lr;
        self.clock.images += images;
        progress.since_event.add(images, loss, right);
        progress.since_evaluation.add(images, loss, right);
        if progress.warm_start.update(images - right, images) {
            let (step, rate) = (progress.step, self.job.schedule.lr(progress.step));
            let message = format!(
                "the warm start is over after {step} steps; the learning rate is {rate} now"
            );
            self.record.emit(Event::Entered { message, step })?;
        }
        Ok(())
    }

    /// Ends the run because of what happened at a step, the first being 1.
    pub(super) fn diverged(&mut self, what: String, step: u64) -> TrainError {
        let kept = self.record.last();
        let kept = kept.map_or("there is no checkpoint yet".into(), |path| {
            format!("the last checkpoint is {}", text::path(&path))
        });
        let warmup = if self.job.recipe().schedule.warmup.is_zero() {
            " or a longer schedule.warmup"
        } else {
            ""
        };
        let error = TrainError::Diverged { step, what, kept, warmup };
        // The run has failed for its own reason; a report that cannot be written as well must not
        // hide it.
        let _ = self.finish(Some(&error.to_string()), None, true);
        error
    }

    pub(super) fn tell_step(&mut self, epoch: u64) -> Result<(), TrainError> {
        let since = std::mem::take(&mut self.progress.since_event);
        let (now, waited) = (Instant::now(), self.job.learner.loader.wait());
        let seconds = now.duration_since(self.clock.window.0).as_secs_f64();
        let wait = waited.saturating_sub(self.clock.window.1).as_secs_f64();
        self.clock.window = (now, waited);
        let images = std::mem::take(&mut self.clock.images);
        let sync = std::mem::take(&mut self.clock.sync).as_secs_f64() / seconds;
        self.record.emit(Event::Step(Step {
            step: self.progress.step,
            epoch,
            loss: since.mean_loss(),
            top1: since.top1(),
            lr: self.progress.lr,
            images_per_s: images as f64 / seconds,
            wait: wait / seconds,
            sync: self.job.task.ranks.as_ref().map(|_| sync),
        }))
    }

    /// Gives other processes the time that steps take, several times over, before the run is given
    /// up for one that takes no part.
    fn be_patient(&mut self, step: Duration) {
        let Some(ranks) = &self.job.task.ranks else { return };
        if step > self.clock.slowest {
            self.clock.slowest = step;
            ranks.set_patience(Some(LEAST_PATIENCE.max(step * STEPS_OF_PATIENCE)));
        }
    }

    /// The error of a run that has lost a process: the first one saves where the run stood before
    /// the step that was not ended.
    pub(super) fn lost(&mut self, what: &str) -> TrainError {
        // Weights that broke in the last step would take the place of good ones.
        let saved = self.check_weights().and_then(|()| self.save_here());
        let step = self.progress.step;
        let kept = match (saved, self.record.last()) {
            (Ok(()), Some(path)) => format!("saved after step {step} as {}", text::path(&path)),
            (Err(error), Some(path)) => {
                format!("the last checkpoint is {} ({error})", text::path(&path))
            }
            _ => format!("step {step} was the last"),
        };
        RanksError::Lost(format!("{what}; {kept}")).into()
    }
}
