//! Memory for decoding: what is not there is waited for.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that decoded pictures may take, of all threads together.
#[derive(Debug)]
pub(crate) struct Budget {
    taken: Mutex<u64>,
    given_back: Condvar,
    most: u64,
}

/// Bytes in use until they are dropped.
pub(crate) struct Lent<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(most: u64) -> Budget {
        Budget { taken: Mutex::new(0), given_back: Condvar::new(), most }
    }

    /// Takes so many bytes, waiting for others to give theirs back; who wants more than there are
    /// has them all to itself.
    pub(crate) fn take(&self, bytes: u64) -> Lent<'_> {
        let bytes = bytes.min(self.most);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |taken: &mut u64| *taken + bytes > self.most;
        let mut taken =
            self.given_back.wait_while(taken, fits).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Lent { budget: self, bytes }
    }

    /// Bytes in use.
    pub(crate) fn taken(&self) -> u64 {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn bytes_come_back_and_nobody_waits_for_ever() {
        let budget = Budget::new(100);
        let large = budget.take(1000);
        assert_eq!(budget.taken(), 100);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(budget.take(60)));
            drop(large);
            waiting.join().unwrap();
        });
        let (_a, _b) = (budget.take(60), budget.take(40));
        assert_eq!(budget.taken(), 100);
    }
}
