//! The processes of a run, as one of them sees them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cpus::Cpus;
use crate::error::MpiError;
use crate::launched::Launched;
use crate::shared::{Shared, Tell};
pub use crate::thread::Work;
use crate::thread::{join, run};
use crate::watchdog::patience_of_environment;

/// Stack of the thread of communication: MPIs expect that of a main thread.
const STACK: usize = 8 << 20;

/// MPI starts once in a process.
static OPENED: AtomicBool = AtomicBool::new(false);
/// The world that is open.
static OPEN: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

fn set_open(shared: Option<Arc<Shared>>) {
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = shared;
}

/// Ends all processes of the run with a code; where there is no world, it returns. After a rank was
/// lost, rank 0 is given time to save before.
pub fn abort_if_open(code: i32) {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(shared) = open {
        shared.let_first_save();
        shared.abort(code);
    }
}

/// The processes that a launcher started, of which this is one.
///
/// Dropped, it waits for all ranks to do the same and ends MPI. One that fails while the others go
/// on calls [`World::abort`]; a panic does the same.
pub struct World {
    shared: Arc<Shared>,
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// The environment says how long to wait.
    is_told: bool,
}

impl World {
    /// Loads an MPI and joins the other processes. `tell` hears why the run ends, should it be
    /// given up.
    ///
    /// # Errors
    /// No MPI is found, or one that does not belong to the launcher; a variable is wrong; this
    /// process has opened a world before.
    pub fn open(launched: &Launched, tell: Tell) -> Result<Self, MpiError> {
        let told = patience_of_environment()?;
        if OPENED.swap(true, Ordering::Relaxed) {
            return Err(MpiError::Twice);
        }
        let (sender, receiver) = channel::<Work>();
        let (answer, opened) = channel();
        let (launched, patience) = (*launched, told.flatten());
        let thread = thread::Builder::new().name("communication".into()).stack_size(STACK);
        let thread = thread.spawn(move || {
            let shared = match join(&launched, patience, tell) {
                Ok(shared) => Arc::new(shared),
                Err(error) => return drop(answer.send(Err(error))),
            };
            if answer.send(Ok(shared.clone())).is_ok() {
                run(&shared, receiver);
            }
        });
        let refused = |error: std::io::Error| MpiError::Failed {
            call: "a thread of communication",
            reason: error.to_string(),
        };
        let thread = Some(thread.map_err(refused)?);
        let shared = opened.recv().map_err(|_| MpiError::Ended)??;
        set_open(Some(shared.clone()));
        Ok(Self { shared, work: Some(sender), thread, is_told: told.is_some() })
    }

    /// Which process this is, from 0.
    pub fn rank(&self) -> usize {
        self.shared.rank
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.count()
    }

    /// Which MPI carries the messages, such as `Open MPI 4.1.4`.
    pub fn about(&self) -> &str {
        &self.shared.about
    }

    /// The machine of each rank.
    pub fn hosts(&self) -> &[String] {
        &self.shared.hosts
    }

    /// CPUs of this process and of its machine, where the system tells them.
    pub fn cpus(&self) -> Option<Cpus> {
        let own = &self.shared.hosts[self.shared.rank];
        Cpus::read(self.shared.hosts.iter().filter(|host| *host == own).count())
    }

    /// Queues work for the thread of communication.
    pub fn start(&self, work: Work) {
        if let Some(sender) = &self.work {
            // Where the thread has ended, the work is dropped, and so is what waits for it.
            let _ = sender.send(work);
        }
    }

    /// How long a rank may take no part before all are ended; none waits for ever, as at first.
    /// The environment's [`TIMEOUT_VARIABLE`](crate::TIMEOUT_VARIABLE) overrides it.
    pub fn set_patience(&self, patience: Option<Duration>) {
        if !self.is_told {
            self.shared.set_patience(patience);
        }
    }

    /// Ends all processes of the run with a code.
    pub fn abort(&self, code: i32) -> ! {
        self.shared.abort(code)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            self.abort(101);
        }
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread ends the process by itself.
            let _ = thread.join();
        }
        set_open(None);
    }
}
