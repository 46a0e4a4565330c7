//! Operands that both lie in pairs: columns of a times rows of b.

use std::arch::x86_64::*;

use super::ROWS;
use crate::conv::unit::product::Outer;
use crate::memory::CACHE_LINE;
use crate::simd::Avx512;

/// See [`Registers::outer`](crate::conv::unit::Registers::outer).
///
/// # Safety
/// As there.
pub(in crate::conv::unit) unsafe fn outer<const C: usize>(
    _proof: Avx512<true>,
    product: Outer<C>,
    rows: usize,
) {
    let (mut row, mut block) = (0, 0);
    // Of the lines to fetch every block takes as many.
    let blocks = rows / ROWS + rows % ROWS;
    let share = product.lines.div_ceil(blocks.max(1));
    while row < rows {
        let left = rows - row;
        let fetched = block * share;
        // SAFETY: the proof; as the caller vouches, from this row on.
        unsafe {
            let product = Outer {
                a: product.a.add(row),
                c: product.c.byte_add(row * product.c_stride),
                ahead: product.ahead.wrapping_byte_add(fetched * CACHE_LINE),
                lines: share.min(product.lines.saturating_sub(fetched)),
                ..product
            };
            row += match left {
                ROWS.. => outer_block::<ROWS, C>(product),
                _ => outer_block::<1, C>(product),
            };
            block += 1;
        }
    }
}

/// `R` rows of `C` vectors of sums, in registers over all pairs.
///
/// # Safety
/// The CPU has AVX-512 with bf16; all that
/// [`Registers::outer`](crate::conv::unit::Registers::outer) asks for, for `R` rows and `C`
/// vectors.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn outer_block<const R: usize, const C: usize>(product: Outer<C>) -> usize {
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    // SAFETY: as the caller vouches.
    unsafe {
        let at = |r: usize, i: usize| product.c.byte_add(r * product.c_stride).add(i * 16);
        // The sums so far may be far away, and are not needed before the end.
        for r in 0..R {
            for i in 0..C {
                _mm_prefetch::<_MM_HINT_T0>(at(r, i).cast());
            }
        }
        let (mut a, mut b) = (product.a, product.b);
        for pair in 0..product.count {
            if pair < product.lines {
                let line = product.ahead.wrapping_byte_add(pair * CACHE_LINE);
                _mm_prefetch::<_MM_HINT_T1>(line.cast());
            }
            let mut columns = [_mm512_setzero_ps(); C];
            for (i, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(b[i].cast());
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let pair = _mm512_set1_epi32(*a.add(r) as i32);
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(
                        *sum,
                        std::mem::transmute::<__m512i, __m512bh>(pair),
                        std::mem::transmute::<__m512, __m512bh>(column),
                    );
                }
            }
            a = a.wrapping_byte_add(product.a_pitch);
            b = b.map(|b| b.wrapping_byte_add(product.b_pitch));
        }
        for (r, sums) in sums.iter().enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                let sum =
                    if product.add { _mm512_add_ps(_mm512_loadu_ps(at(r, i)), sum) } else { sum };
                _mm512_storeu_ps(at(r, i), sum);
            }
        }
    }
    R
}
