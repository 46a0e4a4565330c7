//! Runs plans. A [`Device`] prepares a plan; what it returns, a [`Backend`], runs its steps. Both
//! see steps and slots, never a network, so another device is a second implementation of these two
//! traits and a row of [`DEVICES`]. Everybody else holds a [`Session`].

mod cpu;
mod device;
mod error;
mod session;

use std::sync::Arc;

pub use cpu::{ConvTime, Telling, time_convolution};
pub use device::{Backend, Device, DeviceKind, Keep, Kernel, Limits, Rates, Reduce};
pub use error::{ExecError, NoMemory, OpenError};
pub use session::{Session, Target};

/// Every kind of device.
pub const DEVICES: &[DeviceKind] = &[cpu::KIND];

/// Opens a device by name, with so many threads of the host, or one a core for 0.
///
/// # Errors
/// There is none of this name, or it cannot be used here.
pub fn open(name: &str, threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    let kind = DEVICES.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let known: Vec<&str> = DEVICES.iter().map(|kind| kind.name).collect();
        OpenError(format!("unknown device `{name}`; known are {}", known.join(", ")))
    })?;
    (kind.open)(self::threads(threads))
}

/// This machine's CPU with so many threads, or one a core for 0.
///
/// # Errors
/// An environment variable that restricts its instructions is wrong.
pub fn cpu(threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    open(cpu::KIND.name, threads)
}

/// Threads that compute: as many as asked for, or one a core for 0.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.min(MOST_THREADS),
    }
}

/// Most threads that are of use.
const MOST_THREADS: usize = 1024;
