//! Sums down the columns of a [rows][channels] matrix: batch-norm statistics and gradients, bias
//! gradients.
//!
//! With few channels, `fold` consecutive rows are read as one wide row, so that a row fills several
//! vectors. The rows are cut into chunks by shape alone, each chunk's sums are kept apart, and they
//! are combined in order: the result does not depend on the number of threads. Inside a chunk, f32
//! sums run over one block of rows and then go to f64.

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
        Columns { rows, channels, fold, chunk: even.max(least).next_multiple_of(fold) }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk)
    }

    /// Columns of a wide row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// Rows of chunk `i`.
    pub(crate) fn rows_of(&self, i: usize) -> usize {
        self.chunk.min(self.rows - i * self.chunk)
    }

    /// First row of chunk `i`, wide rows in it, and columns of the incomplete wide row after them.
    pub(crate) fn chunk(&self, i: usize) -> (usize, usize, usize) {
        let rows = self.rows_of(i);
        let rest = rows % self.fold * self.channels;
        (i * self.chunk, rows / self.fold, rest)
    }

    /// Rows that column `j` of chunk `i` has.
    pub(crate) fn count(&self, i: usize, j: usize) -> usize {
        let (_, wide, rest) = self.chunk(i);
        wide + usize::from(j < rest)
    }

    /// Wide rows whose f32 sums go to f64 together: a block of the size of the first-level cache,
    /// so that its error is that of a short sum, yet of enough rows to pay for the conversion.
    pub(crate) fn block(&self) -> usize {
        (8192 / self.width().max(1)).clamp(32, 128)
    }
}

/// Two sums per column.
pub(crate) trait Sums: Copy {
    /// Adds the numbers at element offset `at`, those of `column`, to `s1` and `s2`; `shift` is the
    /// column's.
    ///
    /// # Safety
    /// All matrices hold `S::LANES` numbers from `at` on, all that is kept of columns as many from
    /// `column` on.
    unsafe fn add<S: Simd>(
        self,
        s: S,
        at: usize,
        column: usize,
        shift: S::V,
        s1: S::V,
        s2: S::V,
    ) -> (S::V, S::V);
}

/// Wide rows up to this width are summed a block at a time, with the sums in registers; wider ones
/// a few rows at a time, so that memory is still read in long pieces.
const NARROW: usize = 128;
/// Rows summed at a time when they are wide.
const GROUP: usize = 4;

/// Fills `s1` and `s2` with both sums of their columns over `rows` rows that are `stride` apart,
/// the first at `at`.
///
/// # Safety
/// The op's matrices hold `s1.len()` numbers in each of these rows.
///
/// # Panics
/// If `s1`, `s2` and `shift` differ in length.
#[inline(always)]
pub(crate) unsafe fn block_sums<S: Simd, O: Sums>(
    s: S,
    op: O,
    at: usize,
    rows: usize,
    stride: usize,
    shift: &[f32],
    s1: &mut [f32],
    s2: &mut [f32],
) {
    let columns = s1.len();
    assert!(s2.len() == columns && shift.len() == columns);
    s1.fill(0.0);
    s2.fill(0.0);
    let group = if columns <= NARROW { rows } else { GROUP };
    let mut row = 0;
    while row < rows {
        let (size, at) = (group.min(rows - row), at + row * stride);
        let mut j = 0;
        while j < columns {
            let (shift, s1, s2) = (shift[j..].as_ptr(), s1[j..].as_mut_ptr(), s2[j..].as_mut_ptr());
            // SAFETY: the rows are there as the caller vouches; each branch takes no more columns
            // than are left.
            unsafe {
                if columns - j >= 4 * S::LANES {
                    vectors::<S, O, 4>(s, op, at + j, j, size, stride, shift, s1, s2);
                    j += 4 * S::LANES;
                } else if columns - j >= S::LANES {
                    vectors::<S, O, 1>(s, op, at + j, j, size, stride, shift, s1, s2);
                    j += S::LANES;
                } else {
                    vectors::<One, O, 1>(One, op, at + j, j, size, stride, shift, s1, s2);
                    j += 1;
                }
            }
        }
        row += size;
    }
}

/// Adds `rows` rows of NV vectors of columns to `s1` and `s2`.
///
/// # Safety
/// The op's matrices hold NV vectors in each row; so do `shift`, `s1`, `s2`.
#[inline(always)]
unsafe fn vectors<S: Simd, O: Sums, const NV: usize>(
    s: S,
    op: O,
    at: usize,
    column: usize,
    rows: usize,
    stride: usize,
    shift: *const f32,
    s1: *mut f32,
    s2: *mut f32,
) {
    let mut shifts = [s.splat(0.0); NV];
    let (mut sum1, mut sum2) = (shifts, shifts);
    // SAFETY: as the caller vouches.
    unsafe {
        for v in 0..NV {
            shifts[v] = s.load(shift.add(v * S::LANES));
            sum1[v] = s.load(s1.add(v * S::LANES));
            sum2[v] = s.load(s2.add(v * S::LANES));
        }
        let mut at = at;
        for _ in 0..rows {
            for v in 0..NV {
                let (at, column) = (at + v * S::LANES, column + v * S::LANES);
                (sum1[v], sum2[v]) = op.add(s, at, column, shifts[v], sum1[v], sum2[v]);
            }
            at += stride;
        }
        for v in 0..NV {
            s.store(s1.add(v * S::LANES), sum1[v]);
            s.store(s2.add(v * S::LANES), sum2[v]);
        }
    }
}

/// A chunk's memory: two f64 results a column, and what a block needs.
pub(crate) struct Partial<'a> {
    pub(crate) first: &'a mut [f64],
    pub(crate) second: &'a mut [f64],
    pub(crate) shift: &'a mut [f32],
    pub(crate) s1: &'a mut [f32],
    pub(crate) s2: &'a mut [f32],
}

/// f64 that a [`Partial`] takes per column.
pub(crate) const PARTIAL: usize = 4;

impl<'a> Partial<'a> {
    /// Cuts [`PARTIAL`]·width f64 up; the results come first.
    pub(crate) fn new(memory: &'a mut [f64], width: usize) -> Partial<'a> {
        let (first, rest) = memory.split_at_mut(width);
        let (second, rest) = rest.split_at_mut(width);
        // SAFETY: every bit pattern is a valid f32, whose alignment divides that of f64.
        let rest = unsafe {
            std::slice::from_raw_parts_mut(rest.as_mut_ptr().cast::<f32>(), 2 * rest.len())
        };
        let (shift, rest) = rest.split_at_mut(width);
        let (s1, rest) = rest.split_at_mut(width);
        first.fill(0.0);
        second.fill(0.0);
        Partial { first, second, shift, s1, s2: &mut rest[..width] }
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
