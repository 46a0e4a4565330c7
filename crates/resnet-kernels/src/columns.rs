//! Sums down the columns of a [rows][channels] matrix: batch-norm statistics and gradients, bias gradients.
//!
//! With few channels, `fold` consecutive rows are read as one wide row, so that a row fills several vectors. The rows are
//! cut into chunks by shape alone, each chunk's sums are kept apart, and they are combined in order: the result does not
//! depend on the number of threads. Inside a chunk, f32 sums run over one block of rows and then go to f64.

use crate::simd::{One, Simd};

/// How a matrix is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    /// Rows read as one.
    pub(crate) fold: usize,
    /// Rows in a chunk, a multiple of `fold`.
    pub(crate) chunk: usize,
}

/// Numbers in a wide row.
const WIDE: usize = 64;
/// Most chunks: bounds the memory, and balances up to some 32 threads.
const CHUNKS: usize = 64;
/// Least numbers in a chunk.
const CHUNK_LEN: usize = 1 << 15;

impl Columns {
    pub(crate) fn new(rows: usize, channels: usize) -> Columns {
        let fold = (WIDE / channels.max(1)).max(1);
        let even = rows.div_ceil(CHUNKS);
        let least = CHUNK_LEN.div_ceil(channels.max(1));
        Columns {
            rows,
            channels,
            fold,
            chunk: even.max(least).next_multiple_of(fold),
        }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk)
    }

    /// Columns of a wide row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// First row of chunk `i`, wide rows in it, and columns of the incomplete wide row after them.
    pub(crate) fn chunk(&self, i: usize) -> (usize, usize, usize) {
        let start = i * self.chunk;
        let rows = self.chunk.min(self.rows - start);
        (start, rows / self.fold, rows % self.fold * self.channels)
    }

    /// Rows that column `j` of chunk `i` has.
    pub(crate) fn count(&self, i: usize, j: usize) -> usize {
        let (_, wide, rest) = self.chunk(i);
        wide + usize::from(j < rest)
    }

    /// Wide rows whose f32 sums go to f64 together: a block of the size of the first-level cache, so that its error is
    /// that of a short sum, yet of enough rows to pay for the conversion.
    pub(crate) fn block(&self) -> usize {
        (8192 / self.width().max(1)).clamp(32, 128)
    }
}

/// Two sums per column.
pub(crate) trait Sums: Copy {
    /// Adds the numbers at element offset `at` to `s1` and `s2`; `shift` is the column's.
    ///
    /// # Safety
    /// All matrices hold `S::LANES` numbers from `at` on.
    unsafe fn add<S: Simd>(self, s: S, at: usize, shift: S::V, s1: S::V, s2: S::V) -> (S::V, S::V);
}

/// Columns of one call of [`block_sums`] at most.
pub(crate) const SLAB: usize = 64;

/// Columns of the widest step that fits before `left`; steps are 4 vectors, 1 vector, 1 number.
#[inline(always)]
pub(crate) fn step<S: Simd>(left: usize) -> usize {
    if left >= 4 * S::LANES {
        4 * S::LANES
    } else if left >= S::LANES {
        S::LANES
    } else {
        1
    }
}

/// Both sums of `columns` (a [`step`]) columns over `rows` rows that are `stride` apart, the first at `at`.
///
/// # Safety
/// The op's matrices hold all of these rows; `shift` holds `columns` numbers.
#[inline(always)]
pub(crate) unsafe fn block_sums<S: Simd, O: Sums>(
    s: S,
    op: O,
    at: usize,
    columns: usize,
    rows: usize,
    stride: usize,
    shift: *const f32,
) -> [[f32; SLAB]; 2] {
    let mut sums = [[0f32; SLAB]; 2];
    // SAFETY: as the caller vouches; `columns` is the width of the branch taken.
    unsafe {
        if columns == 4 * S::LANES {
            vectors::<S, O, 4>(s, op, at, rows, stride, shift, &mut sums);
        } else if columns == S::LANES {
            vectors::<S, O, 1>(s, op, at, rows, stride, shift, &mut sums);
        } else {
            debug_assert_eq!(columns, 1);
            vectors::<One, O, 1>(One, op, at, rows, stride, shift, &mut sums);
        }
    }
    sums
}

/// # Safety
/// As [`block_sums`], with `NV` vectors of columns.
#[inline(always)]
unsafe fn vectors<S: Simd, O: Sums, const NV: usize>(
    s: S,
    op: O,
    at: usize,
    rows: usize,
    stride: usize,
    shift: *const f32,
    sums: &mut [[f32; SLAB]; 2],
) {
    const { assert!(NV * S::LANES <= SLAB) };
    let mut shifts = [s.splat(0.0); NV];
    let (mut s1, mut s2) = (shifts, shifts);
    // SAFETY: as the caller vouches; NV vectors fit SLAB.
    unsafe {
        for v in 0..NV {
            shifts[v] = s.load(shift.add(v * S::LANES));
        }
        let mut at = at;
        for _ in 0..rows {
            for v in 0..NV {
                (s1[v], s2[v]) = op.add(s, at + v * S::LANES, shifts[v], s1[v], s2[v]);
            }
            at += stride;
        }
        for v in 0..NV {
            s.store(sums[0].as_mut_ptr().add(v * S::LANES), s1[v]);
            s.store(sums[1].as_mut_ptr().add(v * S::LANES), s2[v]);
        }
    }
}

/// `len` f64 at the aligned start of scratch memory.
pub(crate) fn as_f64(scratch: &mut [f32], len: usize) -> &mut [f64] {
    // SAFETY: every bit pattern is a valid f64 and a valid f32.
    let (_, middle, _) = unsafe { scratch.align_to_mut::<f64>() };
    &mut middle[..len]
}

/// Numbers of f32 scratch that hold `len` f64 whatever the alignment.
pub(crate) const fn f64_scratch(len: usize) -> usize {
    2 * len + 2
}
