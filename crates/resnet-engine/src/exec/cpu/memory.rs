//! Memory that begins at a cache line, and how much there is.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resnet_kernels::{LINE, line_start, zeros};

use crate::exec::error::NoMemory;
use crate::plan::Plan;

/// Numbers, from a cache line on.
pub(super) struct Aligned {
    memory: Vec<f32>,
    range: Range<usize>,
}

impl Aligned {
    /// `len` zeros, or none where the system refuses the memory.
    pub(super) fn zeros(len: usize) -> Option<Aligned> {
        let memory = zeros(len + LINE)?;
        let start = line_start(&memory);
        Some(Aligned { memory, range: start..start + len })
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.range.clone()]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.range.clone()]
    }
}

/// The error of a plan that needs so many words beside its own.
pub(super) fn no_memory(plan: &Plan, more: usize) -> NoMemory {
    no_memory_for(plan, 4 * (plan.len() + more) as u64)
}

/// The error of a plan that needs so many bytes, what is shared with others among them.
pub(super) fn no_memory_for(plan: &Plan, bytes: u64) -> NoMemory {
    NoMemory { bytes, batch: plan.options.batch, fits: None }
}

/// Bytes of memory in this machine, where the system tells. A system that promises more than it has
/// would kill the process later instead of refusing now.
pub(super) fn installed_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Bytes that executors on the same weights take together, the weights among them.
pub(super) struct Taken(Arc<AtomicU64>);

/// What one of them takes, counted until it is dropped.
pub(super) struct Claim {
    taken: Arc<AtomicU64>,
    bytes: u64,
}

impl Taken {
    /// So many from the start.
    pub(super) fn new(bytes: u64) -> Taken {
        Taken(Arc::new(AtomicU64::new(bytes)))
    }

    /// So many words more, where all together are no more than `most` bytes.
    ///
    /// # Errors
    /// How many bytes all would be.
    pub(super) fn claim(&self, words: usize, most: Option<u64>) -> Result<Claim, u64> {
        let bytes = 4 * words as u64;
        let all = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let claim = Claim { taken: self.0.clone(), bytes };
        if most.is_some_and(|most| all > most) { Err(all) } else { Ok(claim) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use resnet_kernels::CACHE_LINE;

    use super::*;

    #[test]
    fn memory_begins_at_a_cache_line_and_has_its_length() {
        for len in [0, 1, 1000, 1 << 21] {
            let memory = Aligned::zeros(len).unwrap();
            assert_eq!(memory.len(), len);
            assert!(memory.as_ptr().addr().is_multiple_of(CACHE_LINE));
        }
    }

    #[test]
    fn what_is_taken_together_has_a_limit_and_is_given_back() {
        let taken = Taken::new(100);
        let first = taken.claim(50, Some(400)).ok().unwrap();
        assert_eq!(taken.claim(26, Some(400)).err(), Some(404));
        let second = taken.claim(25, Some(400)).ok().unwrap();
        assert_eq!(taken.claim(1, Some(400)).err(), Some(404));
        drop(first);
        assert!(taken.claim(50, Some(400)).is_ok() && taken.claim(9999, None).is_ok());
        drop(second);
        assert_eq!(taken.0.load(Ordering::Relaxed), 100);
    }
}
