//! Sessions that answer beside each other on the same weights.
//!
//! One picture at a time is computed by all threads of the device; where several are wanted at
//! once, each is computed by the thread that asks. The answers are the same bits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use resnet_engine::exec::{ExecError, Session};

/// A session with memory for one picture.
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) x: Vec<f32>,
    pub(super) logits: Vec<f32>,
}

impl Worker {
    pub(super) fn new(session: Session) -> Worker {
        let plan = session.plan();
        let (x, logits) = (vec![0.0; plan.input_shape.len()], vec![0.0; plan.classes]);
        Worker { session, x, logits }
    }
}

/// As many workers as are wanted at once, up to a limit.
pub(super) struct Workers {
    state: Mutex<State>,
    freed: Condvar,
    most: usize,
}

struct State {
    idle: Vec<Worker>,
    made: usize,
    working: usize,
    waiting: usize,
    /// Callers that keep all threads busy by themselves.
    crowds: usize,
}

impl Workers {
    /// One worker; `most` at most, of which each takes an arena.
    pub(super) fn new(first: Worker, most: usize) -> Workers {
        let state = State { idle: vec![first], made: 1, working: 0, waiting: 0, crowds: 0 };
        Workers { state: Mutex::new(state), freed: Condvar::new(), most: most.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a worker of its own, waiting for one where all are at work.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, ExecError>,
    ) -> Result<T, ExecError> {
        let mut turn = self.turn();
        let worker = turn.worker.as_mut().expect("a turn has a worker until it ends");
        work(worker)
    }

    fn turn(&self) -> Turn<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        let mut worker = loop {
            if let Some(worker) = state.idle.pop() {
                break worker;
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting -= 1;
        state.working += 1;
        let alone = state.working == 1 && state.waiting == 0 && state.crowds == 0;
        drop(state);
        worker.session.set_gang(alone);
        Turn { workers: self, worker: Some(worker) }
    }

    /// Lets every worker compute with its caller's thread alone until the guard is dropped, and
    /// makes `count` of them, or as many as there is memory for.
    pub(super) fn crowd(&self, count: usize) -> Crowd<'_> {
        self.lock().crowds += 1;
        let crowd = Crowd(self);
        let mut turn = self.turn();
        let worker = turn.worker.as_mut().expect("a turn has a worker until it ends");
        while self.lock().made < count.min(self.most) {
            let Ok(fork) = worker.session.fork(None) else { break };
            let mut state = self.lock();
            state.made += 1;
            state.idle.push(Worker::new(fork));
            self.freed.notify_one();
        }
        crowd
    }
}

/// A worker in use; it goes back however the use ends.
struct Turn<'a> {
    workers: &'a Workers,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let mut state = self.workers.lock();
        state.working -= 1;
        // Whoever waits finds one worker when this one is back; for more of them, more are made.
        // One that there is no memory for is not.
        while state.waiting > state.idle.len() + 1 && state.made < self.workers.most {
            match worker.session.fork(None) {
                Ok(fork) => {
                    state.made += 1;
                    state.idle.push(Worker::new(fork));
                }
                Err(_) => break,
            }
        }
        state.idle.push(worker);
        drop(state);
        self.workers.freed.notify_all();
    }
}

/// See [`Workers::crowd`].
pub(super) struct Crowd<'a>(&'a Workers);

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.0.lock().crowds -= 1;
    }
}
