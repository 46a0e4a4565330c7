//! The worker threads of an epoch, and the window through which they hand over their batches in
//! order.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Batch, Job, lock};
use crate::data::{DataError, Image};

/// The worker threads of an epoch.
pub(super) struct Crew {
    window: Arc<Window>,
    threads: Vec<JoinHandle<()>>,
}

/// The places through which batches are handed over: batch s in place s modulo their number.
struct Window {
    state: Mutex<State>,
    /// Tells workers that a place is free, or to stop.
    free: Condvar,
    /// Tells the caller that a batch is ready, or that a worker has ended.
    ready: Condvar,
}

struct State {
    places: Vec<Option<Result<Batch, DataError>>>,
    /// The next batch to begin.
    begin: usize,
    /// The next batch to hand over.
    take: usize,
    working: usize,
    stop: bool,
}

impl Crew {
    /// None if no workers are wanted, or the system gives no thread.
    pub(super) fn start(job: &Arc<Job>, from: usize, workers: usize) -> Option<Crew> {
        let places = job.shared.options.prefetch.max(workers);
        let window = Arc::new(Window {
            state: Mutex::new(State {
                places: (0..places).map(|_| None).collect(),
                begin: from,
                take: from,
                working: 0,
                stop: false,
            }),
            free: Condvar::new(),
            ready: Condvar::new(),
        });
        let mut crew = Crew { window, threads: Vec::with_capacity(workers) };
        for number in 0..workers {
            let (job, window) = (job.clone(), crew.window.clone());
            lock(&window.state).working += 1;
            let ended = Ended(window.clone());
            let spawned =
                thread::Builder::new().name(format!("loader-{number}")).spawn(move || {
                    let _ended = ended;
                    work(&job, &window);
                });
            match spawned {
                Ok(thread) => crew.threads.push(thread),
                Err(_) => break, // fewer workers, the same batches
            }
        }
        (!crew.threads.is_empty()).then_some(crew)
    }

    /// Waits for a batch; none once the workers have ended without it.
    pub(super) fn take(&self, step: usize) -> Option<Result<Batch, DataError>> {
        let mut state = lock(&self.window.state);
        let place = step % state.places.len();
        loop {
            if let Some(built) = state.places[place].take() {
                state.take = step + 1;
                self.window.free.notify_all();
                return Some(built);
            }
            if state.working == 0 {
                return None;
            }
            state = self.window.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        lock(&self.window.state).stop = true;
        self.window.free.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has already been handed over as an error
        }
    }
}

/// Counts a worker out however it ends, so that the caller never waits for one that is gone.
struct Ended(Arc<Window>);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.state).working -= 1;
        self.0.ready.notify_all();
    }
}

fn work(job: &Job, window: &Window) {
    let mut image = Image::default();
    loop {
        let step = {
            let mut state = lock(&window.state);
            while !state.stop && state.begin >= state.take + state.places.len() {
                state = window.free.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop || state.begin >= job.end {
                return;
            }
            state.begin += 1;
            state.begin - 1
        };
        let built = job.build(step, &mut image);
        let mut state = lock(&window.state);
        state.stop |= built.is_err(); // the batches before it are under way or done; none after it is wanted
        let place = step % state.places.len();
        state.places[place] = Some(built);
        window.ready.notify_all();
        window.free.notify_all();
    }
}
