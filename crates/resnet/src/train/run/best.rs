//! The best weights of a run: kept when they are found, and left at its end.

use super::Run;
use crate::model::Model;
use crate::ranks::is_first;
use crate::train::TrainError;
use crate::train::checkpoint::{self, Progress};
use crate::train::company;
use crate::train::directory::BEST;

impl Run<'_> {
    /// Keeps the present weights as the best, and as those to go on from: so the best are never of
    /// a step that a run which goes on has still before it, and may then take otherwise.
    pub(super) fn best_so_far(&mut self, top1: f64) -> Result<(), TrainError> {
        let progress = &mut self.progress;
        progress.best = Some(top1);
        (progress.best_step, progress.since_best) = (progress.step, 0);
        self.save()?;
        match self.record.path(BEST) {
            Some(path) => checkpoint::save(&self.job, &self.progress, &path)?,
            None if self.job.keeps_best() && is_first(&self.job.task.ranks) => {
                self.best = Some(self.job.model()?)
            }
            None => {}
        }
        Ok(())
    }

    /// Whether the best model is to be left, and is not the present one.
    pub(super) fn expects_best(&self) -> bool {
        let Progress { best_step, step, .. } = self.progress;
        self.job.keeps_best() && best_step > 0 && best_step < step
    }

    /// The best model, where it is to be left and is not the present one.
    pub(super) fn best(&mut self) -> Result<Option<Model>, TrainError> {
        if !self.expects_best() {
            return Ok(None);
        }
        let own = match is_first(&self.job.task.ranks) {
            true => self.kept_best()?,
            false => None,
        };
        company::model(&self.job.task.ranks, own)
    }

    fn kept_best(&mut self) -> Result<Option<Model>, TrainError> {
        let Some(path) = self.record.path(BEST) else {
            return Ok(self.best.take());
        };
        let best = self.progress.best_step;
        let problem = match checkpoint::weights(&self.job, &path) {
            Ok((model, step)) if step == best => return Ok(Some(model)),
            Ok((_, step)) => {
                format!("{BEST} is of step {step}, the best evaluation was after step {best}")
            }
            Err(error) => error.to_string(),
        };
        self.warn(format!("{problem}; the model is that of the last step"), self.progress.step)?;
        Ok(None)
    }
}
