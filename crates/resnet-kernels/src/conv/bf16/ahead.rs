//! Weights on their way to the caches before they are used.

use crate::Bf16;

/// Brings the weights after those in use nearer, a piece with each tile.
pub(super) struct Ahead<'a> {
    left: &'a [Bf16],
    piece: usize,
}

/// Numbers in a cache line.
const LINE: usize = 32;

impl<'a> Ahead<'a> {
    /// As many numbers of `all` as there are in `used`, which is part of it, in `pieces` pieces.
    pub(super) fn new(all: &'a [Bf16], used: &[Bf16], pieces: usize) -> Ahead<'a> {
        let end = (used.as_ptr_range().end.addr() - all.as_ptr().addr()) / size_of::<Bf16>();
        let left = &all[end..];
        let left = &left[..left.len().min(used.len())];
        Ahead {
            left,
            piece: left.len().div_ceil(pieces.max(1)).next_multiple_of(LINE),
        }
    }

    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        let (now, left) = self.left.split_at(self.piece.min(self.left.len()));
        self.left = left;
        for line in now.chunks(LINE) {
            // SAFETY: the address is a number's; fetching ahead has no effect but on caches.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
        }
    }
}
