//! Several processes that train one network: who they are, what they may ask of each other, and
//! sums whose bits do not depend on how many they are.
//!
//! A [`Ranks`] has a thread of communication of its own; [`ask`] queues work for it, which runs
//! beside whatever the caller computes. Every rank asks for the same things in the same order.
//! [`mpi`] has the processes that a launcher started, [`threads`] are ranks within one process.

mod agree;
mod ask;
pub mod mpi;
mod sum;
mod threads;
pub mod tree;

pub(crate) use agree::read_each;
pub use agree::{gather, have_failed_together, together};
pub use ask::{
    Calls, Group, Pending, Ranks, RanksError, Work, ask, is_first, open_device, threads_of,
};
pub use sum::{Buffers, Spread, ordered_sum};
pub use threads::threads;
