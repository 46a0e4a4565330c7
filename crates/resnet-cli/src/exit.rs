//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.

use std::fmt;
use std::io;
use std::process::ExitCode;

use resnet::measure::summary::SummaryError;
use resnet::model::foreign::ImportError;
use resnet::net::ArchError;
use resnet::study::compare::CompareError;
use resnet::study::inspect::InspectError;
use resnet::train::TrainError;
use resnet::train::event::RunEnded;
use resnet::train::finetune::FinetuneError;
use resnet::train::recipe::RecipeError;
use resnet::train::task::TaskError;

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

/// A run that was stopped is not done.
pub(crate) fn finished(ended: &RunEnded) -> Result<(), Stopped> {
    if ended.stopped.is_none() { Ok(()) } else { Err(Stopped) }
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

/// Prints an error and says with which code to leave. A reader that closed the pipe has seen
/// enough, which is no failure.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    let closed = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        return ExitCode::SUCCESS;
    }
    if error.is::<Stopped>() {
        return ExitCode::from(INTERRUPTED);
    }
    // Messages contain their causes, so the chain is for looking up kinds only.
    tell(&format!("error: {error}"));
    ExitCode::from(if error.chain().any(is_usage) { 2 } else { 1 })
}

fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    let summary = |e: &SummaryError| matches!(e, SummaryError::Arch(_) | SummaryError::Shape(_));
    let inspect = |e: &InspectError| matches!(e, InspectError::Task(e) if of_task(e));
    let import = |e: &ImportError| matches!(e, ImportError::Choice { .. } | ImportError::Arch(_));
    let finetune = |e: &FinetuneError| matches!(e, FinetuneError::Recipe(_));
    error.is::<Usage>()
        || error.downcast_ref().is_some_and(finetune)
        || error.is::<resnet::engine::exec::OpenError>()
        || error.is::<ArchError>()
        || error.is::<RecipeError>()
        || error.downcast_ref().is_some_and(of_task)
        || error.downcast_ref().is_some_and(of_train)
        || error.downcast_ref().is_some_and(of_compare)
        || error.downcast_ref().is_some_and(inspect)
        || error.downcast_ref().is_some_and(summary)
        || error.downcast_ref().is_some_and(import)
}

fn of_task(error: &TaskError) -> bool {
    matches!(error, TaskError::Arch(_) | TaskError::Recipe(_))
}

fn of_train(error: &TrainError) -> bool {
    match error {
        TrainError::Task(error) => of_task(error),
        TrainError::Recipe(_)
        | TrainError::Shape(_)
        | TrainError::Taken(..)
        | TrainError::NoRun(..) => true,
        _ => false,
    }
}

fn of_compare(error: &CompareError) -> bool {
    match error {
        CompareError::Request(_) | CompareError::Run { .. } => true,
        CompareError::Task(error) => of_task(error),
        CompareError::Train(error) => of_train(error),
        _ => false,
    }
}
