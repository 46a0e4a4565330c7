//! Sums on their way to the output map.

use super::Epilogue;
use super::tile::LANES;
use crate::Number;
use crate::simd::{One, Simd};

/// An offset of sums that are no output's.
pub(super) const NONE: u32 = u32::MAX;

/// `count` channels from `channel` on of the outputs at the offsets `to` from y, which is `first`
/// numbers from the start of the output.
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
    /// y holds the channels at every offset, none of them read or written by another task
    /// meanwhile.
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
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and
        // of y.
        unsafe {
            let y = self.y.add(at);
            let columns = self.epilogue.columns(s, channel);
            let number = self.epilogue.apply(s, columns, s.load(y), self.first + at);
            s.store(y, number);
        }
    }
}

impl<T: Number> Outputs<'_, T, T> {
    /// Writes `sums`, a row of [`LANES`] for each output, to which the old y is added if
    /// `accumulate`; offsets that are [`NONE`] are passed over.
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
        let plain = !accumulate && self.epilogue.is_nothing();
        let outputs = to.iter().zip(sums.chunks_exact(LANES));
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and
        // of y, a row of sums holds whole vectors.
        unsafe {
            let columns = self.epilogue.columns(s, self.channel + j);
            for (&to, sums) in outputs.filter(|&(&to, _)| to != NONE) {
                let at = to as usize + self.channel + j;
                let y = self.y.add(at);
                let mut sum = s.load(sums.as_ptr().add(j));
                if !plain {
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

/// What only units that multiply bf16 ask for.
#[cfg(target_arch = "x86_64")]
impl<T: Number> Outputs<'_, T, T> {
    /// Asks for the memory that [`Outputs::write`] will touch, so that it arrives while the sums
    /// are computed.
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

    /// Whether [`Outputs::write_rows`] can be called.
    pub(super) fn fits_registers(&self, accumulate: bool) -> bool {
        !accumulate || self.epilogue.is_nothing()
    }

    /// Writes `R` rows of `C` vectors of sums that are in registers, the outputs from the
    /// `first`-th on; those whose offset is [`NONE`] go to `nowhere`. What differs between
    /// convolutions is decided before, so that all sums run through the same few instructions.
    ///
    /// # Safety
    /// As for [`Outputs::write`]; the channels are `C` vectors, for which `nowhere` has room and
    /// holds numbers.
    #[inline(always)]
    pub(super) unsafe fn write_rows<S: Simd, const R: usize, const C: usize>(
        &self,
        s: S,
        first: usize,
        sums: [[S::V; C]; R],
        nowhere: *mut T,
        accumulate: bool,
    ) {
        let to = &self.to[first..first + R];
        let at = |base: *const T, none: *const T| {
            let mut rows = [none; R];
            for r in 0..R {
                if to[r] != NONE {
                    rows[r] = base.wrapping_add(to[r] as usize + self.channel);
                }
            }
            rows
        };
        let y = at(self.y, nowhere);
        let added = match self.epilogue.residual {
            Some(residual) => Some(residual.as_ptr().wrapping_add(self.first)),
            None => accumulate.then_some(self.y.cast_const()),
        };
        // SAFETY: as the caller vouches; the epilogue's parts have the lengths of the channels and
        // of y.
        unsafe {
            match added {
                Some(added) => self.write_sums::<S, R, C, true>(s, sums, y, at(added, nowhere)),
                None => self.write_sums::<S, R, C, false>(s, sums, y, y),
            }
        }
    }

    /// y = scale · sum + shift, plus the number at `added` if `ADD`, and its ReLU.
    ///
    /// # Safety
    /// `C` vectors are valid for writing at each of `y` and, if `ADD`, for reading at each of
    /// `added`.
    #[inline(always)]
    unsafe fn write_sums<S: Simd, const R: usize, const C: usize, const ADD: bool>(
        &self,
        s: S,
        sums: [[S::V; C]; R],
        y: [*const T; R],
        added: [*const T; R],
    ) {
        let floor = s.splat(if self.epilogue.relu { 0.0 } else { f32::NEG_INFINITY });
        for i in 0..C {
            let j = i * S::LANES;
            // SAFETY: as the caller vouches.
            unsafe {
                let columns = self.epilogue.columns(s, self.channel + j);
                for r in 0..R {
                    let mut sum = columns.apply(s, sums[r][i]);
                    if ADD {
                        sum = s.add(sum, T::load(s, added[r].add(j)));
                    }
                    T::store(s, y[r].add(j).cast_mut(), s.at_least(sum, floor));
                }
            }
        }
    }
}
