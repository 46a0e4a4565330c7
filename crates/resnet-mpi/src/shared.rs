//! What the threads of a world know in common.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::MpiError;
use crate::mpi::{Mpi, NOTE};

/// Is told why the run ends, by the one rank that words it.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// How long MPI has to end the processes, before this one ends by itself.
const ABORT: Duration = Duration::from_secs(5);
/// How long rank 0 has to save, once another is lost.
const SAVE: Duration = Duration::from_secs(60);
/// Time between two looks whether it is still there.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    pub(crate) mpi: Box<dyn Mpi>,
    pub(crate) rank: usize,
    /// The machine of each rank.
    pub(crate) hosts: Vec<String>,
    /// Which MPI it is.
    pub(crate) about: String,
    /// Whether several threads may call.
    pub(crate) several: bool,
    pub(crate) tell: Tell,
    /// Twice the calls that are done, and one more inside a call.
    progress: AtomicU64,
    /// The caller wants nothing more.
    ending: AtomicBool,
    /// Why no call can be made any more.
    broken: OnceLock<MpiError>,
    control: Mutex<Control>,
    changed: Condvar,
}

/// What the watchdog is told.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) patience: Option<Duration>,
    pub(crate) ended: bool,
}

impl Shared {
    pub(crate) fn new(
        mpi: Box<dyn Mpi>,
        rank: usize,
        hosts: Vec<String>,
        about: String,
        several: bool,
        patience: Option<Duration>,
        tell: Tell,
    ) -> Self {
        let (progress, ending, broken) = Default::default();
        let control = Mutex::new(Control { patience, ended: false });
        let changed = Condvar::new();
        Self { mpi, rank, hosts, about, several, tell, progress, ending, broken, control, changed }
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn broken(&self) -> Option<&MpiError> {
        self.broken.get()
    }

    /// Makes a call in which others take part. After one has failed none is made any more: ranks
    /// would no longer be at the same one.
    pub(crate) fn call(
        &self,
        call: impl FnOnce(&dyn Mpi) -> Result<(), MpiError>,
    ) -> Result<(), MpiError> {
        if let Some(error) = self.broken() {
            return Err(error.clone());
        }
        self.progress.fetch_add(1, Ordering::Relaxed);
        let done = call(self.mpi.as_ref());
        self.progress.fetch_add(1, Ordering::Relaxed);
        done.inspect_err(|error| {
            let _ = self.broken.set(error.clone());
            self.mpi.revoke();
        })
    }

    /// After a rank was lost: gives rank 0 time to save what there is. A launcher that lets the
    /// others live ends them as soon as one of them ends with an error.
    pub(crate) fn let_first_save(&self) {
        if self.rank == 0 || self.broken().is_none() {
            return;
        }
        let began = Instant::now();
        // What cannot be sent any more says that it is lost as well.
        let mut word = None;
        while began.elapsed() < SAVE {
            if self.several && word.is_none() {
                match self.mpi.send_note(0, [0; NOTE]) {
                    Ok(sent) => word = Some(sent),
                    Err(_) => return,
                }
            }
            thread::sleep(LOOK);
            match word.as_mut().map(|sent| sent.is_sent()) {
                Some(Ok(true)) => word = None,
                Some(Err(_)) => return,
                Some(Ok(false)) | None => {}
            }
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        self.control().patience = patience;
        self.changed.notify_all();
    }

    /// Ends the watchdog.
    pub(crate) fn end_watch(&self) {
        self.control().ended = true;
        self.changed.notify_all();
    }

    /// What the watchdog is told, after a pause that ends early with the watch.
    pub(crate) fn pause(&self, pause: Duration) -> Control {
        let waited = self.changed.wait_timeout_while(self.control(), pause, |told| !told.ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends all processes of the run, this one in any case.
    pub(crate) fn abort(self: &Arc<Self>, code: i32) -> ! {
        let own = self.clone();
        // An MPI that hangs must not keep the process. Where no thread is to be had, it may.
        let started = thread::Builder::new().spawn(move || own.mpi.abort(code));
        match started {
            Ok(_) => thread::sleep(ABORT),
            Err(_) => self.mpi.abort(code),
        }
        process::abort()
    }
}
