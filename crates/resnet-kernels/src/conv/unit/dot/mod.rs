//! The products in vectors of pairs: a lane of VDPBF16PS adds the products of two bf16 numbers to an f32 sum.
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
//! Sixteen sums in flight cover the latency of two units; a pair of a is loaded once for both vectors of b. What is zero in b (the end
//! of a run) is not multiplied: a run of 48 numbers takes 24 pairs and not 32. Rows that overlap, and operands that both lie in pairs, have blocks of
//! their own (`sliding`, `outer`).

mod column;
mod outer;
mod sliding;

use std::arch::x86_64::*;

use super::{Product, SIDE};
use crate::Bf16;
use crate::simd::Avx512;
use column::column;
use sliding::sliding;

pub(in crate::conv::unit) use outer::outer;

/// Rows of the block that is two vectors wide.
const ROWS: usize = 8;
/// Pairs in one turn of the loop.
const UNROLL: usize = 4;

/// See [`Registers::multiply`](super::Registers::multiply).
///
/// # Safety
/// As there.
pub(super) unsafe fn multiply(
    _proof: Avx512<true>,
    product: &Product,
    rows: &[usize],
    columns: usize,
) {
    for (i, &rows) in rows.iter().enumerate() {
        let (a, c) = (product.a[i], product.c[i]);
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            // The first block brings what the next products need, if it is a wide one of eight rows.
            let fetch = i == 0 && row == 0 && product.ahead > 0;
            // SAFETY: the proof; as the caller vouches, from this row on.
            unsafe {
                let a = a.byte_add(row * product.a_stride);
                let c = c.byte_add(row * product.c_stride);
                row += if columns > SIDE {
                    wide(product, a, c, left, fetch)
                } else {
                    narrow(product, a, c, left)
                };
            }
        }
    }
}

/// Some of `left` rows; returns how many.
///
/// # Safety
/// The CPU has AVX-512 with bf16; a and c are valid for `left` rows, for the rest see [`multiply`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn wide(product: &Product, a: *const Bf16, c: *mut f32, left: usize, fetch: bool) -> usize {
    // SAFETY: as the caller vouches.
    unsafe {
        match left {
            1 => block::<1, 2, false>(product, a, c),
            2 => block::<2, 2, false>(product, a, c),
            3 => block::<3, 2, false>(product, a, c),
            4 => block::<4, 2, false>(product, a, c),
            5 => block::<5, 2, false>(product, a, c),
            6 => block::<6, 2, false>(product, a, c),
            7 => block::<7, 2, false>(product, a, c),
            _ if fetch => block::<ROWS, 2, true>(product, a, c),
            _ => block::<ROWS, 2, false>(product, a, c),
        }
    }
}

/// As [`wide`], with one vector of columns.
///
/// # Safety
/// As there.
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
            1 => block::<1, 1, false>(product, a, c),
            2 | 3 => block::<2, 1, false>(product, a, c),
            4..8 => block::<4, 1, false>(product, a, c),
            8..SIDE => block::<8, 1, false>(product, a, c),
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
unsafe fn block<const R: usize, const C: usize, const FETCH: bool>(
    product: &Product,
    a: *const Bf16,
    c: *mut f32,
) -> usize {
    let &Product {
        a_stride, c_stride, ..
    } = product;
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    // SAFETY: as the caller vouches: each row of c is `C` vectors; at the offset of each step each row of a holds 32 numbers, b 16 rows
    // of `C` vectors, of which the step's pairs are the first.
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
                    if FETCH {
                        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_byte_add(product.ahead).cast());
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
        for (r, sums) in sums.iter().enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.byte_add(r * c_stride).add(i * 16), sum);
            }
        }
    }
    R
}
