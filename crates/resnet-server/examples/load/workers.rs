//! The threads that send, one for each connection.
//!
//! Whoever holds the schedule waits for the next arrival, lets go of the schedule, and sends it. So
//! one thread watches the clock, and no request is handed from one thread to another. Where few
//! threads are left that wait for the schedule, another is started.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::arrivals::{Arrival, Schedule};
use crate::asked::{Arrivals, Asked};
use crate::client::Connection;
use crate::expected::Top;

/// Enough for parsing one answer.
const STACK: usize = 256 << 10;
/// Threads that are kept free while requests are on their way: one that watches the clock, and one
/// that takes its place while the next one starts.
const SPARE: usize = 2;

/// What became of a request.
pub(crate) enum Outcome {
    /// Answered with this status; of 200, whether it is what must be said.
    Answered(u16, bool),
    /// Not answered; the kind of the error.
    Failed(&'static str),
}

/// One request. Times count from the start.
pub(crate) struct Sample {
    pub(crate) due: Duration,
    pub(crate) sent: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
}

/// What the generator itself took.
#[derive(Default)]
pub(crate) struct Use {
    /// Connections that were open at once.
    pub(crate) connections: usize,
    /// How often one was opened.
    pub(crate) opened: usize,
    /// Connections could not be added any more when one was needed.
    pub(crate) limited: bool,
    /// Time of processors, where the system tells it.
    pub(crate) cpu: Option<Duration>,
}

struct Shared<'a> {
    asked: &'a Asked,
    requests: &'a [Vec<u8>],
    expected: &'a [Top],
    schedule: Mutex<Schedule>,
    start: Instant,
    end: Duration,
    /// Threads that wait for an arrival.
    free: AtomicUsize,
    threads: AtomicUsize,
    limited: AtomicBool,
    done: Mutex<(Vec<Sample>, Use)>,
}

/// Sends all that is due, and waits for the answers.
pub(crate) fn run(asked: &Asked, requests: &[Vec<u8>], expected: &[Top]) -> (Vec<Sample>, Use) {
    let shared = Shared {
        asked,
        requests,
        expected,
        schedule: Mutex::new(Schedule::new(asked.arrivals, asked.seed)),
        start: Instant::now(),
        end: asked.warm_up + asked.measured,
        free: AtomicUsize::new(asked.connections),
        threads: AtomicUsize::new(asked.connections),
        limited: AtomicBool::new(false),
        done: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..asked.connections {
            start_thread(scope, &shared);
        }
    });
    let (samples, mut use_) = shared.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    use_.connections = shared.threads.into_inner();
    use_.limited = shared.limited.into_inner();
    (samples, use_)
}

fn start_thread<'scope>(scope: &'scope Scope<'scope, '_>, shared: &'scope Shared<'_>) {
    let builder = std::thread::Builder::new().stack_size(STACK);
    if builder.spawn_scoped(scope, move || work(scope, shared)).is_err() {
        shared.limited.store(true, Ordering::Relaxed);
        shared.free.fetch_sub(1, Ordering::Relaxed);
        shared.threads.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work<'scope>(scope: &'scope Scope<'scope, '_>, shared: &'scope Shared<'_>) {
    let mut connection = Connection::new(shared.asked);
    let mut samples = Vec::new();
    loop {
        // Before the wait, so that no request waits for it. A failure shows when one is sent.
        let _ = connection.open();
        let Some(arrival) = take(scope, shared) else { break };
        samples.push(send(shared, &mut connection, &arrival));
        shared.free.fetch_add(1, Ordering::Relaxed);
    }
    let mut done = shared.done.lock().unwrap_or_else(PoisonError::into_inner);
    done.0.append(&mut samples);
    done.1.opened += connection.opened;
    done.1.cpu = cpu_of_this_thread().map(|cpu| done.1.cpu.unwrap_or_default() + cpu);
}

/// Waits for the next arrival; nothing at the end.
fn take<'scope>(scope: &'scope Scope<'scope, '_>, shared: &'scope Shared<'_>) -> Option<Arrival> {
    let mut schedule = shared.schedule.lock().unwrap_or_else(PoisonError::into_inner);
    let closed = shared.asked.arrivals == Arrivals::Closed;
    let arrival = schedule.next();
    let due = arrival.due.unwrap_or_else(|| shared.start.elapsed());
    if due >= shared.end {
        return None;
    }
    if let Some(wait) = due.checked_sub(shared.start.elapsed()) {
        std::thread::sleep(wait);
    }
    let free = shared.free.fetch_sub(1, Ordering::Relaxed) - 1;
    if free < SPARE && !closed {
        if shared.threads.load(Ordering::Relaxed) < shared.asked.most_connections {
            shared.threads.fetch_add(1, Ordering::Relaxed);
            shared.free.fetch_add(1, Ordering::Relaxed);
            start_thread(scope, shared);
        } else if free == 0 {
            shared.limited.store(true, Ordering::Relaxed);
        }
    }
    Some(arrival)
}

fn send(shared: &Shared<'_>, connection: &mut Connection, arrival: &Arrival) -> Sample {
    let place = arrival.place % shared.requests.len();
    let mut sent = Instant::now();
    let due = arrival.due.unwrap_or_else(|| sent - shared.start);
    let outcome = match connection.ask(&shared.requests[place], &mut sent) {
        Ok(answer) => {
            let right = answer.status != 200
                || shared.expected.get(place).is_none_or(|top| top.is_in(answer.body));
            Outcome::Answered(answer.status, right)
        }
        Err(kind) => Outcome::Failed(kind),
    };
    Sample { due, sent: sent - shared.start, ended: shared.start.elapsed(), outcome }
}

/// How long this thread has run on a processor, where the system is Linux.
fn cpu_of_this_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
