//! The thread that sees when a rank takes no part any more.
//!
//! It compares a count of calls from time to time, so calls cost no more for being watched. When
//! nothing has gone on for longer than the patience, it asks the watchdogs of all other ranks,
//! which answer whatever their own programs do, and judges by what it hears.

use std::env;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::MpiError;
use crate::mpi::Sending;
use crate::shared::Shared;
use crate::verdict::{Note, judge};

/// How long a rank may take no part, in seconds; 0 waits for ever. It overrides what programs set.
pub const TIMEOUT_VARIABLE: &str = "RESNET_MPI_TIMEOUT";

/// Longest time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks while answers are awaited.
const SHORT_LOOK: Duration = Duration::from_millis(20);
/// How long answers are awaited: others look once a second.
const LISTEN: Duration = Duration::from_secs(5);
/// What the lowest rank that lives is given to word it, before others do.
const SPEAK: Duration = Duration::from_secs(2);

/// What the environment says of patience: nothing, for ever, or a time.
pub(crate) fn patience_of_environment() -> Result<Option<Option<Duration>>, MpiError> {
    let Some(value) = env::var_os(TIMEOUT_VARIABLE) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    match value.trim().parse::<u32>() {
        Ok(0) => Ok(Some(None)),
        Ok(seconds) => Ok(Some(Some(Duration::from_secs(seconds.into())))),
        Err(_) => Err(MpiError::Setting {
            name: TIMEOUT_VARIABLE,
            value,
            expected: "a whole number of seconds, or 0 to wait for ever",
        }),
    }
}

/// Starts it, where there is anybody to watch. Without a thread to be had there is no watch.
pub(crate) fn start(shared: &Arc<Shared>) -> Option<JoinHandle<()>> {
    let own = shared.clone();
    let thread = thread::Builder::new().name("watchdog".into());
    (shared.count() > 1).then(|| thread.spawn(move || watch(&own)).ok()).flatten()
}

fn watch(shared: &Arc<Shared>) {
    let mut talk = Talk { shared, sending: Vec::new(), heard: vec![None; shared.count()] };
    let (mut seen, mut since, mut before) = (shared.progress(), Instant::now(), None);
    let mut look = LOOK;
    loop {
        let told = shared.pause(look);
        if told.ended {
            return;
        }
        talk.listen();
        let now = shared.progress();
        if now != seen || told.patience != before {
            (seen, since, before) = (now, Instant::now(), told.patience);
        }
        let Some(patience) = told.patience else { continue };
        look = LOOK.min(patience / 8).max(SHORT_LOOK);
        // After a call has failed there is nothing to wait for, and perhaps something to save.
        if since.elapsed() < patience || shared.broken().is_some() {
            continue;
        }
        if let Some(message) = talk.ask(seen, patience) {
            if talk.lowest_alive() != shared.rank && shared.pause(SPEAK).ended {
                return;
            }
            (shared.tell)(&message);
            shared.abort(1);
        }
        since = Instant::now();
    }
}

/// What watchdogs say to each other.
struct Talk<'a> {
    shared: &'a Shared,
    sending: Vec<Box<dyn Sending + 'a>>,
    /// The last note of each rank since the question.
    heard: Vec<Option<Note>>,
}

impl Talk<'_> {
    fn note(&self, asks: bool) -> Note {
        Note { asks, progress: self.shared.progress(), ending: self.shared.is_ending() }
    }

    fn send(&mut self, to: usize, asks: bool) {
        // What cannot be sent is not heard, and so found missing by the other.
        if let Ok(sent) = self.shared.mpi.send_note(to, self.note(asks).to_bytes()) {
            self.sending.push(sent);
        }
    }

    /// Hears what has come, and answers questions.
    fn listen(&mut self) {
        if !self.shared.several {
            return;
        }
        while let Ok(Some((from, bytes))) = self.shared.mpi.receive_note() {
            let note = Note::from_bytes(bytes);
            if let Some(heard) = self.heard.get_mut(from) {
                *heard = Some(note);
            }
            if note.asks {
                self.send(from, false);
            }
        }
        self.sending.retain_mut(|sent| sent.is_sent() == Ok(false));
    }

    /// Asks all others; says why the run cannot go on, if it cannot.
    fn ask(&mut self, seen: u64, patience: Duration) -> Option<String> {
        let (rank, hosts) = (self.shared.rank, &self.shared.hosts);
        if !self.shared.several {
            return Some(format!(
                "rank {rank} on {} has seen nothing go on for {} s. Which rank is missing is not \
                 known: {} lets one thread call",
                hosts[rank],
                patience.as_secs_f64().ceil(),
                self.shared.about
            ));
        }
        self.heard.fill(None);
        for other in (0..hosts.len()).filter(|&other| other != rank) {
            self.send(other, true);
        }
        let began = Instant::now();
        loop {
            self.heard[rank] = Some(self.note(false));
            if self.shared.progress() != seen {
                return None;
            }
            if self.heard.iter().all(Option::is_some) || began.elapsed() >= LISTEN {
                break;
            }
            if self.shared.pause(SHORT_LOOK).ended {
                return None;
            }
            self.listen();
        }
        judge(&self.heard, hosts, patience)
    }

    fn lowest_alive(&self) -> usize {
        self.heard.iter().position(Option::is_some).unwrap_or(self.shared.rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpi::{Mpi, NOTE};

    /// An MPI to which nothing has come, and that sends nothing.
    struct Deaf;

    #[rustfmt::skip]
    impl Mpi for Deaf {
        fn init(&self) -> Result<bool, MpiError> { Ok(false) }
        fn finalize(&self) -> Result<(), MpiError> { Ok(()) }
        fn abort(&self, _: i32) {}
        fn place(&self) -> Result<(usize, usize), MpiError> { Ok((0, 1)) }
        fn version(&self) -> String { String::new() }
        fn host(&self) -> String { String::new() }
        fn prepare(&self) -> Result<(), MpiError> { Ok(()) }
        fn meet(&self) -> Result<(), MpiError> { Ok(()) }
        fn come_together(&self) -> Result<(), MpiError> { Ok(()) }
        fn all_to_all(&self, _: &[f32], _: &mut [f32], _: usize) -> Result<(), MpiError> { Ok(()) }
        fn all_gather(&self, _: &[f32], _: &mut [f32], _: usize) -> Result<(), MpiError> { Ok(()) }
        fn all_gather_bytes(&self, _: &[u8], _: &mut [u8], _: &[usize]) -> Result<(), MpiError> {
            Ok(())
        }
        fn all_reduce(&self, _: &[f32], _: &mut [f32]) -> Result<(), MpiError> { Ok(()) }
        fn revoke(&self) {}
        fn send_note(&self, _: usize, _: [u8; NOTE]) -> Result<Box<dyn Sending + '_>, MpiError> {
            Err(MpiError::Ended)
        }
        fn receive_note(&self) -> Result<Option<(usize, [u8; NOTE])>, MpiError> {
            panic!("one thread calls")
        }
    }

    fn shared() -> Shared {
        let hosts = vec!["a".into(), "b".into()];
        let tell = Box::new(|_: &str| {});
        Shared::new(Box::new(Deaf), 1, hosts, "Deaf 1.0".into(), false, None, tell)
    }

    #[test]
    fn where_one_thread_calls_a_rank_says_what_it_knows() {
        let shared = shared();
        let mut talk = Talk { shared: &shared, sending: Vec::new(), heard: vec![None; 2] };
        talk.listen();
        let said = talk.ask(shared.progress(), Duration::from_secs(9)).unwrap();
        assert!(said.contains("rank 1 on b has seen nothing go on for 9 s"), "{said}");
        assert!(said.contains("Deaf 1.0 lets one thread call"), "{said}");
        assert_eq!(talk.lowest_alive(), 1);
    }

    #[test]
    fn after_a_call_failed_none_is_made() {
        let shared = shared();
        let failed = MpiError::Lost { call: "MPI_Alltoall", reason: "gone".into() };
        assert_eq!(shared.call(|_| Err(failed.clone())), Err(failed.clone()));
        assert_eq!(shared.call(|_| panic!("made")), Err(failed));
        assert_eq!(shared.progress(), 2);
    }
}
