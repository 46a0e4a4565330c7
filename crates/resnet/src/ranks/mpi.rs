//! The processes that an MPI launcher started, as ranks.

use std::sync::Arc;
use std::time::Duration;

pub use resnet_mpi::MpiError;
use resnet_mpi::{World, abort_if_open, launched};

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
        let resnet_mpi::Cpus { bound, machine, ranks, .. } = cpus;
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
        self.0.cpus().filter(|cpus| cpus.ranks > 1).map(|cpus| cpus.share())
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
