//! The products in vectors of pairs: a lane of VDPBF16PS adds the products of two bf16 numbers to
//! an f32 sum.
//!
//! ```text
//!  wide: 8 rows x 2 vectors          narrow: 16 rows x 1 vector
//!
//!            b     b                            b
//!        ┌─────┬─────┐                      ┌─────┐
//!   a →  │ sum │ sum │  a pair of a,   a →  │ sum │
//!   a →  │ sum │ sum │  the same in    a →  │ sum │
//!        │  8 times  │  all lanes           │ 16  │
//!        └─────┴─────┘                      └─────┘
//! ```
//!
//! Sixteen sums in flight cover the latency of two units; a pair of a is loaded once for both
//! vectors of b. What is zero in b (the end of a run) is not multiplied: a run of 48 numbers takes
//! 24 pairs and not 32. Rows that overlap, and operands that both lie in pairs, have blocks of
//! their own (`sliding`, `outer`).

mod column;
mod outer;
mod sliding;

use std::arch::x86_64::*;

use super::product::{Finish, PANEL, Product, SIDE};
use crate::Bf16;
use crate::memory::CACHE_LINE;
use crate::simd::Avx512;
use column::column;
use sliding::sliding;

pub(in crate::conv::unit) use outer::outer;

/// Rows of the block that is two vectors wide.
pub(in crate::conv::unit) const ROWS: usize = 8;
/// Rows up to which two blocks share what is fetched, and not four.
const FEW: usize = 3 * ROWS;
/// Pairs in one turn of the loop.
const UNROLL: usize = 4;

/// See [`Registers::multiply`](super::Registers::multiply).
///
/// # Safety
/// As there; the proof is that of the features.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
pub(super) unsafe fn multiply(
    _proof: Avx512<true>,
    product: &Product,
    rows: &[usize],
    columns: usize,
    finish: Option<Finish>,
) {
    let mut tile = 0;
    while tile < rows.len() {
        let first = tile * SIDE;
        let (a, c) = (product.a[tile], product.c[tile]);
        let fetches = tile == 0 && !product.ahead.is_null();
        let mut count = 0usize;
        // Tiles that follow each other in memory, and in the outputs, are one.
        while tile < rows.len()
            && count.is_multiple_of(SIDE)
            && product.a[tile] == a.wrapping_byte_add(count * product.a_stride)
            && product.c[tile] == c.wrapping_byte_add(count * product.c_stride)
        {
            count += rows[tile];
            tile += 1;
        }
        let rows = Rows { a, c, count, first };
        // SAFETY: the proof; as the caller vouches, from the first of these tiles on.
        unsafe {
            match finish {
                _ if columns <= SIDE => narrow_rows(product, rows),
                Some(_) => wide_rows::<true>(product, rows, fetches, finish.as_ref()),
                None => wide_rows::<false>(product, rows, fetches, None),
            }
        }
    }
}

/// Rows that follow each other in memory, and the first one's place in the outputs.
#[derive(Clone, Copy)]
struct Rows {
    a: *const Bf16,
    c: *mut f32,
    count: usize,
    first: usize,
}

/// All rows of two vectors of columns. If `fetches`, the first blocks bring what the next products
/// need; those of few rows do not.
///
/// # Safety
/// The CPU has AVX-512 with bf16; a and c are valid for the rows, `finish` is there if `FINISH`;
/// for the rest see [`multiply`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn wide_rows<const FINISH: bool>(
    product: &Product,
    rows: Rows,
    fetches: bool,
    finish: Option<&Finish>,
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let mut row = if !fetches {
            0
        } else if rows.count <= ROWS {
            fetching::<1, FINISH>(product, rows, finish)
        } else if rows.count <= FEW {
            fetching::<2, FINISH>(product, rows, finish)
        } else {
            fetching::<4, FINISH>(product, rows, finish)
        };
        while row < rows.count {
            row += wide::<0, FINISH>(product, rows, row, product.b, finish);
        }
    }
}

/// The first `SHARES` blocks, each of which fetches its share; returns their rows.
///
/// # Safety
/// As for [`wide_rows`]; there are so many blocks.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn fetching<const SHARES: usize, const FINISH: bool>(
    product: &Product,
    rows: Rows,
    finish: Option<&Finish>,
) -> usize {
    let share = product.count * SIDE * PANEL * size_of::<u32>() / SHARES;
    let mut row = 0;
    for i in 0..SHARES {
        let ahead = product.ahead.wrapping_byte_add(i * share);
        // SAFETY: as the caller vouches.
        row += unsafe { wide::<SHARES, FINISH>(product, rows, row, ahead, finish) };
    }
    row
}

/// All rows of one vector of columns.
///
/// # Safety
/// As for [`wide_rows`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn narrow_rows(product: &Product, rows: Rows) {
    let mut row = 0;
    while row < rows.count {
        // SAFETY: as the caller vouches, from this row on.
        unsafe {
            let a = rows.a.byte_add(row * product.a_stride);
            let c = rows.c.byte_add(row * product.c_stride);
            row += narrow(product, a, c, rows.count - row);
        }
    }
}

/// Rows of the next block of `left`: as many in each, for a block of few takes as long to wait for
/// its sums.
#[inline(always)]
fn even(left: usize) -> usize {
    // Most are whole, and a division takes as long as a few products.
    if left.is_multiple_of(ROWS) { ROWS } else { left.div_ceil(left.div_ceil(ROWS)) }
}

/// Where a block's sums go that are complete, and the place there of its first row.
type Tail<'a> = (&'a Finish<'a>, usize);

/// Some of the rows, from `row` on; returns how many. Lines from `ahead` on are fetched meanwhile.
///
/// # Safety
/// As for [`wide_rows`]; there is a row left.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
#[inline]
unsafe fn wide<const SHARES: usize, const FINISH: bool>(
    product: &Product,
    rows: Rows,
    row: usize,
    ahead: *const Bf16,
    finish: Option<&Finish>,
) -> usize {
    // SAFETY: as the caller vouches.
    unsafe {
        let a = rows.a.byte_add(row * product.a_stride);
        let c = rows.c.byte_add(row * product.c_stride);
        let tail = finish.map(|finish| (finish, rows.first + row));
        match even(rows.count - row) {
            1 => block::<1, 2, 0, FINISH>(product, a, c, ahead, tail),
            2 => block::<2, 2, 0, FINISH>(product, a, c, ahead, tail),
            3 => block::<3, 2, 0, FINISH>(product, a, c, ahead, tail),
            4 => block::<4, 2, 0, FINISH>(product, a, c, ahead, tail),
            5 => block::<5, 2, SHARES, FINISH>(product, a, c, ahead, tail),
            6 => block::<6, 2, SHARES, FINISH>(product, a, c, ahead, tail),
            7 => block::<7, 2, SHARES, FINISH>(product, a, c, ahead, tail),
            _ => block::<ROWS, 2, SHARES, FINISH>(product, a, c, ahead, tail),
        }
    }
}

/// Some of `left` rows of one vector of columns; returns how many.
///
/// # Safety
/// As for [`wide_rows`], a and c being valid for `left` rows.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn narrow(product: &Product, a: *const Bf16, c: *mut f32, left: usize) -> usize {
    // SAFETY: as the caller vouches.
    unsafe {
        if product.overlaps {
            return match left {
                1 => sliding::<1>(product, a, c),
                2 | 3 => sliding::<2>(product, a, c),
                4..8 => sliding::<4>(product, a, c),
                8..SIDE => sliding::<8>(product, a, c),
                _ => sliding::<SIDE>(product, a, c),
            };
        }
        match left {
            1 => block::<1, 1, 0, false>(product, a, c, a, None),
            2 | 3 => block::<2, 1, 0, false>(product, a, c, a, None),
            4..8 => block::<4, 1, 0, false>(product, a, c, a, None),
            8..SIDE => block::<8, 1, 0, false>(product, a, c, a, None),
            _ => column(product, a, c),
        }
    }
}

/// `R` rows of `C` vectors of sums, in registers over all steps.
///
/// # Safety
/// The CPU has AVX-512 with bf16; a and c are valid for `R` rows, c for `C` vectors of columns.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
#[inline]
unsafe fn block<const R: usize, const C: usize, const SHARES: usize, const FINISH: bool>(
    product: &Product,
    a: *const Bf16,
    c: *mut f32,
    ahead: *const Bf16,
    tail: Option<Tail>,
) -> usize {
    let &Product { a_stride, c_stride, .. } = product;
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    // SAFETY: as the caller vouches: each row of c is `C` vectors; at the offset of each step each
    // row of a holds 32 numbers, b 16 rows of `C` vectors, of which the step's pairs are the first.
    unsafe {
        if product.add != 0 {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(c.byte_add(r * c_stride).add(i * 16));
                }
            }
        }
        for step in 0..product.count {
            let [offset, pairs] = *product.steps.add(step);
            let pairs = pairs as usize;
            let a = a.byte_add(offset as usize);
            let b = product.b.add(step * SIDE * C * 32);
            let mut turn = |k: usize| {
                let mut columns = [_mm512_setzero_ps(); C];
                for (i, column) in columns.iter_mut().enumerate() {
                    let b = b.add((k * C + i) * 32);
                    *column = _mm512_loadu_ps(b.cast());
                }
                if SHARES > 0 {
                    // Of `SHARES` pairs' lines every `SHARES`-th one.
                    let line = (step * SIDE + k) * C;
                    for i in 0..C {
                        if (line + i).is_multiple_of(SHARES) {
                            let at = ahead.wrapping_byte_add((line + i) / SHARES * CACHE_LINE);
                            _mm_prefetch::<_MM_HINT_T0>(at.cast());
                        }
                    }
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let pair = a.byte_add(r * a_stride).add(2 * k).cast::<i32>();
                    let pair = _mm512_set1_epi32(pair.read_unaligned());
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_dpbf16_ps(
                            *sum,
                            std::mem::transmute::<__m512i, __m512bh>(pair),
                            std::mem::transmute::<__m512, __m512bh>(column),
                        );
                    }
                }
            };
            let whole = pairs / UNROLL * UNROLL;
            for k in (0..whole).step_by(UNROLL) {
                for i in 0..UNROLL {
                    turn(k + i);
                }
            }
            for k in whole..pairs {
                turn(k);
            }
        }
        if FINISH && let Some((finish, first)) = tail {
            let Finish { proof, outputs, accumulate } = *finish;
            outputs.write_rows(proof, first, sums, c.cast(), accumulate);
            return R;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.byte_add(r * c_stride).add(i * 16), sum);
            }
        }
    }
    R
}
