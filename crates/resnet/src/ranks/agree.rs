//! Ranks that agree: what one cannot do, none does.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Ranks, RanksError, ask};
use crate::base::machine;

/// Whether something that was done [`together`] failed.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Whether this process failed in something that it did [`together`] with others, so that all of
/// them know. One that fails otherwise ends the others, which would wait for it.
pub fn have_failed_together() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// What every rank says, by rank.
///
/// # Errors
/// A rank is lost.
pub fn gather<T: Serialize + DeserializeOwned>(
    ranks: &dyn Ranks,
    own: &T,
) -> Result<Vec<T>, RanksError> {
    let own = serde_json::to_vec(own).expect("what ranks say is plain data");
    read_each(&ask(ranks, move |calls| calls.all_gather_bytes(&own)).wait()??)
}

/// Reads what every rank said, as [`gather`] sends it.
pub(crate) fn read_each<T: DeserializeOwned>(all: &[Vec<u8>]) -> Result<Vec<T>, RanksError> {
    let read = |bytes: &Vec<u8>| {
        serde_json::from_slice(bytes).map_err(|error| {
            RanksError::Differ(format!("ranks do not understand each other: {error}"))
        })
    };
    all.iter().map(read).collect()
}

/// Goes on where all ranks could; else all end with the error of the first that could not: as what
/// it is on rank 0, if that is the first, and as what is told of it elsewhere.
///
/// # Errors
/// A rank failed or is lost.
pub fn together<T, E: From<RanksError> + std::fmt::Display>(
    ranks: &dyn Ranks,
    own: Result<T, E>,
) -> Result<T, E> {
    let said = own.as_ref().err().map(|error| (machine::host(), error.to_string()));
    let all = gather(ranks, &said)?;
    let failed = all.into_iter().enumerate().find_map(|(rank, said)| Some((rank, said?)));
    FAILED.fetch_or(failed.is_some(), Ordering::Relaxed);
    match failed {
        None => own,
        // Who speaks for all has the error itself.
        Some((0, _)) if ranks.rank() == 0 => own,
        Some((rank, (host, message))) => Err(RanksError::Other { rank, host, message }.into()),
    }
}
