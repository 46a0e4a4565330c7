//! An MPI that is found when the program runs: Open MPI, and all that have MPICH's ABI (MPICH,
//! Intel MPI, MVAPICH, Cray) or the standard one.
//!
//! [`launched`] tells from the environment whether a launcher started this process. [`World::open`]
//! then loads the MPI that belongs to the launcher and joins the other processes. One thread makes
//! all calls; [`World::start`] queues work for it, which runs beside whatever the caller computes.
//! A second thread watches for processes that take no part any more ([`World::set_patience`]).
//!
//! Floats and bytes are all that is sent. Every rank asks for the same things in the same order.

mod calls;
mod cpus;
mod dialect;
mod error;
mod functions;
mod launched;
mod library;
mod mpi;
mod shared;
mod text;
mod thread;
mod verdict;
mod watchdog;
mod world;

pub use calls::Calls;
pub use cpus::Cpus;
pub use error::MpiError;
pub use launched::{LIBRARY_VARIABLE, Launched, Launcher, Wire, launched};
pub use library::installed;
pub use shared::Tell;
pub use watchdog::TIMEOUT_VARIABLE;
pub use world::{Work, World, abort_if_open};
