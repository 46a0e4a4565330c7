//! Sessions that answer beside each other on the same weights.
//!
//! One picture at a time is computed by all threads of the device; where many are wanted at once,
//! each is computed by the thread that asks. The answers are the same bits.
//!
//! The two never mix: threads of both kinds on one core would wait for each other. A few pictures
//! are computed one after another where all threads together are nearly as fast as each by itself,
//! since half of them are then answered sooner and none later. And a picture waits for those that
//! one thread computes where all threads would then be done with it sooner: else pictures that once
//! met would be computed beside each other for as long as more come steadily.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    at_work: AtWork,
    waiting: usize,
    /// Callers that keep all threads busy by themselves.
    crowds: usize,
}

/// Which threads compute a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All of the device.
    All,
    /// The caller's.
    Own,
}

/// What is being computed, and how long it takes.
struct AtWork {
    /// Threads of the device.
    threads: u32,
    /// Whether a picture is being computed by all threads.
    all: bool,
    /// When those began that are computed by one thread each.
    own: Vec<Instant>,
    /// How long a picture takes by each way, of late.
    times: [Option<Duration>; 2],
    /// Pictures alone that one thread has computed since all threads last did.
    since_all: u32,
}

/// All threads must be done in so much of the time that one thread takes to be worth it.
const WORTH: f64 = 0.75;
/// And as many times as there are threads in so much of it to be as good for several pictures.
const AS_GOOD: f64 = 1.2;
/// Pictures alone after which all threads are tried again where they were not worth it.
const TRY_AGAIN: u32 = 256;

impl AtWork {
    fn new(threads: usize) -> AtWork {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX).max(1);
        AtWork { threads, all: false, own: Vec::new(), times: [None; 2], since_all: 0 }
    }

    /// How a picture is computed beside which `others` ask, or for a `crowd` that waits; `None`:
    /// not yet.
    fn way(&self, others: bool, crowd: bool, now: Instant) -> Option<Way> {
        if self.all {
            return None;
        }
        let [all, own] = self.times;
        let (Some(all), Some(own)) = (all, own) else {
            let alone = !others && !crowd && self.own.is_empty();
            return Some(if alone { Way::All } else { Way::Own });
        };
        let worth = all < own.mul_f64(WORTH) || self.since_all >= TRY_AGAIN;
        let as_good = all * self.threads < own.mul_f64(AS_GOOD);
        if crowd || !worth || (others && !as_good) {
            return Some(Way::Own);
        }
        match self.own.iter().map(|&began| own.saturating_sub(now - began)).max() {
            None => Some(Way::All),
            Some(left) if left + all < own => None,
            Some(_) => Some(Way::Own),
        }
    }

    fn begin(&mut self, way: Way, now: Instant) {
        match way {
            Way::All => (self.all, self.since_all) = (true, 0),
            Way::Own => {
                self.since_all = self.since_all.saturating_add(u32::from(self.own.is_empty()));
                self.own.push(now);
            }
        }
    }

    fn end(&mut self, way: Way, began: Instant, now: Option<Instant>) {
        match way {
            Way::All => self.all = false,
            Way::Own => {
                if let Some(at) = self.own.iter().position(|&other| other == began) {
                    self.own.swap_remove(at);
                }
            }
        }
        let Some(now) = now else { return };
        let time = &mut self.times[way as usize];
        let took = now - began;
        // What a run takes longer is mostly others' doing, and first runs touch new memory.
        let near = |old| if took < old { 2 } else { 8 };
        *time = Some(time.map_or(took, |old| old - old / near(old) + took / near(old)));
    }
}

impl Workers {
    /// One worker; `most` at most, of which each takes an arena.
    pub(super) fn new(first: Worker, most: usize) -> Workers {
        let at_work = AtWork::new(most);
        let state = State { idle: vec![first], made: 1, at_work, waiting: 0, crowds: 0 };
        Workers { state: Mutex::new(state), freed: Condvar::new(), most: most.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a worker of its own, waiting for one where all are at work; `crowded` says
    /// that more pictures wait than those that ask here.
    pub(super) fn with<T>(
        &self,
        crowded: bool,
        work: impl FnOnce(&mut Worker) -> Result<T, ExecError>,
    ) -> Result<T, ExecError> {
        let mut turn = self.turn(crowded);
        let worker = turn.worker.as_mut().expect("a turn has a worker until it ends");
        let done = work(worker);
        turn.measured = done.is_ok();
        done
    }

    fn turn(&self, crowded: bool) -> Turn<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        if state.waiting > 1 {
            // One that waits alone for all threads does so no longer.
            self.freed.notify_all();
        }
        let (worker, way, began) = loop {
            let now = Instant::now();
            let way = match state.crowds {
                0 => state.at_work.way(state.waiting > 1, crowded, now),
                _ => (!state.at_work.all).then_some(Way::Own),
            };
            if let Some(way) = way
                && let Some(worker) = state.idle.pop()
            {
                break (worker, way, now);
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting -= 1;
        state.at_work.begin(way, began);
        drop(state);
        let mut turn = Turn { workers: self, worker: Some(worker), way, began, measured: false };
        if let Some(worker) = &mut turn.worker {
            worker.session.set_gang(way == Way::All);
        }
        turn
    }

    /// Lets every worker compute with its caller's thread alone until the guard is dropped, and
    /// makes `count` of them, or as many as there is memory for.
    pub(super) fn crowd(&self, count: usize) -> Crowd<'_> {
        self.lock().crowds += 1;
        let crowd = Crowd(self);
        let mut turn = self.turn(true);
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
    way: Way,
    began: Instant,
    /// Whether it was an answer, whose time is that of a picture.
    measured: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let mut state = self.workers.lock();
        state.at_work.end(self.way, self.began, self.measured.then(Instant::now));
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Of two threads, both take 10 ms and one takes 20.
    fn measured() -> (AtWork, Instant) {
        let (mut at_work, now) = (AtWork::new(2), Instant::now());
        for (way, took) in [(Way::All, 10 * MS), (Way::Own, 20 * MS)] {
            at_work.begin(way, now);
            at_work.end(way, now, Some(now + took));
        }
        (at_work, now)
    }

    #[test]
    fn all_threads_compute_a_few_pictures_in_turn_and_a_crowd_is_shared_out() {
        let (mut at_work, now) = measured();
        assert_eq!(at_work.way(false, false, now), Some(Way::All));
        assert_eq!(at_work.way(true, false, now), Some(Way::All));
        assert_eq!(at_work.way(true, true, now), Some(Way::Own));
        // Eight threads in half of the time of one are a waste where several wait.
        at_work.threads = 8;
        assert_eq!(at_work.way(true, false, now), Some(Way::Own));
        assert_eq!(at_work.way(false, false, now), Some(Way::All));
        // Nothing is computed beside what all threads do.
        at_work.begin(Way::All, now);
        assert_eq!((at_work.way(false, false, now), at_work.way(true, true, now)), (None, None));
    }

    #[test]
    fn pictures_that_met_part_again() {
        let (mut at_work, now) = measured();
        at_work.begin(Way::Own, now);
        // 12 ms after the first began its 20, 8 are left; with all threads the next is done in 18.
        assert_eq!(at_work.way(false, false, now + 12 * MS), None);
        assert_eq!(at_work.way(false, false, now + 9 * MS), Some(Way::Own));
        assert_eq!(at_work.way(false, true, now + 12 * MS), Some(Way::Own));
        at_work.end(Way::Own, now, Some(now + 20 * MS));
        assert_eq!(at_work.way(false, false, now + 20 * MS), Some(Way::All));
    }

    #[test]
    fn threads_that_help_little_are_left_out_and_tried_again_later() {
        let (mut at_work, now) = measured();
        at_work.times[Way::All as usize] = Some(18 * MS);
        for _ in 1..TRY_AGAIN {
            assert_eq!(at_work.way(false, false, now), Some(Way::Own));
            at_work.begin(Way::Own, now);
            at_work.end(Way::Own, now, Some(now + 20 * MS));
        }
        assert_eq!(at_work.way(false, false, now), Some(Way::All));
    }
}
