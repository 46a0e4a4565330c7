//! Elementwise work in vectors, the last numbers one by one.

use crate::simd::{One, Simd};

/// What is done with the numbers at one place.
pub(crate) trait Each {
    /// # Safety
    /// All that the work reads and writes holds `S::LANES` numbers from `at` on.
    unsafe fn at<S: Simd>(&self, s: S, at: usize);
}

/// Does `work` at all of `count` places.
///
/// # Safety
/// All that the work reads and writes holds `count` numbers.
#[inline(always)]
pub(crate) unsafe fn each<S: Simd>(s: S, count: usize, work: impl Each) {
    let whole = count / S::LANES * S::LANES;
    // SAFETY: as the caller vouches, for whole vectors and then for single numbers.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            work.at(s, at);
        }
        for at in whole..count {
            work.at(One, at);
        }
    }
}
