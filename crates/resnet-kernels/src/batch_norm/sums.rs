//! The reducing passes: statistics, and the two sums of the backward pass.

use super::Mask;
use super::apply::normal;
use super::factors::Factors;
use crate::Number;
use crate::columns::{Columns, Partial, Sums, block_sums};
use crate::simd::{Simd, Task};

/// Fills `moments` = mean, M2 = Σ(x-mean)² of the channels over one chunk.
pub(super) struct Statistics<'a, T> {
    pub(super) columns: Columns,
    pub(super) chunk: usize,
    pub(super) x: &'a [T],
    /// A [`Partial`].
    pub(super) partial: &'a mut [f64],
    pub(super) moments: &'a mut [f64],
}

#[derive(Clone, Copy)]
struct Shifted<T> {
    x: *const T,
}

impl<T: Number> Sums for Shifted<T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(
        self,
        s: S,
        at: usize,
        _: usize,
        shift: S::V,
        s1: S::V,
        s2: S::V,
    ) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vector at `at`.
        let d = s.sub(unsafe { T::load(s, self.x.add(at)) }, shift);
        (s.add(s1, d), s.fma(d, d, s2))
    }
}

impl<T: Number> Task for Statistics<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Statistics { columns, chunk, x, partial, moments } = self;
        let (start, rows, rest) = columns.chunk(chunk);
        let (width, channels) = (columns.width(), columns.channels);
        let x = &x[start * channels..][..rows * width + rest];
        let Partial { first: mean, second: m2, shift, s1, s2 } = Partial::new(partial, width);
        let op = Shifted { x: x.as_ptr() };
        let block = columns.block();
        let mut row = 0;
        // The incomplete wide row is one more block, of one row and fewer columns.
        while row < rows || (row == rows && rest > 0) {
            let (size, end) = if row < rows { (block.min(rows - row), width) } else { (1, rest) };
            let (shift, s1, s2) = (&mut shift[..end], &mut s1[..end], &mut s2[..end]);
            if row == 0 {
                shift.iter_mut().zip(x).for_each(|(shift, x)| *shift = x.get());
            } else {
                shift.iter_mut().zip(&*mean).for_each(|(shift, &mean)| *shift = mean as f32);
            }
            // SAFETY: rows row..row + size of `x` hold `end` columns.
            unsafe { block_sums(s, op, row * width, size, width, shift, s1, s2) };
            let (before, n) = (row as f64, size as f64);
            let (inverse, share, weight) = (1.0 / n, n / (before + n), before * n / (before + n));
            let (mean, m2) = (&mut mean[..end], &mut m2[..end]);
            for j in 0..end {
                let (s1, s2) = (f64::from(s1[j]), f64::from(s2[j]));
                let off = s1 * inverse;
                let delta = f64::from(shift[j]) + off - mean[j];
                mean[j] += delta * share;
                // A NaN must stay one, so no `max` here.
                let own = s2 - s1 * off;
                m2[j] += if own < 0.0 { 0.0 } else { own } + delta * delta * weight;
            }
            row += size;
        }
        let mut all = Moments::none(moments);
        for first in (0..width).step_by(channels) {
            let (mean, m2) = (&mean[first..][..channels], &m2[first..][..channels]);
            all.merge(mean, m2, columns.count(chunk, first));
        }
    }
}

/// Moments of channels, and the pixels they are of.
struct Moments<'a> {
    mean: &'a mut [f64],
    m2: &'a mut [f64],
    count: f64,
}

impl<'a> Moments<'a> {
    fn none(moments: &'a mut [f64]) -> Moments<'a> {
        moments.fill(0.0);
        let (mean, m2) = moments.split_at_mut(moments.len() / 2);
        Moments { mean, m2, count: 0.0 }
    }

    /// Adds those of `count` other pixels.
    #[inline(always)]
    fn merge(&mut self, mean: &[f64], m2: &[f64], count: usize) {
        if count == 0 {
            return;
        }
        let (before, n) = (self.count, count as f64);
        let (share, weight) = (n / (before + n), before * n / (before + n));
        let all = self.mean.iter_mut().zip(&mut *self.m2);
        for ((mean, m2), (other_mean, other_m2)) in all.zip(mean.iter().zip(m2)) {
            let delta = other_mean - *mean;
            *mean += delta * share;
            *m2 += other_m2 + delta * delta * weight;
        }
        self.count += n;
    }
}

/// Combines all chunks' `parts` in order into `moments`, both as those of [`Statistics`].
pub(super) struct Combine<'a> {
    pub(super) columns: Columns,
    pub(super) parts: &'a [f64],
    pub(super) moments: &'a mut [f64],
}

impl Task for Combine<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut all = Moments::none(self.moments);
        let chunks = self.parts.chunks_exact(2 * self.columns.channels);
        for (chunk, part) in chunks.enumerate() {
            let (mean, m2) = part.split_at(self.columns.channels);
            all.merge(mean, m2, self.columns.rows_of(chunk));
        }
    }
}

/// Fills `sums` = Σg, Σg(x-mean) of the channels over one chunk.
pub(super) struct GradientSums<'a, T> {
    pub(super) columns: Columns,
    pub(super) chunk: usize,
    pub(super) dy: &'a [T],
    pub(super) x: &'a [T],
    pub(super) mask: Mask<'a, T>,
    pub(super) factors: Factors<'a>,
    /// A [`Partial`].
    pub(super) partial: &'a mut [f64],
    pub(super) sums: &'a mut [f64],
}

/// What each number of the sums is made of.
#[derive(Clone, Copy)]
struct Gradient<T> {
    dy: *const T,
    x: *const T,
    mask: Kept<T>,
}

/// A [`Mask`] within a chunk.
#[derive(Clone, Copy)]
enum Kept<T> {
    All,
    Output(*const T),
    /// Scale and offset of each column.
    Again(*const f32, *const f32),
}

impl<T: Number> Sums for Gradient<T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(
        self,
        s: S,
        at: usize,
        column: usize,
        shift: S::V,
        s1: S::V,
        s2: S::V,
    ) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vectors at `at` and at `column`.
        unsafe {
            let dy = T::load(s, self.dy.add(at));
            let centred = s.sub(T::load(s, self.x.add(at)), shift);
            let g = match self.mask {
                Kept::All => dy,
                Kept::Output(y) => s.where_positive(T::load(s, y.add(at)), dy),
                Kept::Again(scale, offset) => {
                    let (scale, offset) = (s.load(scale.add(column)), s.load(offset.add(column)));
                    s.where_positive(normal(s, centred, scale, offset), dy)
                }
            };
            (s.add(s1, g), s.fma(g, centred, s2))
        }
    }
}

impl<T: Number> Task for GradientSums<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GradientSums { columns, chunk, dy, x, mask, factors, partial, sums } = self;
        let (start, rows, rest) = columns.chunk(chunk);
        let (width, channels) = (columns.width(), columns.channels);
        // All repeat with the channels.
        let (mean, scale) = (&factors.mean[..width], &factors.scale[..width]);
        let offset = &factors.offset[..width];
        let part = start * channels..start * channels + rows * width + rest;
        let Partial { first: sum, second: product, s1, s2, .. } = Partial::new(partial, width);
        let mask = match mask {
            Mask::None => Kept::All,
            Mask::Output(y) => Kept::Output(y[part.clone()].as_ptr()),
            Mask::Again(_) => Kept::Again(scale.as_ptr(), offset.as_ptr()),
        };
        let op = Gradient { dy: dy[part.clone()].as_ptr(), x: x[part].as_ptr(), mask };
        let block = columns.block();
        let mut row = 0;
        while row < rows || (row == rows && rest > 0) {
            let (size, end) = if row < rows { (block.min(rows - row), width) } else { (1, rest) };
            let (mean, s1, s2) = (&mean[..end], &mut s1[..end], &mut s2[..end]);
            // SAFETY: the maps were cut to this chunk, whose rows hold `end` columns; scale and
            // offset have them all.
            unsafe { block_sums(s, op, row * width, size, width, mean, s1, s2) };
            for (sum, &s1) in sum.iter_mut().zip(&*s1) {
                *sum += f64::from(s1);
            }
            for (product, &s2) in product.iter_mut().zip(&*s2) {
                *product += f64::from(s2);
            }
            row += size;
        }
        let (all, all_products) = sums.split_at_mut(channels);
        fold(sum, all);
        fold(product, all_products);
    }
}

/// The sums of a wide row's columns by channel.
#[inline(always)]
fn fold(wide: &[f64], sums: &mut [f64]) {
    sums.fill(0.0);
    for pixel in wide.chunks_exact(sums.len()) {
        for (sum, wide) in sums.iter_mut().zip(pixel) {
            *sum += wide;
        }
    }
}
