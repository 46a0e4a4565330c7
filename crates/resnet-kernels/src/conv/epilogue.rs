//! What is done to a convolution's sums before they leave the cache.

use crate::Number;
use crate::simd::Simd;

/// y = scale · sum + shift + residual, then max(y, 0) if `relu`: a batch norm of fixed statistics,
/// the addition of a shortcut and the ReLU, none of which costs a pass over memory here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a, T = f32> {
    /// `[c_out]`; one if absent.
    pub scale: Option<&'a [f32]>,
    /// `[c_out]`; zero if absent.
    pub shift: Option<&'a [f32]>,
    /// Of y's shape; zero if absent.
    pub residual: Option<&'a [T]>,
    /// Whether a ReLU ends it.
    pub relu: bool,
}

impl<'a, T: Number> Epilogue<'a, T> {
    /// Whether lengths fit `c_out` channels and `len` outputs.
    pub(super) fn fits(&self, c_out: usize, len: usize) -> bool {
        let fits = |part: Option<&[f32]>| part.is_none_or(|part| part.len() == c_out);
        let residual = self.residual.is_none_or(|residual| residual.len() == len);
        fits(self.scale) && fits(self.shift) && residual
    }

    /// What sums may start from, and what is left to do.
    pub(super) fn start(self) -> (Option<&'a [f32]>, Epilogue<'a, T>) {
        if self.scale.is_some() {
            return (None, self);
        }
        let rest = Epilogue { shift: None, ..self };
        (self.shift, rest)
    }

    /// Whether sums are written as they are.
    pub(super) fn is_nothing(&self) -> bool {
        self.scale.is_none() && self.shift.is_none() && self.residual.is_none() && !self.relu
    }

    /// What is the same for all outputs of a vector of channels from `channel` on.
    ///
    /// # Safety
    /// A vector fits into c_out from `channel` on.
    #[inline(always)]
    pub(super) unsafe fn columns<S: Simd>(&self, s: S, channel: usize) -> Columns<S> {
        let factor = |part: Option<&[f32]>, absent| match part {
            // SAFETY: the caller vouches for `channel`; lengths were checked when the pass began.
            Some(part) => unsafe { s.load(part.as_ptr().add(channel)) },
            None => s.splat(absent),
        };
        Columns { scale: factor(self.scale, 1.0), shift: factor(self.shift, 0.0) }
    }

    /// The outputs of a vector of sums, at `at` in y.
    ///
    /// # Safety
    /// A vector fits into y from `at` on.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        &self,
        s: S,
        columns: Columns<S>,
        sum: S::V,
        at: usize,
    ) -> S::V {
        let mut y = columns.apply(s, sum);
        if let Some(residual) = self.residual {
            // SAFETY: the caller vouches for `at`; the length was checked when the pass began.
            y = s.add(y, unsafe { T::load(s, residual.as_ptr().add(at)) });
        }
        if self.relu { s.relu(y) } else { y }
    }
}

/// Scale and shift of a vector of channels.
#[derive(Clone, Copy)]
pub(super) struct Columns<S: Simd> {
    scale: S::V,
    shift: S::V,
}

impl<S: Simd> Columns<S> {
    /// scale · sum + shift.
    #[inline(always)]
    pub(super) fn apply(&self, s: S, sum: S::V) -> S::V {
        s.fma(sum, self.scale, self.shift)
    }
}
