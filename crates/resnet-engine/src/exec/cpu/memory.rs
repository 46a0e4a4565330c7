//! Memory that begins at a cache line, and how much there is.

use std::ops::{Deref, DerefMut, Range};

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
    NoMemory { bytes: 4 * (plan.len() + more) as u64, batch: plan.options.batch }
}

/// Bytes of memory in this machine, where the system tells. A system that promises more than it has
/// would kill the process later instead of refusing now.
pub(super) fn installed_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
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
}
