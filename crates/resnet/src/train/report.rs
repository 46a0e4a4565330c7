//! Fills the page about a run from its events and the evaluation of the weights that it leaves.

use super::directory::Directory;
use super::job::Job;
use crate::measure::evaluate::{Evaluation, confused, matrix};
use crate::page::charts::{self, EpochPoint, Headline, RunReport, Status, StepPoint};
use crate::train::event::Event;

/// The page; `kept_step` is where the weights are of that the run leaves, unless they are the last.
pub(super) fn page(
    job: &Job,
    directory: &Directory,
    history: &[Event],
    evaluation: Option<&Evaluation>,
    kept_step: Option<u64>,
    status: Status<'_>,
    seconds: f64,
) -> String {
    let (mut steps, mut epochs, mut headline) = (Vec::new(), Vec::<EpochPoint>::new(), None);
    let mut rate = Vec::new();
    let mut before = 0.0;
    let weights = match kept_step {
        Some(step) => format!("at the best evaluation, after step {step}"),
        None => "at the last evaluation".to_string(),
    };
    for event in history {
        match event {
            Event::Step(step) => {
                rate.push(step.images_per_s);
                steps.push(StepPoint { step: step.step, loss: step.loss, lr: step.lr });
            }
            Event::Evaluated(e) => {
                epochs.push(EpochPoint {
                    epoch: job.calendar.epochs_at(e.step),
                    step: e.step,
                    train_loss: e.train_loss,
                    train_top1: e.train_top1,
                    test_loss: Some(e.loss),
                    test_top1: Some(e.top1),
                    lr: e.lr,
                    seconds: e.seconds - before,
                });
                before = e.seconds;
                if kept_step.is_none_or(|step| step == e.step) {
                    headline = Some(Headline {
                        top1: e.top1,
                        top5: (job.task.classes.len() > 5).then_some(e.top5),
                        loss: e.loss,
                        count: e.count,
                        split: &e.split,
                        weights: &weights,
                    });
                }
            }
            _ => {}
        }
    }
    rate.sort_by(f64::total_cmp);
    let classes = job.task.classes.len();
    let matrix = evaluation.map_or_else(Vec::new, |e| matrix(e, classes));
    let confused = evaluation.map(|e| confused(e, job.task.eval.as_ref())).unwrap_or_default();
    let mut environment: Vec<(String, String)> = directory.environment().into_iter().collect();
    let command = environment
        .iter()
        .find(|(key, _)| key == "command")
        .map_or("", |(_, value)| value.as_str())
        .to_string();
    environment.retain(|(key, _)| key != "command");
    let shape = job.task.preprocess.shape;
    let train = &job.task.train;
    let data = format!(
        "{}: {} images of {} classes to learn from, {} to evaluate on ({}, in {}); the network sees {} x {} pixels, {} channel{}",
        job.task.recipe.data.source,
        train.len(),
        classes,
        job.task.eval.len(),
        job.task.eval_name,
        job.task.recipe.train.precision.asked().unwrap_or_default(),
        shape.w,
        shape.h,
        shape.c,
        if shape.c == 1 { "" } else { "s" }
    );
    charts::render(&RunReport {
        title: &format!("{} on {}", job.task.arch.name(), job.task.recipe.data.source),
        arch: &job.task.arch.name(),
        params: job.params(),
        macs: job.macs,
        data: &data,
        command: &command,
        started: None,
        finished: None,
        status,
        headline,
        seconds: Some(seconds),
        images_per_s: rate.get(rate.len() / 2).copied(),
        epochs: &epochs,
        steps: &steps,
        classes: &job.task.classes,
        confusion: &matrix,
        confused: &confused,
        config_toml: &job.task.recipe.to_toml(),
        environment: &environment,
    })
}
