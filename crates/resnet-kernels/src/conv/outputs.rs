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

/// Outputs that are taken together: their scale and shift stay in registers.
const ROWS: usize = 16;

impl<T: Number> Outputs<'_, T, f32> {
    /// Applies the epilogue to sums that stand in y.
    ///
    /// # Safety
    /// y holds the channels at every offset, none of them read or written by another task meanwhile.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd>(&self, s: S) {
        let whole = self.count / S::LANES * S::LANES;
        for &to in self.to {
            // SAFETY: as the caller vouches, for whole vectors and then for single numbers.
            unsafe {
                for j in (0..whole).step_by(S::LANES) {
                    self.finish_vector(s, to, self.channel + j);
                }
                for j in whole..self.count {
                    self.finish_vector(One, to, self.channel + j);
                }
            }
        }
    }

    /// # Safety
    /// A vector of channels from `channel` on is valid at the offset.
    #[inline(always)]
    unsafe fn finish_vector<S: Simd>(&self, s: S, to: u32, channel: usize) {
        let at = to as usize + channel;
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and of y.
        unsafe {
            let y = self.y.add(at);
            let columns = self.epilogue.columns(s, channel);
            let number = self.epilogue.apply(s, columns, s.load(y), self.first + at);
            s.store(y, number);
        }
    }
}

impl<T: Number> Outputs<'_, T, T> {
    /// Asks for the memory that [`Outputs::write`] will touch, so that it arrives while the sums are computed.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&self, s: S) {
        for &to in self.to.iter().filter(|&&to| to != NONE) {
            let at = to as usize + self.channel;
            s.prefetch(self.y.wrapping_add(at));
            if let Some(residual) = self.epilogue.residual {
                s.prefetch(residual.as_ptr().wrapping_add(self.first + at));
            }
        }
    }

    /// Writes `sums`, a row of [`LANES`] for each output, to which the old y is added if `accumulate`; offsets that are
    /// [`NONE`] are passed over.
    ///
    /// # Safety
    /// As for `finish`; y is initialised.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, s: S, sums: &[f32], accumulate: bool) {
        let whole = self.count / S::LANES * S::LANES;
        for (to, sums) in self.to.chunks(ROWS).zip(sums.chunks(ROWS * LANES)) {
            // SAFETY: as the caller vouches, for whole vectors and then for single numbers.
            unsafe {
                for j in (0..whole).step_by(S::LANES) {
                    self.write_columns(s, to, sums, j, accumulate);
                }
                for j in whole..self.count {
                    self.write_columns(One, to, sums, j, accumulate);
                }
            }
        }
    }

    /// # Safety
    /// A vector of channels from the j-th on is valid at every offset.
    #[inline(always)]
    unsafe fn write_columns<S: Simd>(
        &self,
        s: S,
        to: &[u32],
        sums: &[f32],
        j: usize,
        accumulate: bool,
    ) {
        let channel = self.channel + j;
        let nothing = !accumulate && self.epilogue.is_nothing();
        let outputs = to.iter().zip(sums.chunks_exact(LANES));
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and of y, a row of sums holds whole
        // vectors.
        unsafe {
            let columns = self.epilogue.columns(s, channel);
            for (&to, sums) in outputs.filter(|&(&to, _)| to != NONE) {
                let at = to as usize + channel;
                let y = self.y.add(at);
                let mut sum = s.load(sums.as_ptr().add(j));
                if !nothing {
                    if accumulate {
                        sum = s.add(sum, T::load(s, y));
                    }
                    sum = self.epilogue.apply(s, columns, sum, self.first + at);
                }
                T::store(s, y, sum);
            }
        }
    }
}
