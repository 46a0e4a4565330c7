//! A fixed set of threads that run one parallel loop at a time.
//!
//! The caller takes part. Workers that have finished watch for the next loop for some tens of
//! microseconds, go on for some hundreds while no one else wants the core, then sleep. A loop ends
//! when every worker that joined it has left it; a worker that wakes too late finds the loop closed
//! and the caller does not wait for it.
//!
//! Each thread has a share of a loop's tasks, the same part of them in every loop, and takes
//! another's only when its own are done. Kernels number their tasks in the order of memory, so a
//! thread finds what it wrote in the loop before in its own caches, which matters where the
//! threads' cores do not share one. What a task computes must not depend on the thread.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread watches without giving way: longer than the gap between two kernels.
const SPIN: Duration = Duration::from_micros(40);
/// How long it watches before it sleeps, offering the core to others meanwhile: longer than another
/// thread's last task usually takes, since to sleep and to be woken would cost as much again.
const WATCH: Duration = Duration::from_micros(400);

thread_local! {
    /// Whether this thread is inside a parallel loop; a loop started there runs on this thread
    /// alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The loop's body as the workers see it: `body(worker, task)`.
type Body = dyn Fn(usize, usize) + Sync;

/// The persistent threads.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held for a whole loop: callers on several threads take turns.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Workers sleep here for the next loop.
    wake: Condvar,
    /// The caller sleeps here until the last worker has left.
    left: Condvar,
    /// Copies of `State::round` and `State::active` to watch without the lock.
    round: AtomicUsize,
    active: AtomicUsize,
    shares: Box<[Share]>,
    stop: AtomicBool,
}

/// The tasks of a thread that are not taken yet, first and end in one number; a cache line of its
/// own, since all threads but one only look at it when they have nothing else to do; of two lines,
/// since some CPUs fetch them in twos.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share(AtomicU64);

impl Share {
    fn set(&self, tasks: Range<usize>) {
        self.0.store(pack(tasks.start, tasks.end), Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        unpack(self.0.load(Ordering::Relaxed)).len()
    }

    /// The first task, for the thread whose share it is; the last for others, who so stay out of
    /// its way.
    fn take(&self, own: bool) -> Option<usize> {
        let mut taken = 0;
        let shorter = |share| {
            let tasks = unpack(share);
            if tasks.is_empty() {
                return None;
            }
            if own {
                taken = tasks.start;
                Some(pack(tasks.start + 1, tasks.end))
            } else {
                taken = tasks.end - 1;
                Some(pack(tasks.start, tasks.end - 1))
            }
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shorter).ok()?;
        Some(taken)
    }
}

fn pack(start: usize, end: usize) -> u64 {
    (start as u64) << 32 | end as u64
}

fn unpack(share: u64) -> Range<usize> {
    (share >> 32) as usize..share as u32 as usize
}

#[derive(Debug, Default)]
struct State {
    job: Option<Job>,
    round: usize,
    active: usize,
    closing: bool,
    panic: Option<Box<dyn Any + Send>>,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    /// Points into the stack of the thread inside `Pool::run`, which stays there until no worker
    /// holds the job.
    body: *const Body,
}

// SAFETY: the pointee is `Sync`, and `Pool::run` keeps it alive while any worker can reach it.
unsafe impl Send for Job {}

impl Pool {
    /// A pool of `threads` threads, the caller counted; at least one.
    pub(crate) fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            left: Condvar::new(),
            round: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            shares: (0..threads.max(1)).map(|_| Share::default()).collect(),
            stop: AtomicBool::new(false),
        });
        let mut workers = Vec::new();
        for worker in 1..threads.max(1) {
            let shared = Arc::clone(&shared);
            let name = format!("resnet-{worker}");
            // A machine that refuses more threads still gets its work done by fewer.
            match thread::Builder::new().name(name).spawn(move || shared.work(worker)) {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        Pool { shared, workers, turn: Mutex::new(()) }
    }

    /// Threads, the caller counted.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(worker, task)` once for every task in `0..tasks`; `worker` is below
    /// [`Pool::threads`] and no two calls that run at the same time share it. The first panic in a
    /// task is raised again here once the loop has ended.
    pub(crate) fn run(&self, tasks: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        assert!(u32::try_from(tasks).is_ok(), "{tasks} tasks in a loop");
        if tasks <= 1 || self.workers.is_empty() || INSIDE.get() {
            let _inside = Inside::enter();
            (0..tasks).for_each(|task| body(0, task));
            return;
        }
        let _turn = lock(&self.turn);
        let shared = &*self.shared;
        // SAFETY: this only forgets the lifetime. The job is withdrawn and every worker that took
        // it has left before this function returns, and it cannot unwind before that: tasks are run
        // under `catch_unwind`.
        let body: *const Body = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), *const Body>(body)
        };
        let job = Job { body };
        {
            let mut state = lock(&shared.state);
            shared.share_out(tasks, self.threads());
            state.job = Some(job);
            state.round += 1;
            shared.round.store(state.round, Ordering::Release);
        }
        shared.wake.notify_all();
        let mut panic = shared.take_tasks(job, 0);

        let mut state = lock(&shared.state);
        state.job = None;
        if state.active > 0 {
            drop(state);
            spin_until(|| shared.active.load(Ordering::Acquire) == 0);
            state = lock(&shared.state);
            state.closing = true;
            while state.active > 0 {
                state = shared.left.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.closing = false;
        }
        panic = panic.or(state.panic.take());
        state.panic = None;
        drop(state);
        if let Some(panic) = panic {
            drop(_turn);
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _state = lock(&self.shared.state);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker cannot panic: tasks run under `catch_unwind`.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            let news =
                || self.round.load(Ordering::Acquire) != seen || self.stop.load(Ordering::Acquire);
            spin_until(news);
            let mut state = lock(&self.state);
            while state.round == seen && !self.stop.load(Ordering::Acquire) {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            seen = state.round;
            let Some(job) = state.job else { continue };
            state.active += 1;
            self.active.store(state.active, Ordering::Release);
            drop(state);

            let panic = self.take_tasks(job, worker);

            let mut state = lock(&self.state);
            if state.panic.is_none() {
                state.panic = panic;
            }
            state.active -= 1;
            self.active.store(state.active, Ordering::Release);
            if state.active == 0 && state.closing {
                self.left.notify_one();
            }
        }
    }

    /// Gives each of `threads` threads its share of the tasks.
    fn share_out(&self, tasks: usize, threads: usize) {
        // The caller, awake already, has the most where they are not even.
        let first = |worker: usize| (tasks * worker).div_ceil(threads);
        for worker in 0..threads {
            self.shares[worker].set(first(worker)..first(worker + 1));
        }
    }

    /// The worker's next task: of the share that it took the last one from, at first its own, or
    /// else of the fullest.
    fn take(&self, worker: usize, from: &mut usize) -> Option<usize> {
        loop {
            let task = self.shares[*from].take(*from == worker);
            if task.is_some() {
                return task;
            }
            *from = (0..self.shares.len()).max_by_key(|&share| self.shares[share].len())?;
            if self.shares[*from].len() == 0 {
                return None;
            }
        }
    }

    /// Runs tasks until none are left; returns the panic that stopped it, if one did.
    fn take_tasks(&self, job: Job, worker: usize) -> Option<Box<dyn Any + Send>> {
        let _inside = Inside::enter();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut from = worker;
            while let Some(task) = self.take(worker, &mut from) {
                // SAFETY: whoever calls `take_tasks` is either the thread inside `Pool::run`, or
                // counted in `active`, and `Pool::run` does not return while `active` counts
                // anyone.
                unsafe { (*job.body)(worker, task) };
            }
        }));
        if result.is_err() {
            // The others need not finish what will be thrown away.
            self.shares.iter().for_each(|share| share.set(0..0));
        }
        result.err()
    }
}

/// Marks this thread as inside a loop until dropped.
struct Inside(bool);

impl Inside {
    fn enter() -> Inside {
        Inside(INSIDE.replace(true))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Watches for `done` for at most [`WATCH`].
fn spin_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        for _ in 0..32 {
            std::hint::spin_loop();
        }
        let watched = start.elapsed();
        if watched > WATCH {
            return;
        }
        if watched > SPIN {
            thread::yield_now();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic never leaves the guarded data half-changed here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|worker, task| {
            assert!(worker < pool.threads());
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once_and_the_pool_is_reusable() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 5, 1000] {
                for _ in 0..50 {
                    assert!(counts(&pool, tasks).iter().all(|&n| n == 1));
                }
            }
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    #[should_panic(expected = "4294967296 tasks in a loop")]
    fn a_loop_has_no_more_tasks_than_32_bits_count() {
        Pool::new(1).run(1 << 32, &|_, _| unreachable!());
    }

    #[test]
    fn workers_wake_after_a_sleep() {
        let pool = Pool::new(2);
        // Both threads must be in the loop at once for the barrier to open, so the worker has to
        // have woken.
        let barrier = std::sync::Barrier::new(2);
        for _ in 0..20 {
            pool.run(2, &|_, _| {
                barrier.wait();
            });
            spin_until(|| false);
            spin_until(|| false);
        }
    }

    #[test]
    fn a_thread_begins_with_its_own_share_and_then_takes_others() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            let done = Mutex::new(Vec::new());
            // The caller's first task ends when all others are done, which the worker does.
            pool.run(8, &|worker, task| {
                if task == 0 {
                    while lock(&done).len() < 7 {
                        thread::yield_now();
                    }
                } else {
                    lock(&done).push((worker, task));
                }
            });
            let expected = [4, 5, 6, 7, 3, 2, 1].map(|task| (1, task));
            assert_eq!(*lock(&done), expected);
        }
    }

    #[test]
    fn no_two_running_tasks_share_a_worker_index() {
        let pool = Pool::new(4);
        let busy: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
        pool.run(500, &|worker, _| {
            assert!(!busy[worker].swap(true, Ordering::SeqCst));
            thread::yield_now();
            busy[worker].store(false, Ordering::SeqCst);
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(64, &|_, task| assert!(task != 33, "task {task} failed"));
            }));
            let message = *result.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, "task 33 failed");
            assert!(counts(&pool, 64).iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn a_loop_inside_a_loop_runs_on_the_thread_it_is_in() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(8, &|_, _| {
            let here = thread::current().id();
            pool.run(8, &|worker, _| {
                assert_eq!((thread::current().id(), worker), (here, 0));
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 64);
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    (0..100).for_each(|_| assert!(counts(&pool, 9).iter().all(|&n| n == 1)))
                });
            }
        });
    }
}
