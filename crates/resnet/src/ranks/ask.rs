//! What ranks ask of each other, and of whoever carries their messages.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use resnet_engine::exec::OpenError;

use crate::device::{self, Opened, Wanted};

/// Blocking calls, made by every rank in the same order.
pub trait Calls {
    /// Part r of `send` goes to rank r; part r of `recv` came from rank r. Both hold one part of
    /// the same length for each rank.
    ///
    /// # Errors
    /// A rank is lost.
    fn all_to_all(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError>;

    /// Part r of `recv` is what rank r sent, whose length is the same on all.
    ///
    /// # Errors
    /// A rank is lost.
    fn all_gather(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError>;

    /// What every rank sent, by rank; lengths may differ.
    ///
    /// # Errors
    /// A rank is lost, or something is longer than memory.
    fn all_gather_bytes(&mut self, send: &[u8]) -> Result<Vec<Vec<u8>>, RanksError>;
}

/// What runs on the thread of communication.
pub type Work = Box<dyn FnOnce(&mut dyn Calls) + Send>;

/// The processes of a run, of which this is one.
pub trait Ranks: Send + Sync {
    /// Which one, from 0.
    fn rank(&self) -> usize;

    /// How many.
    fn count(&self) -> usize;

    /// What carries the messages, such as `Open MPI 4.1.4`.
    fn about(&self) -> String;

    /// Threads of computation that this process has room for, where all of its machine's would be
    /// too many beside other processes of the run.
    fn threads(&self) -> Option<usize> {
        None
    }

    /// Queues work for the thread of communication.
    fn start(&self, work: Work);

    /// How long a rank may take no part before the run is given up; none waits for ever.
    fn set_patience(&self, patience: Option<Duration>);
}

/// Why ranks cannot go on together.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// A rank ended, or cannot be reached.
    #[error("a process of this run was lost: {0}")]
    Lost(String),
    /// One rank has failed; the others end with it.
    #[error("rank {rank} on {host}: {message}")]
    Other {
        /// Which one.
        rank: usize,
        /// Where it runs.
        host: String,
        /// Its error.
        message: String,
    },
    /// Ranks differ in something that must be the same.
    #[error("{0}")]
    Differ(String),
    /// The processes that a launcher started cannot speak to each other.
    #[error(transparent)]
    Mpi(resnet_mpi::MpiError),
}

/// An answer that is on its way.
pub struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// The thread of communication ended.
    pub fn wait(self) -> Result<T, RanksError> {
        let lost = || RanksError::Lost("the thread of communication has ended".into());
        self.0.recv().map_err(|_| lost())
    }
}

/// Runs `work` on the thread of communication; what it returns is waited for later.
pub fn ask<T: Send + 'static>(
    ranks: &dyn Ranks,
    work: impl FnOnce(&mut dyn Calls) -> T + Send + 'static,
) -> Pending<T> {
    let (sender, receiver) = channel();
    ranks.start(Box::new(move |calls| {
        // Nobody may be waiting any more.
        let _ = sender.send(work(calls));
    }));
    Pending(receiver)
}

/// The ranks of a run: those that were given, or this process alone.
pub type Group = Option<Arc<dyn Ranks>>;

/// Whether this process speaks, reads and writes for all, as the first of its run or alone.
pub fn is_first(group: &Group) -> bool {
    group.as_ref().is_none_or(|ranks| ranks.rank() == 0)
}

/// Opens what computes: of several processes, which would share a GPU, each takes the CPU unless
/// told otherwise.
///
/// # Errors
/// As [`device::open`].
pub fn open_device(wanted: &Wanted, threads: usize, group: &Group) -> Result<Opened, OpenError> {
    let wanted = match (wanted, group) {
        (Wanted::Auto, Some(ranks)) if ranks.count() > 1 => &Wanted::Cpu,
        _ => wanted,
    };
    device::open(wanted, threads_of(threads, group))
}

/// Threads that compute: those asked for, or for 0 this process's part of its machine.
pub fn threads_of(asked: usize, group: &Group) -> usize {
    match (asked, group) {
        (0, Some(ranks)) => ranks.threads().unwrap_or(0),
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::threads;

    #[test]
    fn several_processes_take_the_cpu_unless_told_otherwise() {
        for ranks in threads(2) {
            let opened = open_device(&Wanted::Auto, 1, &Some(ranks)).unwrap();
            assert_eq!((opened.taken, opened.why), (Wanted::Cpu, None));
            assert_eq!(opened.device.threads(), 1);
        }
        let alone = open_device(&Wanted::Cpu, 2, &None).unwrap();
        assert_eq!((alone.taken, alone.device.threads()), (Wanted::Cpu, 2));
    }
}
