//! Memory that begins at a cache line.

use std::ops::{Deref, DerefMut, Range};

use resnet_kernels::{LINE, line_start, zeros};

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
