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
//! of a run) is not multiplied: a run of 48 numbers takes 24 pairs and not 32.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::offset_of;

use super::{MOST, OVERLAP, Outer, Product, SIDE};
use crate::Bf16;
use crate::simd::Avx512;

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
            // One block brings what the next products need; the others find b in the first-level cache.
            let ahead = if i == 0 && row == 0 { product.ahead } else { 0 };
            // SAFETY: the proof; as the caller vouches, from this row on.
            unsafe {
                let a = a.byte_add(row * product.a_stride);
                let c = c.byte_add(row * product.c_stride);
                row += if columns > SIDE {
                    wide(product, a, c, left, ahead)
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
unsafe fn wide(product: &Product, a: *const Bf16, c: *mut f32, left: usize, ahead: usize) -> usize {
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
            _ if ahead > 0 => block::<ROWS, 2, true>(product, a, c),
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

/// Pairs of a pixel where rows overlap.
const PIXEL: usize = SIDE / 2;

/// `R` rows of one vector of sums, of rows that overlap: a pair of a pixel is loaded once for the three rows that it is in.
///
/// ```text
///            w of tap 0, 1, 2
///  pixel q ─────────┬───┬───┐
///                   ▼   ▼   ▼
///        row      q   q-1  q-2
/// ```
///
/// # Safety
/// As for [`block`], with `C` = 1; the product's rows overlap.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn sliding<const R: usize>(product: &Product, a: *const Bf16, c: *mut f32) -> usize {
    const STEPS: usize = (PIXEL * OVERLAP).div_ceil(SIDE);
    let mut sums = [_mm512_setzero_ps(); R];
    // SAFETY: as the caller vouches: each row of c is a vector; at the offset of each run the rows of a hold three pixels; b has 16 rows of
    // one vector for each step.
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

/// See [`Registers::outer`](super::Registers::outer).
///
/// # Safety
/// As there.
pub(super) unsafe fn outer<const C: usize>(_proof: Avx512<true>, product: Outer<C>, rows: usize) {
    let mut row = 0;
    while row < rows {
        let left = rows - row;
        // SAFETY: the proof; as the caller vouches, from this row on.
        unsafe {
            let product = Outer {
                a: product.a.add(row),
                c: product.c.byte_add(row * product.c_stride),
                ..product
            };
            row += match left {
                ROWS.. => outer_block::<ROWS, C>(product),
                _ => outer_block::<1, C>(product),
            };
        }
    }
}

/// `R` rows of `C` vectors of sums, in registers over all pairs.
///
/// # Safety
/// The CPU has AVX-512 with bf16; all that [`Registers::outer`](super::Registers::outer) asks for, for `R` rows and `C` vectors.
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
        for _ in 0..product.count {
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
                let sum = if product.add {
                    _mm512_add_ps(_mm512_loadu_ps(at(r, i)), sum)
                } else {
                    sum
                };
                _mm512_storeu_ps(at(r, i), sum);
            }
        }
    }
    R
}

/// Sixteen rows of one vector of sums. In assembly, since a compiler keeps sixteen pointers to rows in memory: six, each for three rows, fit the
/// registers.
///
/// # Safety
/// As for [`block`], with `R` = 16 and `C` = 1.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
unsafe fn column(product: &Product, a: *const Bf16, c: *mut f32) -> usize {
    let own = &Product {
        a: [a; MOST],
        c: [c; MOST],
        ..*product
    };
    // SAFETY: reads a, b and steps and writes c as the caller vouches.
    unsafe {
        asm!(
            "mov {s}, [{p} + {c_stride}]",
            "cmp qword ptr [{p} + {add}], 0",
            "jne 2f",
            "vpxord zmm0, zmm0, zmm0",
            "vpxord zmm1, zmm1, zmm1",
            "vpxord zmm2, zmm2, zmm2",
            "vpxord zmm3, zmm3, zmm3",
            "vpxord zmm4, zmm4, zmm4",
            "vpxord zmm5, zmm5, zmm5",
            "vpxord zmm6, zmm6, zmm6",
            "vpxord zmm7, zmm7, zmm7",
            "vpxord zmm8, zmm8, zmm8",
            "vpxord zmm9, zmm9, zmm9",
            "vpxord zmm10, zmm10, zmm10",
            "vpxord zmm11, zmm11, zmm11",
            "vpxord zmm12, zmm12, zmm12",
            "vpxord zmm13, zmm13, zmm13",
            "vpxord zmm14, zmm14, zmm14",
            "vpxord zmm15, zmm15, zmm15",
            "jmp 3f",
            "2:",
            "mov {t}, [{p} + {c}]",
            "vmovups zmm0, [{t}]",
            "add {t}, {s}",
            "vmovups zmm1, [{t}]",
            "add {t}, {s}",
            "vmovups zmm2, [{t}]",
            "add {t}, {s}",
            "vmovups zmm3, [{t}]",
            "add {t}, {s}",
            "vmovups zmm4, [{t}]",
            "add {t}, {s}",
            "vmovups zmm5, [{t}]",
            "add {t}, {s}",
            "vmovups zmm6, [{t}]",
            "add {t}, {s}",
            "vmovups zmm7, [{t}]",
            "add {t}, {s}",
            "vmovups zmm8, [{t}]",
            "add {t}, {s}",
            "vmovups zmm9, [{t}]",
            "add {t}, {s}",
            "vmovups zmm10, [{t}]",
            "add {t}, {s}",
            "vmovups zmm11, [{t}]",
            "add {t}, {s}",
            "vmovups zmm12, [{t}]",
            "add {t}, {s}",
            "vmovups zmm13, [{t}]",
            "add {t}, {s}",
            "vmovups zmm14, [{t}]",
            "add {t}, {s}",
            "vmovups zmm15, [{t}]",
            "add {t}, {s}",
            "3:",
            "mov {s}, [{p} + {a_stride}]",
            "mov {b}, [{p} + {b_}]",
            "mov {e}, [{p} + {steps}]",
            "mov {n}, [{p} + {count}]",
            "test {n}, {n}",
            "jz 7f",
            "4:",
            "mov {a0:e}, dword ptr [{e}]",
            "mov {k:e}, dword ptr [{e} + 4]",
            "add {e}, 8",
            "lea {t}, [{s} + 2 * {s}]",
            "add {a0}, [{p} + {a}]",
            "lea {a1}, [{a0} + {t}]",
            "lea {a2}, [{a1} + {t}]",
            "lea {a3}, [{a2} + {t}]",
            "lea {a4}, [{a3} + {t}]",
            "lea {a5}, [{a4} + {t}]",
            "mov {t}, {b}",
            "add {b}, 1024",
            "test {k}, {k}",
            "jz 6f",
            ".p2align 4",
            "5:",
            "vmovups zmm16, [{t}]",
            "vdpbf16ps zmm0, zmm16, dword ptr [{a0}]{{1to16}}",
            "vdpbf16ps zmm1, zmm16, dword ptr [{a0} + {s}]{{1to16}}",
            "vdpbf16ps zmm2, zmm16, dword ptr [{a0} + 2 * {s}]{{1to16}}",
            "vdpbf16ps zmm3, zmm16, dword ptr [{a1}]{{1to16}}",
            "vdpbf16ps zmm4, zmm16, dword ptr [{a1} + {s}]{{1to16}}",
            "vdpbf16ps zmm5, zmm16, dword ptr [{a1} + 2 * {s}]{{1to16}}",
            "vdpbf16ps zmm6, zmm16, dword ptr [{a2}]{{1to16}}",
            "vdpbf16ps zmm7, zmm16, dword ptr [{a2} + {s}]{{1to16}}",
            "vdpbf16ps zmm8, zmm16, dword ptr [{a2} + 2 * {s}]{{1to16}}",
            "vdpbf16ps zmm9, zmm16, dword ptr [{a3}]{{1to16}}",
            "vdpbf16ps zmm10, zmm16, dword ptr [{a3} + {s}]{{1to16}}",
            "vdpbf16ps zmm11, zmm16, dword ptr [{a3} + 2 * {s}]{{1to16}}",
            "vdpbf16ps zmm12, zmm16, dword ptr [{a4}]{{1to16}}",
            "vdpbf16ps zmm13, zmm16, dword ptr [{a4} + {s}]{{1to16}}",
            "vdpbf16ps zmm14, zmm16, dword ptr [{a4} + 2 * {s}]{{1to16}}",
            "vdpbf16ps zmm15, zmm16, dword ptr [{a5}]{{1to16}}",
            "add {a0}, 4",
            "add {a1}, 4",
            "add {a2}, 4",
            "add {a3}, 4",
            "add {a4}, 4",
            "add {a5}, 4",
            "add {t}, 64",
            "dec {k}",
            "jnz 5b",
            "6:",
            "dec {n}",
            "jnz 4b",
            "7:",
            "mov {s}, [{p} + {c_stride}]",
            "mov {t}, [{p} + {c}]",
            "vmovups [{t}], zmm0",
            "add {t}, {s}",
            "vmovups [{t}], zmm1",
            "add {t}, {s}",
            "vmovups [{t}], zmm2",
            "add {t}, {s}",
            "vmovups [{t}], zmm3",
            "add {t}, {s}",
            "vmovups [{t}], zmm4",
            "add {t}, {s}",
            "vmovups [{t}], zmm5",
            "add {t}, {s}",
            "vmovups [{t}], zmm6",
            "add {t}, {s}",
            "vmovups [{t}], zmm7",
            "add {t}, {s}",
            "vmovups [{t}], zmm8",
            "add {t}, {s}",
            "vmovups [{t}], zmm9",
            "add {t}, {s}",
            "vmovups [{t}], zmm10",
            "add {t}, {s}",
            "vmovups [{t}], zmm11",
            "add {t}, {s}",
            "vmovups [{t}], zmm12",
            "add {t}, {s}",
            "vmovups [{t}], zmm13",
            "add {t}, {s}",
            "vmovups [{t}], zmm14",
            "add {t}, {s}",
            "vmovups [{t}], zmm15",
            "add {t}, {s}",
            p = in(reg) own,
            s = out(reg) _, t = out(reg) _, b = out(reg) _, e = out(reg) _, n = out(reg) _, k = out(reg) _,
            a0 = out(reg) _, a1 = out(reg) _, a2 = out(reg) _, a3 = out(reg) _, a4 = out(reg) _, a5 = out(reg) _,
            a = const offset_of!(Product, a),
            c = const offset_of!(Product, c),
            c_stride = const offset_of!(Product, c_stride),
            a_stride = const offset_of!(Product, a_stride),
            steps = const offset_of!(Product, steps),
            count = const offset_of!(Product, count),
            add = const offset_of!(Product, add),
            b_ = const offset_of!(Product, b),
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _,
            options(nostack),
        );
    }
    SIDE
}
