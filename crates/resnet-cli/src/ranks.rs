//! The processes of a run that this one may be part of: the first one speaks and writes for all.
//!
//! An error that all ranks have, because one told the others, is said by the first alone. Whoever
//! fails by itself says so with its rank and ends the run on all, since the others would wait.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resnet::base::machine;
use resnet::measure::evaluate::UseError;
use resnet::ranks::mpi::{self, MpiError, Notice};
use resnet::ranks::{Group, RanksError, have_failed_together, together};
use resnet::train::TrainError;

use crate::exit::{self, Said, Stopped, Usage};
use crate::term::{self, tell};

/// The ranks, once a launcher's are joined.
static GROUP: Mutex<Group> = Mutex::new(None);
/// Whether nothing is left to do together.
static DONE: AtomicBool = AtomicBool::new(false);
/// How long a process may take no part before the run is given up, until steps say how long they
/// take: one machine may list and fetch what another has.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Makes all but the first of a launcher's processes silent, without joining them.
pub(crate) fn one_speaks() {
    if mpi::claimed_rank().is_some_and(|rank| rank > 0) {
        term::be_silent();
    }
}

/// Joins the processes that a launcher started, where one did: `runs` says whether the command
/// `verb` is one that several processes carry out together. All but the first are silent from here
/// on.
pub(crate) fn join(verb: &str, runs: bool) -> anyhow::Result<()> {
    let Some(claimed) = mpi::claimed_rank() else { return Ok(()) };
    if claimed != 0 {
        term::be_silent();
    }
    let world = mpi::world(Box::new(on_notice)).inspect_err(|error| {
        // What launcher and library disagree about is the same on all; the rest may be one's own.
        if claimed != 0 && !matches!(error, RanksError::Mpi(MpiError::Mismatch { .. })) {
            say_of(claimed, error);
        }
    })?;
    let Some(world) = world.filter(|world| world.count() > 1) else { return Ok(()) };
    world.set_patience(Some(PATIENCE));
    *GROUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(world);
    if runs { Ok(()) } else { refuse(verb) }
}

/// Refuses what one process does alone, where there are several.
pub(crate) fn refuse(what: &str) -> anyhow::Result<()> {
    if group().is_none() {
        return Ok(());
    }
    // All ranks come here.
    are_done();
    Err(Usage(format!("`{what}` is for one process; start it without a launcher of several"))
        .into())
}

/// An error that no other rank says.
fn say_of(rank: usize, error: impl Display) {
    term::tell_always(&format!("error: rank {rank} on {}: {error}", machine::host()));
}

/// Runs what a process does; a panic ends the other ranks, which would wait.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        mpi::end_all(101);
        resume_unwind(panic)
    })
}

fn on_notice(notice: Notice) {
    match notice {
        Notice::IdleCpus { bound, machine, ranks, remedy } => tell(&format!(
            "warning: the launcher lets each of {ranks} processes on this machine use {bound} of \
             {machine} CPUs; `{remedy}` lets them share all"
        )),
        Notice::GivenUp(reason) => term::tell_always(&format!("error: {reason}")),
        _ => {}
    }
}

/// The ranks of this run.
pub(crate) fn group() -> Group {
    GROUP.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Goes on where all ranks could, so that whatever one cannot do ends all, with the first to say
/// why.
pub(crate) fn all<T>(group: &Group, own: anyhow::Result<T>) -> anyhow::Result<T> {
    match group {
        Some(ranks) => together(ranks.as_ref(), own),
        None => own,
    }
}

/// All ranks have come to the end of what they do together: what goes wrong from here on is the
/// same on all.
pub(crate) fn are_done() {
    DONE.store(true, Ordering::Relaxed);
}

/// The code to leave with after an error, which is said. One that the other ranks do not know ends
/// them as well: this then leaves the process.
pub(crate) fn code_of(error: anyhow::Error) -> u8 {
    let Some(ranks) = group().filter(|_| !is_known(&error)) else { return exit::code(&error) };
    if ranks.rank() == 0 {
        exit::say(&error);
    } else {
        say_of(ranks.rank(), &error);
    }
    let code = exit::code(&Said(error).into());
    mpi::end_all(i32::from(code));
    code
}

/// Leaves the other processes, once all are at their end.
pub(crate) fn leave() {
    drop(GROUP.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Whether all ranks have an error, or one as good.
fn is_known(error: &anyhow::Error) -> bool {
    let told =
        |error: &RanksError| matches!(error, RanksError::Other { .. } | RanksError::Differ(_));
    let of_run = |error: &TrainError| match error {
        TrainError::Ranks(error) => told(error),
        TrainError::Use(UseError::Ranks(error)) => told(error),
        TrainError::Diverged { .. } => true,
        _ => false,
    };
    let of_use = |error: &UseError| match error {
        UseError::Ranks(error) => told(error),
        UseError::NotFinite { .. } => true,
        _ => false,
    };
    DONE.load(Ordering::Relaxed)
        || have_failed_together()
        || error.is::<Stopped>()
        || error.downcast_ref().is_some_and(told)
        || error.downcast_ref().is_some_and(of_run)
        || error.downcast_ref().is_some_and(of_use)
}
