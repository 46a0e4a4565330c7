//! Sums on their way to the output map.

use super::Epilogue;
use super::tile::LANES;
use crate::Number;
use crate::simd::{One, Simd};

/// An offset of sums that are no output's.
pub(super) const NONE: u32 = u32::MAX;

/// `count` channels from `channel` on of the outputs at the offsets `to` from y, which is `first` numbers from the start of the output.
pub(super) struct Outputs<'a, T, Y> {
    pub(super) epilogue: &'a Epilogue<'a, T>,
    pub(super) y: *mut Y,
    pub(super) to: &'a [u32],
    pub(super) first: usize,
    pub(super) channel: usize,
    pub(super) count: usize,
}

impl<T: Number> Outputs<'_, T, f32> {
    /// Applies the epilogue to sums that stand in y.
    ///
    /// # Safety
    /// y holds the channels at every offset, none of them read or written by another task meanwhile.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd>(&self, s: S) {
        let whole = self.count / S::LANES * S::LANES;
        for &to in self.to {
            let at = to as usize + self.channel;
            // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and of y.
            unsafe {
                for j in (0..whole).step_by(S::LANES) {
                    let (y, at) = (self.y.add(at + j), self.first + at + j);
                    s.store(y, self.epilogue.apply(s, s.load(y), self.channel + j, at));
                }
                for j in whole..self.count {
                    let (y, at) = (self.y.add(at + j), self.first + at + j);
                    *y = self.epilogue.apply(One, *y, self.channel + j, at);
                }
            }
        }
    }
}

impl<T: Number> Outputs<'_, T, T> {
    /// Writes `sums`, a row of [`LANES`] for each output, to which the old y is added if `accumulate`; offsets that are
    /// [`NONE`] are passed over.
    ///
    /// # Safety
    /// As for `finish`; y is initialised.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, s: S, sums: &[f32], accumulate: bool) {
        let whole = self.count / S::LANES * S::LANES;
        let outputs = self.to.iter().zip(sums.chunks_exact(LANES));
        let outputs = outputs.filter(|&(&to, _)| to != NONE);
        if whole == self.count && !accumulate && self.epilogue.is_nothing() {
            for (&to, sums) in outputs {
                for j in (0..whole).step_by(S::LANES) {
                    // SAFETY: as the caller vouches; a row of sums holds whole vectors.
                    unsafe {
                        let y = self.y.add(to as usize + self.channel + j);
                        T::store(s, y, s.load(sums.as_ptr().add(j)));
                    }
                }
            }
            return;
        }
        for (&to, sums) in outputs {
            let at = to as usize + self.channel;
            // SAFETY: as the caller vouches, for whole vectors and then for single numbers.
            unsafe {
                for j in (0..whole).step_by(S::LANES) {
                    self.number(s, sums[j..].as_ptr(), at + j, self.channel + j, accumulate);
                }
                for j in whole..self.count {
                    self.number(
                        One,
                        sums[j..].as_ptr(),
                        at + j,
                        self.channel + j,
                        accumulate,
                    );
                }
            }
        }
    }

    /// # Safety
    /// A vector is valid at `sum`, and at `at` from y.
    #[inline(always)]
    unsafe fn number<S: Simd>(
        &self,
        s: S,
        sum: *const f32,
        at: usize,
        channel: usize,
        accumulate: bool,
    ) {
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and of y.
        unsafe {
            let y = self.y.add(at);
            let mut sum = s.load(sum);
            if accumulate {
                sum = s.add(sum, T::load(s, y));
            }
            T::store(s, y, self.epilogue.apply(s, sum, channel, self.first + at));
        }
    }
}
