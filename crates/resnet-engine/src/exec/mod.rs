//! Runs plans. A [`Device`] prepares a plan; what it returns, a [`Backend`], runs its steps. Both
//! see steps and slots, never a network, so another device is a second implementation of these two
//! traits. Everybody else holds a [`Session`].

mod cgroup;
mod cpu;
mod device;
mod error;
mod session;
mod threads;

use std::sync::Arc;

pub use cgroup::CgroupLimits;
pub use cpu::{ConvTime, Telling, instruction_sets, time_convolution};
pub use device::{Backend, Device, Keep, Kernel, Limits, Rates, Reduce};
pub use error::{ExecError, NoMemory, OpenError};
pub use session::{Session, Target};
pub use threads::DefaultThreads;

/// This machine's CPU with so many threads, or [what is fastest](DefaultThreads) for 0.
///
/// # Errors
/// An environment variable that restricts its instructions is wrong.
pub fn cpu(threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    cpu::open(self::threads(threads))
}

/// Threads that compute: as many as asked for, or [what is fastest](DefaultThreads) for 0.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => DefaultThreads::get().count,
        threads => threads.min(MOST_THREADS),
    }
}

/// Most threads that are of use.
const MOST_THREADS: usize = 1024;
