//! The training loop.

use std::time::{Duration, Instant};

use super::checkpoint::{self, Progress, Sums};
use super::directory::{BEST, Directory, EVENTS, LAST, METRICS_CSV, MODEL, REPORT};
use super::job::Job;
use super::{Flow, Observer, Tick, TrainError, diverged, report};
use crate::data::Batch;
use crate::measure::evaluate::{Evaluation, evaluate};
use crate::measure::metric;
use crate::model::Model;
use crate::train::event::{
    self, Evaluated, Event, EventLog, MetricsCsv, RunEnded, RunStarted, Step,
};
use resnet_engine::exec::Backend;
use resnet_engine::step::Space;

/// Step events of a whole run, about.
const STEP_EVENTS: u64 = 1000;
/// Most steps from one step event to the next.
const WIDEST_GAP: u64 = 50;

/// Why a run ended that was stopped from outside.
pub const INTERRUPTED: &str = "interrupted";

/// A run under way.
pub(super) struct Run<'a> {
    job: Job,
    directory: Directory,
    observer: &'a mut dyn Observer,
    log: EventLog,
    csv: MetricsCsv,
    progress: Progress,
    /// Everything that happened, for the report.
    history: Vec<Event>,
    evaluation: Option<Evaluation>,
    /// When this part of the run began.
    began: Instant,
    /// Seconds of earlier parts.
    before: f64,
    /// When the last step event or evaluation was over, and how long batches had been waited for by
    /// then.
    window: (Instant, Duration),
    /// Images trained on since then.
    images: u64,
    logits: Vec<f32>,
}

impl<'a> Run<'a> {
    /// A run from its first step.
    pub(super) fn start(
        mut job: Job,
        directory: Directory,
        observer: &'a mut dyn Observer,
    ) -> Result<Run<'a>, TrainError> {
        job.initialise()?;
        let progress = Progress::new(job.recipe.warm_start(job.arch.depth()), job.images());
        let log = EventLog::create(&directory.path(EVENTS))?;
        let csv = MetricsCsv::create(&directory.path(METRICS_CSV))?;
        let mut run = Run::new(job, directory, observer, log, csv, progress, Vec::new());
        let started = run.started();
        run.emit(started)?;
        for message in std::mem::take(&mut run.job.warnings) {
            run.emit(Event::Warned { message, step: 0 })?;
        }
        run.look()?;
        Ok(run)
    }

    /// A run from its last checkpoint, or from its first step if it has none yet.
    pub(super) fn resume(
        mut job: Job,
        directory: Directory,
        observer: &'a mut dyn Observer,
    ) -> Result<Run<'a>, TrainError> {
        let last = directory.path(LAST);
        if !last.exists() {
            // Killed before the first checkpoint, a run starts again; with its checkpoint lost,
            // that would hide the loss.
            let before = directory.path(EVENTS);
            let history = if before.exists() { event::read(&before)? } else { Vec::new() };
            if history.iter().any(|event| matches!(event, Event::Saved { .. })) {
                return Err(TrainError::Checkpoint {
                    path: last,
                    problem:
                        "it is missing, though the run had saved it; restore it, or start a new run"
                            .into(),
                });
            }
            return Run::start(job, directory, observer);
        }
        let progress = checkpoint::load(&mut job, &last)?;
        let (log, history) = EventLog::resume(&directory.path(EVENTS), progress.step)?;
        let csv = MetricsCsv::resume(&directory.path(METRICS_CSV), progress.step)?;
        let run = Run::new(job, directory, observer, log, csv, progress, history);
        run.observer.event(&run.started());
        Ok(run)
    }

    fn new(
        job: Job,
        directory: Directory,
        observer: &'a mut dyn Observer,
        log: EventLog,
        csv: MetricsCsv,
        progress: Progress,
        history: Vec<Event>,
    ) -> Run<'a> {
        let logits = vec![0.0; job.recipe.train.batch * job.classes.len()];
        let before = progress.seconds;
        let window = (Instant::now(), job.train.wait());
        Run {
            job,
            directory,
            observer,
            log,
            csv,
            progress,
            history,
            evaluation: None,
            began: Instant::now(),
            before,
            window,
            images: 0,
            logits,
        }
    }

    /// Trains to the end of the budget, or until the observer says stop.
    pub(super) fn go(mut self) -> Result<RunEnded, TrainError> {
        let (total, per_epoch) = (self.job.total_steps(), self.job.steps_per_epoch());
        let event_every = (total / STEP_EVENTS).clamp(1, WIDEST_GAP);
        let eval_every = self.job.recipe.eval_steps(per_epoch);
        let save_every = self.job.recipe.checkpoint_steps(per_epoch);
        while self.progress.step < total {
            let epoch = self.progress.step / per_epoch;
            let from = (self.progress.step % per_epoch) as usize;
            for batch in self.job.train.epoch(epoch, from) {
                let mut batch = batch?;
                let loss = self.train_on(&mut batch)?;
                let (step, images) = (self.progress.step, batch.count);
                drop(batch);
                let tick =
                    Tick { step, total, epoch: epoch + 1, epochs: self.job.epochs(), loss, images };
                let flow = self.observer.tick(&tick);
                let (epoch_done, done) = (step % per_epoch == 0, step == total);
                if step % event_every == 0 || epoch_done || done {
                    self.tell_step(epoch + 1)?;
                }
                self.look()?;
                if step % eval_every == 0 || done {
                    self.evaluate(epoch + 1)?;
                }
                if step % save_every == 0 || done || flow == Flow::Stop {
                    self.save()?;
                }
                if flow == Flow::Stop && !done {
                    return self.end(Some(INTERRUPTED));
                }
                if done {
                    break;
                }
            }
        }
        self.end(None)
    }

    /// One step: forward, backward, update. Returns the mean loss of the batch.
    fn train_on(&mut self, batch: &mut Batch) -> Result<f64, TrainError> {
        for warning in &batch.warnings {
            // Of the step under way, so that a run resumed before it tells it once.
            self.emit(Event::Warned {
                message: warning.to_string(),
                step: self.progress.step + 1,
            })?;
        }
        let lr = self.job.schedule.lr_with(self.progress.step, &self.progress.warm_start);
        let before = self.progress.step;
        if before > 0 && before == self.job.frozen_steps {
            let message = format!("all layers are trained from step {} on", before + 1);
            self.emit(Event::Warned { message, step: before + 1 })?;
        }
        self.job.enter(before)?;
        let loss = self.job.differentiate(batch, before);
        if !loss.is_finite() || !self.job.trainer.all_finite(Space::Grad) {
            let job = &self.job;
            let what = diverged::first_bad_layer(
                &job.trainer,
                &job.graph,
                &batch.x,
                &batch.labels,
                job.threads,
            );
            return Err(self.diverged(what));
        }
        let step = self.progress.step + 1;
        if let Some(monitor) = self.job.monitor.as_mut().filter(|m| m.is_due(step)) {
            monitor.before_update(&self.job.trainer);
        }
        self.job.update(lr, before);
        let trainer = &self.job.trainer;
        trainer.read(trainer.plan().logits, &mut self.logits);
        let rows = self.logits.chunks_exact(self.job.classes.len());
        let right = rows
            .zip(&batch.labels)
            .filter(|(row, label)| metric::predicted(row) == Some(**label))
            .count() as u64;
        let images = batch.count as u64;
        let progress = &mut self.progress;
        progress.step += 1;
        progress.lr = lr;
        self.images += images;
        progress.since_event.add(images, loss, right);
        progress.since_evaluation.add(images, loss, right);
        if progress.warm_start.update(images - right, images) {
            let (step, rate) = (progress.step, self.job.schedule.lr(progress.step));
            let message = format!(
                "the warm start is over after {step} steps; the learning rate is {rate} now"
            );
            self.emit(Event::Warned { message, step })?;
        }
        Ok(loss)
    }

    fn diverged(&mut self, what: String) -> TrainError {
        let last = self.directory.path(LAST);
        let kept = if last.exists() { last.display().to_string() } else { "none yet".into() };
        let warmup = if self.job.recipe.schedule.warmup.is_zero() {
            " or a longer schedule.warmup"
        } else {
            ""
        };
        let error = TrainError::Diverged { step: self.progress.step + 1, what, kept, warmup };
        // The run has failed for its own reason; a report that cannot be written as well must not
        // hide it.
        let _ = self.finish(Some(&error.to_string()), true);
        error
    }

    fn tell_step(&mut self, epoch: u64) -> Result<(), TrainError> {
        let since = std::mem::take(&mut self.progress.since_event);
        let (now, waited) = (Instant::now(), self.job.train.wait());
        let seconds = now.duration_since(self.window.0).as_secs_f64();
        let wait = waited.saturating_sub(self.window.1).as_secs_f64();
        self.window = (now, waited);
        let images = std::mem::take(&mut self.images);
        self.emit(Event::Step(Step {
            step: self.progress.step,
            epoch,
            loss: since.mean_loss(),
            top1: since.top1(),
            lr: self.progress.lr,
            images_per_s: images as f64 / seconds,
            wait: wait / seconds,
        }))
    }

    /// Looks into the network if that is due.
    fn look(&mut self) -> Result<(), TrainError> {
        let step = self.progress.step;
        let job = &mut self.job;
        let Some(monitor) = job.monitor.as_mut().filter(|m| m.is_due(step)) else {
            return Ok(());
        };
        let began = Instant::now();
        let monitored = monitor.look(&job.trainer, step);
        self.window.0 += began.elapsed();
        self.emit(Event::Monitored(monitored))
    }

    fn evaluate(&mut self, epoch: u64) -> Result<(), TrainError> {
        self.job.result();
        let evaluation = evaluate(&mut self.job.evaluator, &self.job.eval, &mut |_| {})?;
        for message in &evaluation.warnings {
            self.emit(Event::Warned { message: message.clone(), step: self.progress.step })?;
        }
        let (top1, top5) = (evaluation.value("top1"), evaluation.value("top5"));
        let since: Sums = std::mem::take(&mut self.progress.since_evaluation);
        let event = Evaluated {
            epoch,
            step: self.progress.step,
            split: self.job.eval_name.clone(),
            count: evaluation.count,
            top1,
            top5,
            loss: evaluation.value("loss"),
            train_loss: since.mean_loss(),
            train_top1: since.top1(),
            lr: self.progress.lr,
            seconds: self.seconds(),
        };
        self.evaluation = Some(evaluation);
        self.check_weights()?;
        self.progress.last = Some((top1, top5));
        self.emit(Event::Evaluated(event))?;
        if self.progress.best.is_none_or(|best| top1 > best) {
            self.progress.best = Some(top1);
            self.progress.seconds = self.seconds();
            checkpoint::save(&mut self.job, &self.progress, &self.directory.path(BEST))?;
        }
        self.window = (Instant::now(), self.job.train.wait());
        self.images = 0;
        Ok(())
    }

    /// A checkpoint of weights that are not finite would take the place of a good one.
    fn check_weights(&mut self) -> Result<(), TrainError> {
        let trainer = &self.job.trainer;
        if trainer.all_finite(Space::Param) && trainer.all_finite(Space::State) {
            return Ok(());
        }
        Err(self.diverged("the weights are not finite after the update".into()))
    }

    /// Saves the checkpoint to go on from, after everything that happened before it is on disk.
    fn save(&mut self) -> Result<(), TrainError> {
        self.check_weights()?;
        let waited = Instant::now();
        self.log.sync()?;
        self.csv.sync()?;
        self.progress.seconds = self.seconds();
        checkpoint::save(&mut self.job, &self.progress, &self.directory.path(LAST))?;
        self.emit(Event::Saved { path: LAST.into(), step: self.progress.step })?;
        self.window.0 += waited.elapsed();
        Ok(())
    }

    /// Ends the run: the model if the budget is spent, and the report.
    fn end(mut self, stopped: Option<&str>) -> Result<RunEnded, TrainError> {
        if stopped.is_none() {
            if self.evaluation.is_none() {
                // Resumed after its last evaluation: the page still wants its pictures.
                self.job.result();
                self.evaluation =
                    Some(evaluate(&mut self.job.evaluator, &self.job.eval, &mut |_| {})?);
            }
            let (arch, classes) = (self.job.arch.clone(), self.job.classes.clone());
            let preprocess = self.job.preprocess.clone();
            let mut model = Model::of(self.job.result(), arch, classes, preprocess);
            self.job.describe(&mut model);
            if let Some(evaluation) = &self.evaluation {
                let mut metrics: serde_json::Map<String, serde_json::Value> = evaluation
                    .values
                    .iter()
                    .map(|&(name, value)| (name.into(), value.into()))
                    .collect();
                metrics.insert("split".into(), self.job.eval_name.clone().into());
                metrics.insert("count".into(), evaluation.count.into());
                let json = serde_json::Value::Object(metrics).to_string();
                model.tensors.metadata.insert("metrics".into(), json);
            }
            model.save(&self.directory.path(MODEL))?;
        }
        self.finish(stopped, false)
    }

    fn finish(&mut self, stopped: Option<&str>, failed: bool) -> Result<RunEnded, TrainError> {
        let model = stopped.is_none().then(|| self.directory.path(MODEL).display().to_string());
        let ended = RunEnded {
            top1: self.progress.last.map(|(top1, _)| top1),
            top5: self.progress.last.map(|(_, top5)| top5),
            best_top1: self.progress.best,
            seconds: self.seconds(),
            model,
            steps: self.progress.step,
            stopped: stopped.map(str::to_string),
        };
        let page = report::page(
            &self.job,
            &self.directory,
            &self.history,
            self.evaluation.as_ref(),
            &ended,
            failed,
        );
        self.directory.write(REPORT, &page)?;
        self.emit(Event::RunEnded(ended.clone()))?;
        Ok(ended)
    }

    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn emit(&mut self, event: Event) -> Result<(), TrainError> {
        self.log.write(&event)?;
        self.csv.write(&event)?;
        self.observer.event(&event);
        self.history.push(event);
        Ok(())
    }

    fn started(&self) -> Event {
        let job = &self.job;
        Event::RunStarted(RunStarted {
            arch: job.arch.name(),
            params: job.params(),
            macs: job.macs,
            data: job.recipe.data.source.clone(),
            train_images: job.train.data().len() as u64,
            test_images: job.eval.data().len() as u64,
            epochs: job.epochs(),
            steps: job.total_steps(),
            batch: job.recipe.train.batch as u64,
            seed: job.recipe.train.seed,
            threads: job.threads as u64,
            isa: job.isa.clone(),
            precision: job.trainer.plan().options.precision.to_string(),
            precision_why: job.precision_why.map(str::to_owned),
            out: self.directory.root().display().to_string(),
        })
    }
}
