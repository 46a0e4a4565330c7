//! A finished run, read from its directory.

use std::path::{Path, PathBuf};

use super::error::CompareError;
use crate::base::files;
use crate::net::Arch;
use crate::train::event::{self, Evaluated, Event, Monitored, RunEnded, RunStarted, Step};
use crate::train::recipe::Recipe;
use crate::train::task;
use crate::train::{CONFIG, EVENTS, INTERRUPTED, LAST, MODEL, recipe_of_run};

/// How a run of the comparison was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It starts from its first step.
    New,
    /// It goes on.
    Resumed,
    /// It ended before.
    Finished,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It spent its budget.
    Finished,
    /// Its numbers became infinite; with the step and the reason.
    Diverged {
        /// Steps done.
        step: u64,
        /// Which number of which layer.
        reason: String,
    },
}

/// Why a directory holds no run that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunProblem {
    /// It holds none at all.
    #[error("it holds no run: {CONFIG} is missing; give the directories of runs")]
    Missing,
    /// It holds another than the one to be trained there.
    #[error(
        "it holds a run of another recipe: {key} is {found} there and {wanted} here{}; \
         choose another directory",
        and_more(*more)
    )]
    Other {
        /// The first key that differs.
        key: &'static str,
        /// Its value there.
        found: String,
        /// The value wanted.
        wanted: String,
        /// How many other keys differ.
        more: usize,
    },
    /// Its log is of more than one run, or was changed.
    #[error(
        "{EVENTS} tells of an evaluation after {later} steps before one after {earlier}; restore \
         the file, or leave the run out"
    )]
    Order {
        /// Steps done at the evaluation that is told of first.
        later: u64,
        /// Steps done at the one behind it.
        earlier: u64,
    },
    /// Nothing is known of what happened.
    #[error("{EVENTS} is missing, so the run cannot be compared")]
    NoEvents,
    /// It is under way, or was killed.
    #[error("its run has not ended; continue it")]
    NotEnded,
    /// It was stopped.
    #[error("its run was stopped after {steps} of {total} steps; continue it")]
    Stopped {
        /// Steps done.
        steps: u64,
        /// Steps of the whole run.
        total: u64,
    },
    /// It was named before, or copied.
    #[error(
        "it is the same run as {}: network, recipe and seed; name each run once",
        of.display()
    )]
    Same {
        /// The other's directory.
        of: PathBuf,
    },
    /// It learned from other pictures than the first.
    #[error(
        "its data is {found}, that of {} is {expected}; only runs on the same data can be compared",
        of.display()
    )]
    Data {
        /// Its pictures.
        found: String,
        /// The first run's directory.
        of: PathBuf,
        /// The first run's pictures.
        expected: String,
    },
}

fn and_more(keys: usize) -> String {
    match keys {
        0 => String::new(),
        n => format!(" (and {n} more differ)"),
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its directory.
    pub directory: PathBuf,
    /// Its network.
    pub arch: Arch,
    /// How it was trained.
    pub recipe: Recipe,
    /// What it was about to do.
    pub started: RunStarted,
    /// How it ended.
    pub outcome: Outcome,
    /// What the pictures that it was evaluated on are called; empty if it never was.
    pub split: String,
    /// Fraction of wrong first guesses among the pictures trained on since the evaluation before
    /// the last, as they were trained on; NaN if it was never evaluated.
    pub train_error: f64,
    /// Pictures that the training error is of.
    pub train_count: u64,
    /// Fraction of wrong first guesses at the last evaluation.
    pub test_error: f64,
    /// Seconds it took.
    pub seconds: f64,
    /// Progress.
    pub steps: Vec<Step>,
    /// Evaluations.
    pub evaluations: Vec<Evaluated>,
    /// What its monitor saw.
    pub monitored: Vec<Monitored>,
}

/// Keys that change no result, or its last digits alone.
const WITHOUT_EFFECT: [&str; 5] = [
    "train.device",
    "train.threads",
    "train.workers",
    "train.checkpoint_every",
    "train.monitor_every",
];

/// Keys in which two recipes differ, with both values.
pub(super) fn differences(a: &Recipe, b: &Recipe) -> Vec<(&'static str, String, String)> {
    a.differences(b, &WITHOUT_EFFECT)
}

/// The configuration of a run directory, if it has one.
fn config(directory: &Path) -> Result<Option<Recipe>, CompareError> {
    if !files::is_there(&directory.join(CONFIG))? {
        return Ok(None);
    }
    Ok(Some(recipe_of_run(directory)?))
}

/// Refuses a directory that holds another run than the one wanted.
pub(super) fn check_recipe(directory: &Path, wanted: &Recipe) -> Result<(), CompareError> {
    let Some(there) = config(directory)? else {
        return Ok(());
    };
    match &differences(&there, wanted)[..] {
        [] => Ok(()),
        [(key, found, wanted), rest @ ..] => Err(CompareError::Run {
            path: directory.to_owned(),
            problem: RunProblem::Other {
                key,
                found: found.clone(),
                wanted: wanted.clone(),
                more: rest.len(),
            },
        }),
    }
}

/// How far a run directory is.
pub(super) fn state(directory: &Path) -> Result<State, CompareError> {
    if config(directory)?.is_none() {
        return Ok(State::New);
    }
    let events = directory.join(EVENTS);
    let ended = if events.exists() { event::read(&events)?.pop() } else { None };
    Ok(match ended {
        Some(Event::RunEnded(RunEnded { stopped, .. }))
            if stopped.as_deref() != Some(INTERRUPTED) =>
        {
            State::Finished
        }
        _ => State::Resumed,
    })
}

/// Steps between the last two evaluations, or up to the only one.
fn window(evaluations: &[Evaluated]) -> Result<u64, RunProblem> {
    match evaluations {
        [.., before, last] => last
            .step
            .checked_sub(before.step)
            .ok_or(RunProblem::Order { later: before.step, earlier: last.step }),
        [only] => Ok(only.step),
        [] => Ok(0),
    }
}

impl Record {
    /// Reads a run directory.
    ///
    /// # Errors
    /// It holds no run, or one that has not ended.
    pub fn read(directory: &Path) -> Result<Record, CompareError> {
        let wrong = |problem| CompareError::Run { path: directory.to_owned(), problem };
        let Some(recipe) = config(directory)? else {
            return Err(wrong(RunProblem::Missing));
        };
        let path = directory.join(EVENTS);
        if !path.exists() {
            return Err(wrong(RunProblem::NoEvents));
        }
        let (mut started, mut ended) = (None, None);
        let (mut steps, mut evaluations, mut monitored) = (Vec::new(), Vec::new(), Vec::new());
        for event in event::read(&path)? {
            match event {
                Event::RunStarted(event) => started = Some(*event),
                Event::Step(event) => steps.push(event),
                Event::Evaluated(event) => evaluations.push(event),
                Event::Monitored(event) => monitored.push(event),
                Event::RunEnded(event) => ended = Some(event),
                Event::Predicted(_)
                | Event::Saved { .. }
                | Event::Entered { .. }
                | Event::Warned { .. } => {}
            }
        }
        let (Some(started), Some(ended)) = (started, ended) else {
            return Err(wrong(RunProblem::NotEnded));
        };
        let outcome = match ended.stopped {
            None => Outcome::Finished,
            Some(reason) if reason == INTERRUPTED => {
                let (steps, total) = (ended.steps, started.steps);
                return Err(wrong(RunProblem::Stopped { steps, total }));
            }
            Some(reason) => Outcome::Diverged { step: ended.steps, reason },
        };
        let last = evaluations.last();
        let arch = task::network(&recipe).map_err(task::TaskError::from)?;
        Ok(Record {
            directory: directory.to_owned(),
            arch,
            outcome,
            split: last.map_or(String::new(), |e| e.split.clone()),
            train_count: window(&evaluations).map_err(wrong)?.saturating_mul(started.batch),
            train_error: last.map_or(f64::NAN, |e| 1.0 - e.train_top1),
            test_error: last.map_or(f64::NAN, |e| 1.0 - e.top1),
            seconds: ended.seconds,
            recipe,
            started,
            steps,
            evaluations,
            monitored,
        })
    }

    /// The weights that the run ended with, if they are there.
    pub fn model(&self) -> Option<PathBuf> {
        let paths = [self.directory.join(MODEL), self.directory.join(LAST)];
        paths.into_iter().find(|path| path.is_file())
    }
}
