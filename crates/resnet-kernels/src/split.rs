//! Cutting slices into tasks. The cuts depend on lengths only, never on the number of threads.

use std::ops::Range;

/// Numbers an elementwise task handles: enough to hide its start, few enough to balance threads.
pub(crate) const CHUNK: usize = 1 << 14;

/// Pieces of at most `size` that `len` is cut into.
pub(crate) fn chunks(len: usize, size: usize) -> usize {
    len.div_ceil(size)
}

/// Piece `i` of [`chunks`].
pub(crate) fn range(len: usize, size: usize, i: usize) -> Range<usize> {
    i * size..((i + 1) * size).min(len)
}
