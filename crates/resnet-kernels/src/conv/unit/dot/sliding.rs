//! Rows that overlap.

use std::arch::x86_64::*;

use crate::Bf16;
use crate::conv::unit::product::{OVERLAP, Product, SIDE};

/// Pairs of a pixel where rows overlap.
const PIXEL: usize = SIDE / 2;

/// `R` rows of one vector of sums, of rows that overlap: a pair of a pixel is loaded once for the
/// three rows that it is in.
///
/// ```text
///            w of tap 0, 1, 2
///  pixel q ─────────┬───┬───┐
///                   ▼   ▼   ▼
///        row      q   q-1  q-2
/// ```
///
/// # Safety
/// As for [`block`](super::block), with `C` = 1; the product's rows overlap.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
pub(super) unsafe fn sliding<const R: usize>(
    product: &Product,
    a: *const Bf16,
    c: *mut f32,
) -> usize {
    const STEPS: usize = (PIXEL * OVERLAP).div_ceil(SIDE);
    let mut sums = [_mm512_setzero_ps(); R];
    // SAFETY: as the caller vouches: each row of c is a vector; at the offset of each run the rows
    // of a hold three pixels; b has 16 rows of one vector for each step.
    unsafe {
        if product.add != 0 {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(c.byte_add(r * product.c_stride));
            }
        }
        for step in (0..product.count).step_by(STEPS) {
            let a = a.byte_add((*product.steps.add(step))[0] as usize);
            let b = product.b.add(step * SIDE * 32);
            for k in 0..PIXEL {
                let taps = [0, 1, 2].map(|t| {
                    let tap = _mm512_loadu_ps(b.add((t * PIXEL + k) * 32).cast());
                    std::mem::transmute::<__m512, __m512bh>(tap)
                });
                let pixel = |q: usize| {
                    let pair = a.add(2 * (q * PIXEL + k)).cast::<i32>();
                    let pair = _mm512_set1_epi32(pair.read_unaligned());
                    std::mem::transmute::<__m512i, __m512bh>(pair)
                };
                let (mut first, mut second) = (pixel(0), pixel(1));
                for (r, sum) in sums.iter_mut().enumerate() {
                    let third = pixel(r + 2);
                    *sum = _mm512_dpbf16_ps(*sum, first, taps[0]);
                    *sum = _mm512_dpbf16_ps(*sum, second, taps[1]);
                    *sum = _mm512_dpbf16_ps(*sum, third, taps[2]);
                    (first, second) = (second, third);
                }
            }
        }
        for (r, &sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(c.byte_add(r * product.c_stride), sum);
        }
    }
    R
}
