//! AVX2 and AVX-512 vectors. The two types differ in their intrinsics and nothing else.

use std::arch::x86_64::*;

use super::vector::{Simd, Task};
use crate::bf16::Bf16;

/// Proof of AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn probe() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }

    pub(crate) fn run<T: Task>(self, task: T) {
        #[target_feature(enable = "avx2,fma")]
        fn enter<T: Task>(simd: Avx2, task: T) {
            task.run(simd);
        }
        // SAFETY: an `Avx2` exists only where `probe` found both features.
        unsafe { enter(self, task) }
    }
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, a: f32) -> __m256 {
        // SAFETY: an `Avx2` exists only where `probe` found the features.
        unsafe { _mm256_set1_ps(a) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight numbers.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight numbers.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m256 {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight bytes.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> __m256 {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight numbers.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, v: __m256) {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight numbers.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let upper = _mm256_srli_epi32::<16>(bits);
            let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
            let half = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd);
            let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
            let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let narrow = _mm256_blendv_epi8(rounded, quiet, nan);
            // Packing works within halves; the two middle quarters change places.
            let packed = _mm256_packus_epi32(narrow, narrow);
            let packed = _mm256_permute4x64_epi64::<0b10_00>(packed);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
        }
    }

    #[inline(always)]
    unsafe fn pair_bf16(self, a: *const Bf16, b: *const Bf16, to: *mut u32) {
        // SAFETY: the features are there (see `splat`); the caller vouches for eight numbers.
        unsafe {
            let a = _mm256_cvtepu16_epi32(_mm_loadu_si128(a.cast()));
            let b = _mm256_cvtepu16_epi32(_mm_loadu_si128(b.cast()));
            _mm256_storeu_si256(to.cast(), _mm256_or_si256(a, _mm256_slli_epi32::<16>(b)));
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn at_least(self, y: __m256, floor: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`). Of a NaN and a number, and of two zeros,
        // the second operand is taken.
        unsafe { _mm256_max_ps(floor, y) }
    }

    #[inline(always)]
    fn where_positive(self, y: __m256, g: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(y, _mm256_setzero_ps()), g) }
    }

    #[inline(always)]
    fn where_equal(self, x: __m256, y: __m256, g: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(x, y), g) }
    }

    #[inline(always)]
    fn greater(self, x: __m256, y: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`). Of a NaN and a number, and of two zeros,
        // the second operand is taken.
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
            _mm256_blendv_ps(_mm256_max_ps(x, y), x, nan)
        }
    }

    #[inline(always)]
    fn where_beats(self, x: __m256, y: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the features are there (see `splat`).
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
            let beats = _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, y), nan);
            _mm256_blendv_ps(b, a, beats)
        }
    }

    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: AVX is there (see `splat`); the caller vouches for the rows.
        unsafe { transpose_8x8(from, from_stride, to, to_stride) }
    }
}

/// Proof of AVX-512 F, VL, BW and DQ, and of its bf16 instructions if `BF16`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512<const BF16: bool>(());

impl<const BF16: bool> Avx512<BF16> {
    pub(crate) fn probe() -> Option<Avx512<BF16>> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma")
            && (!BF16 || is_x86_feature_detected!("avx512bf16"));
        found.then_some(Avx512(()))
    }

    pub(crate) fn run<T: Task>(self, task: T) {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
        fn enter<T: Task>(simd: Avx512<false>, task: T) {
            task.run(simd);
        }
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma")]
        fn enter_bf16<T: Task>(simd: Avx512<true>, task: T) {
            task.run(simd);
        }
        // SAFETY: an `Avx512` exists only where `probe` found the features.
        unsafe {
            if BF16 {
                enter_bf16(Avx512(()), task);
            } else {
                enter(Avx512(()), task);
            }
        }
    }

    /// Sixteen numbers as bf16.
    #[inline(always)]
    fn round_bf16(self, v: __m512) -> __m256i {
        // SAFETY: the features are there (see `splat`).
        unsafe {
            if BF16 {
                return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            }
            let bits = _mm512_castps_si512(v);
            let upper = _mm512_srli_epi32::<16>(bits);
            let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
            let quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let narrow = _mm512_mask_blend_epi32(nan, rounded, quiet);
            _mm512_cvtepi32_epi16(narrow)
        }
    }
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(self, a: f32) -> __m512 {
        // SAFETY: an `Avx512` exists only where `probe` found the features.
        unsafe { _mm512_set1_ps(a) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m512 {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen bytes.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> __m512 {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, v: __m512) {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers.
        unsafe {
            _mm256_storeu_si256(to.cast(), self.round_bf16(v));
        }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: __m512) {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers, and
        // that they are left alone before a fence.
        unsafe {
            if to.cast::<__m512>().is_aligned() {
                _mm512_stream_ps(to, v);
            } else {
                self.store(to, v);
            }
        }
    }

    #[inline(always)]
    unsafe fn stream_bf16(self, to: *mut Bf16, v: __m512) {
        // SAFETY: as for `stream`.
        unsafe {
            if to.cast::<__m256i>().is_aligned() {
                _mm256_stream_si256(to.cast(), self.round_bf16(v));
            } else {
                self.store_bf16(to, v);
            }
        }
    }

    #[inline(always)]
    fn streamed(self) {
        // SAFETY: any x86-64 CPU has SSE.
        unsafe { _mm_sfence() };
    }

    #[inline(always)]
    unsafe fn pair_bf16(self, a: *const Bf16, b: *const Bf16, to: *mut u32) {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen numbers.
        unsafe {
            let a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(a.cast()));
            let b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(b.cast()));
            _mm512_storeu_si512(to.cast(), _mm512_or_si512(a, _mm512_slli_epi32::<16>(b)));
        }
    }

    #[inline(always)]
    unsafe fn store_pair_bf16(self, to: *mut u32, a: __m512, b: __m512) {
        // SAFETY: the features are there (see `splat`); the caller vouches for sixteen words.
        unsafe {
            let [a, b] = [self.round_bf16(a), self.round_bf16(b)].map(|v| _mm512_cvtepu16_epi32(v));
            _mm512_storeu_si512(to.cast(), _mm512_or_si512(a, _mm512_slli_epi32::<16>(b)));
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, from: *const T) {
        // SAFETY: fetching ahead has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }

    #[inline(always)]
    fn prefetch_far<T>(self, from: *const T) {
        // SAFETY: fetching ahead has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) };
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn at_least(self, y: __m512, floor: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`). Of a NaN and a number, and of two zeros,
        // the second operand is taken.
        unsafe { _mm512_max_ps(floor, y) }
    }

    #[inline(always)]
    fn where_positive(self, y: __m512, g: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(y, _mm512_setzero_ps()), g) }
    }

    #[inline(always)]
    fn where_equal(self, x: __m512, y: __m512, g: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, y), g) }
    }

    #[inline(always)]
    fn greater(self, x: __m512, y: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`). Of a NaN and a number, and of two zeros,
        // the second operand is taken.
        unsafe {
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x);
            _mm512_mask_max_ps(x, number, x, y)
        }
    }

    #[inline(always)]
    fn where_beats(self, x: __m512, y: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the features are there (see `splat`).
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            let beats = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, y) | nan;
            _mm512_mask_blend_ps(beats, b, a)
        }
    }

    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: AVX is there (see `splat`); the caller vouches for the rows.
        unsafe { transpose_8x8(from, from_stride, to, to_stride) }
    }
}

/// Halves of rows i and i + 4 are read into one vector; then pairs of rows are interleaved, and
/// pairs of pairs.
///
/// # Safety
/// The CPU has AVX; `from` is valid for reading and `to` for writing eight numbers in each of eight
/// rows.
#[inline(always)]
unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: as the caller vouches.
    unsafe {
        for half in [0, 4] {
            // Row i holds numbers half..half + 4 of row i, then those of row i + 4.
            let mut rows = [_mm256_setzero_ps(); 4];
            for i in 0..4 {
                let from = from.add(i * from_stride + half);
                let low = _mm256_castps128_ps256(_mm_loadu_ps(from));
                rows[i] = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add(4 * from_stride)));
            }
            let [a, b, c, d] = rows;
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let to = to.add(half * to_stride);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
            _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let to = to.add(2 * to_stride);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
            _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
        }
    }
}
