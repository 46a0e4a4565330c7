//! The training loop.

mod best;
mod clock;
mod shown;
mod step;

use std::sync::Arc;
use std::time::Instant;

use resnet_engine::step::Space;

use super::checkpoint::{self, Progress, Sums};
use super::company;
use super::directory::{BEST, Directory, LAST, MODEL, REPORT};
use super::event::{Evaluated, Event, RunEnded};
use super::job::Job;
use super::outside::{self, Requests};
use super::record::Record;
use super::{Flow, INTERRUPTED, Observer, Tick, TrainError, Trained, report};
use crate::base::{files, text};
use crate::measure::evaluate::{Evaluation, UseError};
use crate::model::Model;
use crate::page::charts::Status;
use crate::ranks::{RanksError, is_first};
use clock::Clock;

/// Step events of a whole run, about.
const STEP_EVENTS: u64 = 1000;
/// Most steps from one step event to the next.
const WIDEST_GAP: u64 = 50;

/// A run under way.
pub(super) struct Run<'a> {
    job: Job,
    record: Record<'a>,
    progress: Progress,
    evaluation: Option<Evaluation>,
    /// The best model so far, where it is to be left and no file holds it.
    best: Option<Model>,
    /// Steps done when the checkpoint to go on from was made, if nothing has happened since.
    saved: Option<u64>,
    clock: Clock,
    /// What other processes ask of it.
    requests: Requests,
    /// Whether this process was asked to stop, which those that it trains with hear with the next
    /// step.
    asked: bool,
}

impl<'a> Run<'a> {
    /// A run from its first step. What may fail before anything is kept has been done when `create`
    /// is asked for a directory.
    pub(super) fn start(
        mut job: Job,
        create: impl FnOnce(&Job) -> Result<Option<Directory>, TrainError>,
        observer: &'a mut dyn Observer,
    ) -> Result<Run<'a>, TrainError> {
        job.initialise()?;
        let warm_start = job.recipe().warm_start(job.task.arch.depth());
        let progress = Progress::new(warm_start, job.images(), job.data.clone());
        let directory = match is_first(&job.task.ranks) {
            true => create(&job),
            false => Ok(None),
        };
        let record = Record::start(company::together(&job.task.ranks, directory)?, observer)?;
        let mut run = Run::new(job, record, progress);
        let started = run.job.started(run.record.root());
        run.record.emit(Event::RunStarted(Box::new(started)))?;
        for message in std::mem::take(&mut run.job.task.warnings) {
            run.warn(message, 0)?;
        }
        run.look()?;
        Ok(run)
    }

    /// A run from its last checkpoint, or from its first step if it has none yet. A process that is
    /// not the first of its run has no directory.
    pub(super) fn resume(
        mut job: Job,
        directory: Option<Directory>,
        last: Option<Arc<Model>>,
        observer: &'a mut dyn Observer,
    ) -> Result<Run<'a>, TrainError> {
        let Some(last) = last else {
            // Killed before the first checkpoint, a run starts again; with its checkpoint lost,
            // that would hide the loss.
            let create = |job: &Job| {
                let Some(directory) = directory else { return Ok(None) };
                if Record::tells_of_checkpoint(&directory)? {
                    return Err(TrainError::Checkpoint {
                        path: directory.path(LAST),
                        problem:
                            "it is missing, though the run had saved it; restore it, or start a \
                             new run"
                                .into(),
                    });
                }
                directory.keep_recipe(job.recipe())?;
                Ok(Some(directory))
            };
            return Run::start(job, create, observer);
        };
        let progress = checkpoint::restore(&mut job, &last);
        let progress = company::together(&job.task.ranks, progress)?;
        // All of it is in the session; the task may hold the same.
        job.task.start = None;
        drop(last);
        let best = directory.as_ref().map(|directory| directory.path(BEST));
        let owes = progress.since_evaluation.steps > 0;
        let record = match directory {
            Some(directory) => Record::resume(directory, progress.step, owes, observer)?,
            None => Record::start(None, observer)?,
        };
        // What was changed is of the run from here on, where nothing of it is refused.
        if let Some(directory) = record.directory() {
            directory.keep_recipe(job.recipe())?;
        }
        let mut run = Run::new(job, record, progress);
        run.saved = Some(run.progress.step);
        let Some(best) = best else { return Ok(run) };
        if run.expects_best() && !files::is_there(&best)? {
            let message = format!(
                "{BEST} is missing, the best weights so far (after step {}); restore it before the \
                 run ends, or its model is that of the last step, unless a better one comes",
                run.progress.best_step
            );
            run.warn(message, run.progress.step)?;
        }
        if run.progress.best_step == run.progress.step {
            // Whatever ended the run may have done so between its two checkpoints.
            checkpoint::save(&run.job, &run.progress, &best)?;
        }
        let started = run.job.started(run.record.root());
        run.record.go_on(started)?;
        Ok(run)
    }

    fn new(job: Job, record: Record<'a>, progress: Progress) -> Run<'a> {
        let clock = Clock::new(progress.seconds, job.learner.loader.wait());
        let requests = Requests::of(record.directory().map(Directory::root));
        let (evaluation, best, saved, asked) = (None, None, None, false);
        Run { job, record, progress, evaluation, best, saved, clock, requests, asked }
    }

    /// Trains to the end of the budget, until patience is spent, or until the observer says stop.
    pub(super) fn go(mut self) -> Result<Trained, TrainError> {
        let ended = self.train().and_then(|flow| match flow {
            Flow::Go => self.end(),
            Flow::Stop => self.stop(),
        });
        ended.map_err(|error| match error {
            TrainError::Ranks(RanksError::Lost(what))
            | TrainError::Use(UseError::Ranks(RanksError::Lost(what))) => self.lost(&what),
            error => error,
        })
    }

    /// All steps that are left, unless it is stopped before.
    fn train(&mut self) -> Result<Flow, TrainError> {
        let total = self.job.calendar.total();
        let event_every = (total / STEP_EVENTS).clamp(1, WIDEST_GAP);
        let save_every = self.job.recipe().train.checkpoint_every;
        if self.owes_evaluation() {
            let flow = self.evaluate()?;
            self.save()?;
            if flow == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        while !self.is_over() {
            self.enter()?;
            let (epoch, from) = self.job.calendar.place(self.progress.step);
            let from = from as usize * self.job.learner.batches();
            let mut batches = self.job.learner.loader.epoch(epoch, from);
            loop {
                let (loss, images, agreed) = self.train_on(&mut batches)?;
                let step = self.progress.step;
                let epochs = self.job.calendar.epochs();
                let tick = Tick { step, total, epoch: epoch + 1, epochs, loss, images };
                let says = self.record.observer.tick(&tick);
                let mut flow = self.requests.or(self.record.observer, says);
                if self.job.task.ranks.is_some() {
                    self.asked |= flow == Flow::Stop;
                    flow = agreed;
                }
                let (epoch_done, done) = (self.job.calendar.ends_epoch(step), step == total);
                if step.is_multiple_of(event_every) || epoch_done || done {
                    self.tell_step(epoch + 1)?;
                }
                self.look()?;
                if self.owes_evaluation() && self.evaluate()? == Flow::Stop {
                    flow = Flow::Stop;
                }
                let over = self.is_over();
                if self.job.calendar.is_due(save_every, step) || over || flow == Flow::Stop {
                    self.save()?;
                }
                if flow == Flow::Stop && (!over || self.owes_evaluation()) {
                    return Ok(Flow::Stop);
                }
                if epoch_done || over {
                    break;
                }
                self.enter()?;
            }
        }
        Ok(Flow::Go)
    }

    /// Whether there is nothing more to train.
    fn is_over(&self) -> bool {
        self.progress.step >= self.job.calendar.total() || self.patience_spent().is_some()
    }

    /// The patience, once it is spent.
    fn patience_spent(&self) -> Option<u64> {
        let patience = self.job.recipe().train.patience;
        (patience > 0 && self.progress.since_best >= patience).then_some(patience)
    }

    /// Whether an evaluation is due that was not made, or was stopped on the way.
    fn owes_evaluation(&self) -> bool {
        let (step, every) = (self.progress.step, self.job.recipe().train.eval_every);
        let due = self.job.calendar.is_due(every, step) || step == self.job.calendar.total();
        due && self.progress.since_evaluation.steps > 0
    }

    /// Enters the phase of the next step.
    fn enter(&mut self) -> Result<(), TrainError> {
        let step = self.progress.step;
        if let Some(message) = self.job.announcement(step) {
            // Of the step to come, so that a run resumed before it tells it once.
            self.record.emit(Event::Entered { message, step: step + 1 })?;
        }
        self.job.enter(step)
    }

    fn warn(&mut self, message: String, step: u64) -> Result<(), TrainError> {
        self.record.emit(Event::Warned { message, step })
    }

    /// Looks into the network if that is due.
    fn look(&mut self) -> Result<(), TrainError> {
        let step = self.progress.step;
        let job = &mut self.job;
        let Some(monitor) = job.monitor.as_mut().filter(|m| m.is_due(step)) else {
            return Ok(());
        };
        let began = Instant::now();
        let monitored = monitor.look(&job.learner.session, step)?;
        self.clock.window.0 += began.elapsed();
        self.record.emit(Event::Monitored(monitored))
    }

    /// Measures a model, or the present weights; without an evaluation where that is stopped.
    fn measure(&mut self, model: Option<&Model>) -> Result<Option<Evaluation>, TrainError> {
        let (_, images) = self.job.images();
        let (observer, requests) = (&mut *self.record.observer, &mut self.requests);
        let mut on = |done: usize| {
            let says = observer.evaluating(done as u64, images);
            requests.or(observer, says) == Flow::Go
        };
        match model {
            Some(model) => self.job.evaluate_model(model, &mut on),
            None => self.job.evaluate(&mut on),
        }
    }

    /// Evaluates the weights, unless that is stopped: nothing has happened then.
    fn evaluate(&mut self) -> Result<Flow, TrainError> {
        let Some(evaluation) = self.measure(None)? else {
            return Ok(Flow::Stop);
        };
        for message in evaluation.warnings.clone() {
            self.warn(message, self.progress.step)?;
        }
        let (top1, top5) = (evaluation.value("top1"), evaluation.value("top5"));
        let since: Sums = std::mem::take(&mut self.progress.since_evaluation);
        self.saved = None;
        let event = Evaluated {
            epoch: self.job.calendar.place(self.progress.step.saturating_sub(1)).0 + 1,
            step: self.progress.step,
            split: self.job.task.eval_name.clone(),
            count: evaluation.count,
            top1,
            top5,
            loss: evaluation.value("loss"),
            train_loss: since.mean_loss(),
            train_top1: since.top1(),
            lr: self.progress.lr,
            seconds: self.seconds(),
        };
        let shown = self.shown(&evaluation);
        self.evaluation = Some(evaluation);
        self.check_weights()?;
        self.progress.last = Some((top1, top5));
        self.record.emit(Event::Evaluated(event))?;
        self.record.emit(shown)?;
        self.keep_pictures()?;
        self.report_so_far()?;
        if self.progress.best.is_none_or(|best| top1 > best) {
            self.best_so_far(top1)?;
        } else {
            self.progress.since_best += 1;
        }
        self.clock.begin(self.job.learner.loader.wait());
        Ok(Flow::Go)
    }

    /// A checkpoint of weights that are not finite would take the place of a good one.
    fn check_weights(&mut self) -> Result<(), TrainError> {
        let session = &self.job.learner.session;
        if session.all_finite(Space::Param)? && session.all_finite(Space::State)? {
            return Ok(());
        }
        let what = "the weights are not finite after the update".into();
        Err(self.diverged(what, self.progress.step))
    }

    /// Saves the checkpoint to go on from, after everything that happened before it is on disk;
    /// where nothing has happened since the last, that one stays.
    fn save(&mut self) -> Result<(), TrainError> {
        if self.saved == Some(self.progress.step) {
            return Ok(());
        }
        // First among ranks: what is wrong with one's alone is not divergence.
        let session = &self.job.learner.session;
        company::check_weights(&self.job.task.ranks, session, self.progress.step)?;
        self.check_weights()?;
        self.save_here()
    }

    /// The same of this process alone.
    fn save_here(&mut self) -> Result<(), TrainError> {
        if self.saved == Some(self.progress.step) {
            return Ok(());
        }
        let Some(path) = self.record.path(LAST) else {
            self.saved = Some(self.progress.step);
            return Ok(());
        };
        let waited = Instant::now();
        self.record.sync()?;
        self.progress.seconds = self.seconds();
        checkpoint::save(&self.job, &self.progress, &path)?;
        self.saved = Some(self.progress.step);
        self.record.emit(Event::Saved { path: LAST.into(), step: self.progress.step })?;
        self.clock.window.0 += waited.elapsed();
        Ok(())
    }

    /// Ends a run that is stopped from outside; what it goes on from is saved.
    fn stop(&mut self) -> Result<Trained, TrainError> {
        let model = self.job.model()?;
        let ended = self.finish(Some(INTERRUPTED), None, false)?;
        Ok(Trained { ended, model, evaluation: self.evaluation.take() })
    }

    /// Ends a run that has nothing more to train: its model, and the report.
    fn end(&mut self) -> Result<Trained, TrainError> {
        let best = self.best()?;
        let kept_step = best.is_some().then_some(self.progress.best_step);
        // Resumed after its last evaluation there is none, and the page still wants its pictures.
        if best.is_some() || self.evaluation.is_none() {
            self.evaluation = self.measure(best.as_ref())?;
            if self.evaluation.is_none() {
                return self.stop();
            }
        }
        let mut model = best.map_or_else(|| self.job.model(), Ok)?;
        if let Some(evaluation) = &self.evaluation {
            let mut metrics: serde_json::Map<String, serde_json::Value> = evaluation
                .values
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect();
            metrics.insert("split".into(), self.job.task.eval_name.clone().into());
            metrics.insert("count".into(), evaluation.count.into());
            let json = serde_json::Value::Object(metrics).to_string();
            model.tensors.metadata.insert("metrics".into(), json);
        }
        if let Some(path) = self.record.path(MODEL) {
            model.save(&path)?;
        }
        let ended = self.finish(None, kept_step, false)?;
        Ok(Trained { ended, model, evaluation: self.evaluation.take() })
    }

    fn finish(
        &mut self,
        stopped: Option<&str>,
        kept_step: Option<u64>,
        failed: bool,
    ) -> Result<RunEnded, TrainError> {
        let model = self.record.path(MODEL).filter(|_| stopped.is_none());
        let early = self.progress.step < self.job.calendar.total();
        let ended = RunEnded {
            top1: self.progress.last.map(|(top1, _)| top1),
            top5: self.progress.last.map(|(_, top5)| top5),
            best_top1: self.progress.best,
            seconds: self.seconds(),
            model: model.map(|path| text::path(&path).to_string()),
            kept_step,
            patience_spent: self.patience_spent().filter(|_| stopped.is_none() && early),
            steps: self.progress.step,
            stopped: stopped.map(str::to_string),
        };
        if let Some(directory) = self.record.directory() {
            let evaluation = self.evaluation.as_ref();
            let history = &self.record.history;
            let resume = directory.resume_command.as_deref();
            let status = match ended.stopped.as_deref() {
                None => Status::Finished { patience: ended.patience_spent },
                Some(reason) if failed => Status::Failed { step: ended.steps, reason },
                Some(_) => Status::Stopped { step: ended.steps, resume },
            };
            let (job, seconds) = (&self.job, ended.seconds);
            let page =
                report::page(job, directory, history, evaluation, kept_step, status, seconds);
            directory.write(REPORT, &page)?;
        }
        self.record.emit(Event::RunEnded(ended.clone()))?;
        if let Some(directory) = self.record.directory() {
            outside::forget_stop(directory.root())?;
        }
        Ok(ended)
    }

    /// The page as far as the run has come; its end writes the last.
    fn report_so_far(&mut self) -> Result<(), TrainError> {
        let Some(directory) = self.record.directory() else { return Ok(()) };
        let (step, of) = (self.progress.step, self.job.calendar.total());
        if step == of {
            return Ok(());
        }
        let status = Status::Running { step, of };
        let evaluation = self.evaluation.as_ref();
        let history = &self.record.history;
        let (job, seconds) = (&self.job, self.seconds());
        let page = report::page(job, directory, history, evaluation, None, status, seconds);
        Ok(directory.write(REPORT, &page)?)
    }

    fn seconds(&self) -> f64 {
        self.clock.before + self.clock.began.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests;
