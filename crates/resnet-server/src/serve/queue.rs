//! Pictures that wait for a thread.
//!
//! Callers take turns, so one that sends many makes itself wait and not the others. Whether a
//! picture may wait is decided by how long it would: a queue that is longer than anybody's patience
//! only makes every answer late.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::Refusal;

/// Who asks, as turns are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// The number of a token.
    Token(usize),
    /// An address.
    Address(IpAddr),
}

/// A picture that waits.
pub(crate) trait Waiting {
    /// Whose it is.
    fn client(&self) -> Client;
    /// Among its client's pictures: 1 first, 0 for the usual.
    fn priority(&self) -> u64;
    /// When nobody wants its answer any more.
    fn deadline(&self) -> Instant;
    /// How long a thread is thought to need for it.
    fn cost(&self) -> Duration;
    /// Whether it may be computed in one batch with another.
    fn goes_with(&self, other: &Self) -> bool;
}

/// How pictures are given to threads: what depends on the device that computes.
pub(crate) trait Policy: Send + Sync {
    /// Threads that take pictures.
    fn workers(&self) -> usize;

    /// How many of the pictures that wait for one model a thread takes at once.
    fn take(&self, waiting: usize) -> usize;
}

/// One picture alone is computed by all threads, of several each by one: what a batch would gain on
/// a CPU is less than what waiting for it costs. Which of the two, the
/// [predictor](resnet::Predictor) decides by how many ask it at once and
/// [whether more wait](resnet::measure::predict::Ask::crowded).
pub(crate) struct Gang(pub(crate) usize);

impl Policy for Gang {
    fn workers(&self) -> usize {
        self.0.max(1)
    }

    fn take(&self, waiting: usize) -> usize {
        waiting.min(1)
    }
}

/// The queue.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    woken: Condvar,
    policy: Box<dyn Policy>,
    /// How long a picture may wait by what is predicted.
    most: Duration,
}

struct State<J> {
    waiting: HashMap<Client, VecDeque<J>>,
    /// Clients that have pictures waiting, next first.
    turns: VecDeque<Client>,
    count: usize,
    /// What all that waits is thought to cost, on one thread.
    cost: Duration,
    /// The same of what is being computed.
    running: Duration,
    closed: bool,
}

/// Pictures of one model that a thread has taken, whose cost counts until they are done.
pub(crate) struct Taken<'a, J> {
    queue: &'a Queue<J>,
    pub(crate) jobs: Vec<J>,
    cost: Duration,
}

impl<J> Drop for Taken<'_, J> {
    fn drop(&mut self) {
        self.queue.lock().running -= self.cost;
    }
}

impl<J> Queue<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Waiting> Queue<J> {
    /// An empty queue, in which a picture may wait at most so long by what is predicted.
    pub(crate) fn new(policy: Box<dyn Policy>, most: Duration) -> Queue<J> {
        let state = State {
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
            cost: Duration::ZERO,
            running: Duration::ZERO,
            closed: false,
        };
        Queue { state: Mutex::new(state), woken: Condvar::new(), policy, most }
    }

    /// Threads that take pictures.
    pub(crate) fn workers(&self) -> usize {
        self.policy.workers()
    }

    /// Pictures that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().count
    }

    /// How long a picture that comes now is thought to wait for what is computed and a part of what
    /// waits.
    fn wait(&self, state: &State<J>, part: f64) -> Duration {
        // What is being computed is half done, as far as is known.
        (state.cost.mul_f64(part) + state.running / 2) / self.workers() as u32
    }

    /// Whether pictures of a client that have until `deadline` may wait.
    ///
    /// # Errors
    /// They would wait too long; or, where that is others' fault, longer than its share; or there
    /// is no time left.
    pub(crate) fn admit(&self, client: Client, deadline: Instant) -> Result<(), Refusal> {
        self.admit_to(&self.lock(), client, deadline)
    }

    fn admit_to(&self, state: &State<J>, client: Client, deadline: Instant) -> Result<(), Refusal> {
        if state.closed {
            return Err(Refusal::busy("stopping", "the server is stopping", self.most));
        }
        let wait = self.wait(state, 1.0);
        let left = deadline.saturating_duration_since(Instant::now());
        let most = self.most.min(left);
        if wait <= most {
            return Ok(());
        }
        if left.is_zero() {
            return Err(Refusal::late("the deadline had passed before there was room"));
        }
        // The queue is full. Who has less than a share in it may still come where its deadline lets
        // it: turns are taken, so it waits for no more of anybody's pictures than of its own.
        let own = state.waiting.get(&client).map_or(0, VecDeque::len);
        let clients = state.turns.len() + usize::from(own == 0);
        let ahead = (own + 1) * clients - 1;
        if clients > 1
            && ahead < state.count
            && self.wait(state, ahead as f64 / state.count as f64) <= left
        {
            return Ok(());
        }
        let after = wait.saturating_sub(most / 2);
        match clients > 1 && own > 0 {
            true => Err(Refusal::greedy(
                format!("{own} of your pictures wait already, more than your share"),
                after,
            )),
            false => Err(Refusal::busy(
                "full",
                format!(
                    "{} pictures wait, for about {:.1} s; come again later",
                    state.count,
                    wait.as_secs_f64()
                ),
                after,
            )),
        }
    }

    /// Puts pictures of one client into the queue, all or none.
    ///
    /// # Errors
    /// As [`Queue::admit`].
    pub(crate) fn push(&self, jobs: Vec<J>) -> Result<(), Refusal> {
        let Some(first) = jobs.first() else { return Ok(()) };
        let mut state = self.lock();
        let client = first.client();
        self.admit_to(&state, client, first.deadline())?;
        let state = &mut *state;
        let own = state.waiting.entry(client).or_default();
        if own.is_empty() {
            state.turns.push_back(client);
        }
        state.count += jobs.len();
        let count = jobs.len();
        for job in jobs {
            state.cost += job.cost();
            // Behind those that are as urgent; 0 is the least.
            let rank = |job: &J| job.priority().wrapping_sub(1);
            let at = own.iter().rposition(|other| rank(other) <= rank(&job)).map_or(0, |i| i + 1);
            own.insert(at, job);
        }
        match count {
            1 => self.woken.notify_one(),
            _ => self.woken.notify_all(),
        }
        Ok(())
    }

    /// The next pictures, waiting for some; none once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Taken<'_, J>> {
        let mut state = self.lock();
        loop {
            if let Some((jobs, cost)) = self.next(&mut state) {
                state.running += cost;
                return Some(Taken { queue: self, jobs, cost });
            }
            if state.closed {
                return None;
            }
            state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next(&self, state: &mut State<J>) -> Option<(Vec<J>, Duration)> {
        let (mut jobs, mut cost): (Vec<J>, Duration) = (Vec::new(), Duration::ZERO);
        let most = self.policy.take(state.count);
        while jobs.len() < most {
            let client = *state.turns.front()?;
            let own = state.waiting.get_mut(&client)?;
            let fits = |job: &J| jobs.first().is_none_or(|first| job.goes_with(first));
            if !own.front().is_some_and(fits) {
                break;
            }
            let job = own.pop_front()?;
            state.turns.pop_front();
            match own.is_empty() {
                true => drop(state.waiting.remove(&client)),
                false => state.turns.push_back(client),
            }
            state.count -= 1;
            // The estimate may have changed meanwhile; an empty queue costs nothing.
            cost += job.cost();
            let left = state.cost.saturating_sub(job.cost());
            state.cost = if state.count == 0 { Duration::ZERO } else { left };
            jobs.push(job);
        }
        (!jobs.is_empty()).then_some((jobs, cost))
    }

    /// Takes no more pictures; those that wait are still computed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.woken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Debug, PartialEq)]
    struct Job(usize, u64, u32);

    impl Waiting for Job {
        fn client(&self) -> Client {
            Client::Token(self.0)
        }
        fn priority(&self) -> u64 {
            self.1
        }
        fn deadline(&self) -> Instant {
            Instant::now() + 10 * SECOND
        }
        fn cost(&self) -> Duration {
            SECOND
        }
        fn goes_with(&self, _: &Job) -> bool {
            true
        }
    }

    fn queue(threads: usize) -> Queue<Job> {
        Queue::new(Box::new(Gang(threads)), 2 * SECOND)
    }

    fn take(queue: &Queue<Job>) -> u32 {
        queue.take().unwrap().jobs[0].2
    }

    #[test]
    fn clients_take_turns_and_priority_is_among_ones_own() {
        let queue = queue(4);
        queue.push(vec![Job(0, 0, 1), Job(0, 0, 2), Job(0, 1, 3), Job(0, 2, 4)]).unwrap();
        queue.push(vec![Job(1, 0, 5), Job(1, 0, 6)]).unwrap();
        assert_eq!([(); 6].map(|()| take(&queue)), [3, 5, 4, 6, 1, 2]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_would_wait_too_long_is_refused_by_whose_fault_it_is() {
        let queue = queue(1);
        let soon = Instant::now() + 10 * SECOND;
        for i in 0..3 {
            queue.push(vec![Job(0, 0, i)]).unwrap();
        }
        // Three seconds of work wait, all of one client.
        let alone = queue.push(vec![Job(0, 0, 9)]).unwrap_err();
        assert_eq!((alone.status.as_u16(), alone.reason), (503, "full"));
        // Another has its share, and then waits behind nobody's more than its own.
        queue.push(vec![Job(1, 0, 4)]).unwrap();
        assert_eq!(queue.admit(Client::Token(0), soon).unwrap_err().status, 429);
        queue.push(vec![Job(1, 0, 5)]).unwrap();
        assert_eq!(queue.admit(Client::Token(1), soon).unwrap_err().status, 429);
        assert_eq!([take(&queue), take(&queue)], [0, 4]);
        // What was taken is done, so less waits.
        assert_eq!([take(&queue), take(&queue)], [1, 5]);
        queue.push(vec![Job(0, 0, 6)]).unwrap();
        // Nobody waits for an answer that would come after its deadline.
        let late = queue.admit(Client::Token(2), Instant::now() + SECOND);
        assert_eq!(late.unwrap_err().status, 503);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has() {
        let queue = queue(1);
        queue.push(vec![Job(0, 0, 1)]).unwrap();
        queue.close();
        assert_eq!(queue.push(vec![Job(0, 0, 2)]).unwrap_err().reason, "stopping");
        assert_eq!(take(&queue), 1);
        assert!(queue.take().is_none());
    }

    #[test]
    fn what_is_computed_counts_half() {
        let queue = queue(1);
        queue.push(vec![Job(0, 0, 1)]).unwrap();
        let taken = queue.take();
        assert_eq!(queue.wait(&queue.lock(), 1.0), SECOND / 2);
        // Who is too late already is not told that there is no room.
        let late = queue.admit(Client::Token(0), Instant::now()).unwrap_err();
        assert_eq!(late.status, 504);
        drop(taken);
        assert_eq!(queue.wait(&queue.lock(), 1.0), Duration::ZERO);
    }
}
