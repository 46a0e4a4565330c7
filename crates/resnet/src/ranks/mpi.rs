//! The processes that an MPI launcher started, as ranks.

use std::sync::Arc;
use std::time::Duration;

use resnet_engine::exec::DefaultThreads;
pub use resnet_mpi::MpiError;
use resnet_mpi::{Cpus, LIBRARY_VARIABLE, World, abort_if_open, installed, launched};

use super::{Calls, Ranks, RanksError, Work};

/// What is told of the processes beside what they compute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The launcher binds processes so that CPUs are left without one; rank 0 tells it.
    IdleCpus {
        /// CPUs that this process may run on.
        bound: usize,
        /// CPUs of its machine.
        machine: usize,
        /// Processes of the run on this machine.
        ranks: usize,
        /// How the launcher is told to bind none.
        remedy: &'static str,
    },
    /// The run is given up, for this reason; all processes end when this was told. One rank tells
    /// it, whichever could.
    GivenUp(String),
}

/// Who hears notices, on any thread.
pub type Tell = Box<dyn Fn(Notice) + Send + Sync>;

/// The number that a launcher gave this process. Where ranks fail alike, one of them speaks: the
/// first, which this tells before there are ranks.
pub fn claimed_rank() -> Option<usize> {
    launched().map(|launched| launched.rank.unwrap_or(0))
}

/// What is known of an MPI before any is started.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Prospect {
    /// Who started this process as one of several, with its number and how many there are.
    pub launcher: Option<String>,
    /// The library that would be taken and where it is, such as `Open MPI 4.1.4 (libmpi.so.40)`.
    pub library: Option<String>,
    /// Why there is none.
    pub missing: Option<String>,
}

/// What would carry messages here; a library that is found is loaded and not started.
pub fn prospect() -> Prospect {
    let launched = launched();
    let (library, missing) = match installed(launched.map(|launched| launched.launcher)) {
        Ok(Some(library)) => (Some(library), None),
        Ok(None) => (None, Some(format!("{LIBRARY_VARIABLE} is none"))),
        // Nobody asked for one.
        Err(MpiError::NotFound { looked_for, .. }) if launched.is_none() => {
            (None, Some(format!("no {} is here", looked_for.join(", "))))
        }
        Err(error) => (None, Some(error.to_string())),
    };
    let launcher = launched.map(|by| {
        let number = |n: Option<usize>| n.map_or("?".into(), |n| n.to_string());
        format!("{}, rank {} of {}", by.launcher, number(by.rank), number(by.count))
    });
    Prospect { launcher, library, missing }
}

/// The processes that a launcher started together with this one; none, where no launcher did. Call
/// it once. What is returned must be dropped before the process exits.
///
/// # Errors
/// There are several processes and no MPI to speak through, or one that does not belong to their
/// launcher.
pub fn world(tell: Tell) -> Result<Option<Arc<dyn Ranks>>, RanksError> {
    let Some(launched) = launched() else { return Ok(None) };
    let tell = Arc::new(tell);
    let own = tell.clone();
    let given_up = Box::new(move |reason: &str| own(Notice::GivenUp(reason.to_string())));
    let world = match World::open(&launched, given_up) {
        Ok(world) => world,
        // One process has nobody to speak to.
        Err(MpiError::NotFound { .. }) if launched.count == Some(1) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if let Some(cpus) = world.cpus()
        && world.rank() == 0
        && cpus.are_left_idle()
    {
        let Cpus { bound, machine, ranks, .. } = cpus;
        tell(Notice::IdleCpus { bound, machine, ranks, remedy: launched.launcher.unbound() });
    }
    Ok(Some(Arc::new(Mpi(world))))
}

/// Ends all processes of the run, where there are several: one that fails by itself would be waited
/// for. Returns where there is no world.
pub fn end_all(code: i32) {
    abort_if_open(code);
}

impl From<MpiError> for RanksError {
    fn from(error: MpiError) -> Self {
        match error {
            MpiError::Lost { call, reason } | MpiError::Failed { call, reason } => {
                Self::Lost(format!("{call}: {reason}"))
            }
            other => Self::Mpi(other),
        }
    }
}

/// Threads of a process beside others: a share of the CPUs, but no more than one for each of the
/// `cores` worth one that are its own, or its part of them where all processes run on the same.
fn room(cpus: &Cpus, cores: usize) -> usize {
    let part = cores * cpus.machine / (cpus.bound * cpus.ranks).max(1);
    cpus.share().min(part.min(cores)).max(1)
}

struct Mpi(World);

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn count(&self) -> usize {
        self.0.count()
    }

    fn about(&self) -> String {
        self.0.about().to_string()
    }

    fn threads(&self) -> Option<usize> {
        // By itself on its machine, a process uses what it always does.
        self.0
            .cpus()
            .filter(|cpus| cpus.ranks > 1)
            .map(|cpus| room(&cpus, DefaultThreads::get().fast))
    }

    fn start(&self, work: Work) {
        self.0.start(Box::new(move |calls| work(&mut Through(calls))));
    }

    fn set_patience(&self, patience: Option<Duration>) {
        self.0.set_patience(patience);
    }
}

struct Through<'a>(&'a mut resnet_mpi::Calls);

impl Calls for Through<'_> {
    fn all_to_all(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        Ok(self.0.all_to_all(send, recv)?)
    }

    fn all_gather(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        Ok(self.0.all_gather(send, recv)?)
    }

    fn all_gather_bytes(&mut self, send: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(self.0.all_gather_bytes(send)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_cores_and_not_their_hardware_threads() {
        // 128 CPUs of 64 cores: what a process is bound to, its cores, processes, threads.
        for (bound, cores, ranks, threads) in [
            (128, 64, 1, 64),
            (128, 64, 4, 16),
            (128, 64, 100, 1),
            (32, 16, 4, 16),
            (2, 1, 64, 1),
            (64, 64, 2, 64),
        ] {
            let cpus = Cpus { bound, machine: 128, ranks, usable: bound };
            assert_eq!(room(&cpus, cores), threads, "{cpus:?}");
        }
        // A quota of 8 CPUs for two processes.
        let cpus = Cpus { bound: 128, machine: 128, ranks: 2, usable: 8 };
        assert_eq!(room(&cpus, 64), 4);
    }
}
