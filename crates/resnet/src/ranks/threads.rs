//! Ranks that are threads of one process: for programs' tests, and ours.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Calls, Ranks, RanksError, Work};

/// As many ranks as asked for, each to be used by a thread of its own.
pub fn threads(count: usize) -> Vec<Arc<dyn Ranks>> {
    let table = Arc::new(Table {
        barrier: Barrier::new(count),
        bytes: (0..count).map(|_| Mutex::default()).collect(),
    });
    let rank = |rank| -> Arc<dyn Ranks> {
        let (sender, receiver) = channel::<Work>();
        let mut place = Place { rank, table: table.clone() };
        thread::spawn(move || receiver.into_iter().for_each(|work| work(&mut place)));
        Arc::new(Thread { rank, count, sender: Mutex::new(sender) })
    };
    (0..count).map(rank).collect()
}

/// Where ranks leave what they send.
struct Table {
    barrier: Barrier,
    bytes: Vec<Mutex<Vec<u8>>>,
}

struct Thread {
    rank: usize,
    count: usize,
    sender: Mutex<Sender<Work>>,
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn about(&self) -> String {
        "threads of one process".into()
    }

    fn start(&self, work: Work) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // The other end lives as long as this one.
        let _ = sender.send(work);
    }

    fn set_patience(&self, _: Option<Duration>) {}
}

struct Place {
    rank: usize,
    table: Arc<Table>,
}

impl Place {
    /// Leaves bytes, and looks at everybody's when all have.
    fn exchange(&mut self, send: Vec<u8>, mut look: impl FnMut(usize, &[u8])) {
        let place =
            |rank: usize| self.table.bytes[rank].lock().unwrap_or_else(PoisonError::into_inner);
        *place(self.rank) = send;
        self.table.barrier.wait();
        for rank in 0..self.table.bytes.len() {
            look(rank, &place(rank));
        }
        self.table.barrier.wait();
    }
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn numbers(bytes: &[u8], into: &mut [f32]) {
    for (x, bytes) in into.iter_mut().zip(bytes.as_chunks().0) {
        *x = f32::from_le_bytes(*bytes);
    }
}

impl Calls for Place {
    fn all_to_all(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        let part = send.len() / self.table.bytes.len();
        let own = self.rank;
        self.exchange(bytes(send), |rank, sent| {
            numbers(&sent[4 * own * part..], &mut recv[rank * part..][..part]);
        });
        Ok(())
    }

    fn all_gather(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), RanksError> {
        let part = send.len();
        self.exchange(bytes(send), |rank, sent| numbers(sent, &mut recv[rank * part..][..part]));
        Ok(())
    }

    fn all_gather_bytes(&mut self, send: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        let mut all = Vec::new();
        self.exchange(send.to_vec(), |_, sent| all.push(sent.to_vec()));
        Ok(all)
    }
}
