//! What other processes learn of a run, and ask of it: whether it is under way, and that it stops.
//!
//! A request is a file, [`STOP`], in the run directory. The run looks for it as it goes, saves,
//! ends as at an interrupt and removes it; a run that begins or goes on removes one that was left.
//! Unlike a signal it reaches a run in another container or on another machine, it needs no more
//! rights than those to the directory, and it can hit no other process that has the number of one
//! that ended.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Flow, Observer, TrainError};
use crate::base::files::FileError;

/// In a run directory, asks the run to save and stop.
pub const STOP: &str = ".stop";

/// In a run directory, what the process that trains there has locked.
pub(super) const LOCK: &str = ".lock";

/// Least time between two looks for a request: on a network's file system each takes a while.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whether a process trains in a directory; `None` where the file system has no locks that tell.
pub fn is_running(root: &Path) -> Option<bool> {
    match File::open(root.join(LOCK)).map(|lock| lock.try_lock_shared()) {
        Ok(Ok(())) => Some(false),
        Ok(Err(TryLockError::WouldBlock)) => Some(true),
        Ok(Err(TryLockError::Error(_))) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// Asks the run in a directory to save and stop.
///
/// # Errors
/// The directory cannot be written to.
pub fn ask_to_stop(root: &Path) -> Result<(), TrainError> {
    let path = root.join(STOP);
    let asked = File::create(&path);
    asked.map(|_| ()).map_err(|source| FileError::Write { path, source }.into())
}

/// Whether the run in a directory has been asked to stop, and has not yet done so.
pub fn is_asked_to_stop(root: &Path) -> bool {
    root.join(STOP).exists()
}

/// Takes a request back, or away once it is met.
pub(super) fn forget_stop(root: &Path) -> Result<(), FileError> {
    let path = root.join(STOP);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| FileError::Write { path, source }),
    }
}

/// Looks for a request, now and then.
pub(super) struct Requests {
    /// The file; none without a directory.
    file: Option<PathBuf>,
    looked: Instant,
    found: bool,
}

impl Requests {
    pub(super) fn of(root: Option<&Path>) -> Requests {
        let file = root.map(|root| root.join(STOP));
        Requests { file, looked: Instant::now(), found: false }
    }

    /// Stop, once there is a request, of which the observer is told, or else what the observer
    /// says.
    pub(super) fn or(&mut self, observer: &mut dyn Observer, says: Flow) -> Flow {
        if let Some(file) = &self.file
            && !self.found
            && self.looked.elapsed() >= LOOK_EVERY
        {
            self.found = file.exists();
            self.looked = Instant::now();
            if self.found {
                observer.asked_to_stop();
            }
        }
        if self.found { Flow::Stop } else { says }
    }
}
