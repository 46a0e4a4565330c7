//! Memory that begins at a cache line.

use std::ops::{Deref, DerefMut};

use resnet_kernels::{CACHE_LINE, zeros};

/// Numbers in a cache line.
pub(super) const LINE: usize = CACHE_LINE / size_of::<f32>();

/// Numbers, from a cache line on; a few more may follow.
pub(super) struct Aligned {
    memory: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// `len` zeros, or none where the system refuses the memory.
    pub(super) fn zeros(len: usize) -> Option<Aligned> {
        let memory = zeros(len + LINE)?;
        // Alignment is a matter of speed alone, so an address that cannot be aligned is used as it is.
        let start = memory.as_ptr().align_offset(CACHE_LINE).min(LINE);
        Some(Aligned { memory, start })
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..]
    }
}
