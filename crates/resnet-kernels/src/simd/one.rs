//! A vector of one lane, for the columns that are left over.

use super::vector::Simd;
use crate::bf16::Bf16;

/// Needs nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct One;

impl Simd for One {
    type V = f32;
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> f32 {
        // SAFETY: the caller vouches for one number.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: f32) {
        // SAFETY: the caller vouches for one number.
        unsafe { *to = v }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> f32 {
        // SAFETY: the caller vouches for one number.
        unsafe { *from }.value()
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, v: f32) {
        // SAFETY: the caller vouches for one number.
        unsafe { *to = Bf16::nearest(v) }
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    fn at_least(self, y: f32, floor: f32) -> f32 {
        if y < floor { floor } else { y }
    }

    #[inline(always)]
    fn where_positive(self, y: f32, g: f32) -> f32 {
        if y > 0.0 { g } else { 0.0 }
    }

    #[inline(always)]
    fn where_equal(self, x: f32, y: f32, g: f32) -> f32 {
        if x == y { g } else { 0.0 }
    }

    #[inline(always)]
    fn greater(self, x: f32, y: f32) -> f32 {
        if x > y || x.is_nan() { x } else { y }
    }

    #[inline(always)]
    fn where_beats(self, x: f32, y: f32, a: f32, b: f32) -> f32 {
        if x > y || x.is_nan() { a } else { b }
    }
}
