//! Portable vectors: four lanes that the compiler maps to what the build target has.

use super::vector::Simd;
use crate::bf16::Bf16;

/// Needs nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

/// Whether the build target fuses multiply and add; elsewhere `mul_add` would call a slow library
/// function.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

impl Simd for Scalar {
    type V = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(self, a: f32) -> [f32; 4] {
        [a; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; 4] {
        // SAFETY: the caller vouches for four numbers; the read is unaligned.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller vouches for four numbers; the write is unaligned.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> [f32; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[Bf16; 4]>().read() }.map(Bf16::value)
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, v: [f32; 4]) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { to.cast::<[Bf16; 4]>().write(v.map(Bf16::nearest)) }
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fma(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }

    #[inline(always)]
    fn at_least(self, y: [f32; 4], floor: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if y[i] < floor[i] { floor[i] } else { y[i] })
    }

    #[inline(always)]
    fn where_positive(self, y: [f32; 4], g: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if y[i] > 0.0 { g[i] } else { 0.0 })
    }

    #[inline(always)]
    fn where_equal(self, x: [f32; 4], y: [f32; 4], g: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if x[i] == y[i] { g[i] } else { 0.0 })
    }

    #[inline(always)]
    fn greater(self, x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        self.where_beats(x, y, x, y)
    }

    #[inline(always)]
    fn where_beats(self, x: [f32; 4], y: [f32; 4], a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if (x[i] > y[i]) | x[i].is_nan() { a[i] } else { b[i] })
    }
}
