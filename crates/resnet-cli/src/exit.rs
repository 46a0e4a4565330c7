//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.

use std::fmt;
use std::io;

use resnet::engine::exec::OpenError;
use resnet::measure::evaluate::Evaluation;
use resnet::measure::summary::SummaryError;
use resnet::model::export::ExportError;
use resnet::model::foreign::ImportError;
use resnet::net::ArchError;
use resnet::study::bench::BenchError;
use resnet::study::compare::CompareError;
use resnet::study::explain::ExplainError;
use resnet::study::inspect::InspectError;
use resnet::train::finetune::FinetuneError;
use resnet::train::recipe::RecipeError;
use resnet::train::task::TaskError;
use resnet::train::{TrainError, Trained};
use resnet_server::ServeError;

use crate::hints;
use crate::observer::Watcher;
use crate::term::{INTERRUPTED, tell};

/// The run was stopped, and can be resumed; said already.
#[derive(Debug)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// A run that was stopped is not done, also where it stopped because nobody reads what it prints;
/// one whose events could not be written has failed, as has one whose network answers with no
/// numbers.
pub(crate) fn finished(trained: &Trained, watcher: &mut dyn Watcher) -> anyhow::Result<()> {
    let displayed = watcher.finish();
    match (displayed, &trained.ended.stopped) {
        (Err(error), _) if !is_closed(&error) => return Err(error),
        (_, Some(_)) => return Err(Stopped.into()),
        (displayed, None) => displayed?,
    }
    let of = |evaluation: &Evaluation| (evaluation.not_finite.len(), evaluation.count);
    match trained.evaluation.as_ref().map_or((0, 0), of) {
        (0, _) => Ok(()),
        (wrong, count) => anyhow::bail!(
            "the network's answers to {wrong} of {count} pictures that it was tested on are not \
             numbers (infinite or NaN), although its weights are; train it with a lower rate"
        ),
    }
}

/// The user asked for something that does not exist.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A failure, and the command that may get past it, for a line of its own.
#[derive(Debug)]
pub(crate) struct Advised {
    pub(crate) message: String,
    pub(crate) command: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

/// A failure that was said already; its code stays.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) anyhow::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Said {}

/// Whether nobody reads what is printed any more.
fn is_closed(error: &anyhow::Error) -> bool {
    let closed = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed)
}

/// Prints an error. A reader that closed the pipe has seen enough, and that a run was stopped was
/// said already.
pub(crate) fn say(error: &anyhow::Error) {
    if is_closed(error) || error.is::<Stopped>() || error.is::<Said>() {
        return;
    }
    // Messages contain their causes.
    tell(&format!("error: {error}{}", hints::of_error(error)));
    if let Some(advised) = error.downcast_ref::<Advised>() {
        tell(&format!("  {}", advised.command));
    }
}

/// Prints an error and says with which code to leave.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    say(error);
    let error = error.downcast_ref().map_or(error, |Said(error)| error);
    if is_closed(error) {
        return 0;
    }
    if error.is::<Stopped>() {
        return INTERRUPTED;
    }
    if is_usage(error) { 2 } else { 1 }
}

/// Whether it was the request that was wrong. Errors tell by themselves; a device cannot be opened
/// where a variable of the environment says something that does not exist.
fn is_usage(error: &anyhow::Error) -> bool {
    fn says<E: std::error::Error + Send + Sync + 'static>(
        error: &anyhow::Error,
        is_usage: fn(&E) -> bool,
    ) -> bool {
        error.downcast_ref().is_some_and(is_usage)
    }
    error.is::<Usage>()
        || error.is::<OpenError>()
        || says(error, ArchError::is_usage)
        || says(error, RecipeError::is_usage)
        || says(error, TaskError::is_usage)
        || says(error, TrainError::is_usage)
        || says(error, FinetuneError::is_usage)
        || says(error, SummaryError::is_usage)
        || says(error, BenchError::is_usage)
        || says(error, InspectError::is_usage)
        || says(error, CompareError::is_usage)
        || says(error, ExplainError::is_usage)
        || says(error, ImportError::is_usage)
        || says(error, ExportError::is_usage)
        || says(error, ServeError::is_usage)
}
