//! The reducing passes: statistics, and the two sums of the backward pass.

use crate::columns::{Columns, Sums, block_sums, step};
use crate::simd::{Simd, Task};

/// (count, mean, M2), M2 = Σ(x-mean)².
pub(super) type Moments = (f64, f64, f64);

/// The moments of two sets together.
#[inline(always)]
pub(super) fn merge(a: Moments, b: Moments) -> Moments {
    let n = a.0 + b.0;
    if n == 0.0 {
        return (0.0, 0.0, 0.0);
    }
    let delta = b.1 - a.1;
    (
        n,
        a.1 + delta * (b.0 / n),
        a.2 + b.2 + delta * delta * (a.0 * b.0 / n),
    )
}

/// Fills `partial` = [mean, M2, unused][width] with the moments of one chunk's columns.
pub(super) struct Statistics<'a> {
    pub(super) columns: Columns,
    pub(super) chunk: usize,
    pub(super) x: &'a [f32],
    pub(super) partial: &'a mut [f64],
}

#[derive(Clone, Copy)]
struct Shifted {
    x: *const f32,
}

impl Sums for Shifted {
    #[inline(always)]
    unsafe fn add<S: Simd>(self, s: S, at: usize, shift: S::V, s1: S::V, s2: S::V) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vector at `at`.
        let d = s.sub(unsafe { s.load(self.x.add(at)) }, shift);
        (s.add(s1, d), s.fma(d, d, s2))
    }
}

impl Task for Statistics<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Statistics {
            columns,
            chunk,
            x,
            partial,
        } = self;
        let (start, rows, rest) = columns.chunk(chunk);
        let width = columns.width();
        let x = &x[start * columns.channels..][..rows * width + rest];
        let (mean, others) = partial.split_at_mut(width);
        let (m2, _) = others.split_at_mut(width);
        mean.fill(0.0);
        m2.fill(0.0);
        let op = Shifted { x: x.as_ptr() };
        let block = columns.block();
        let mut row = 0;
        // The incomplete wide row is one more block, of one row and fewer columns.
        while row < rows || (row == rows && rest > 0) {
            let (size, end) = if row < rows {
                (block.min(rows - row), width)
            } else {
                (1, rest)
            };
            let (before, n) = (row as f64, size as f64);
            let total = before + n;
            let (inverse, share, weight) = (1.0 / n, n / total, before * n / total);
            let mut j = 0;
            while j < end {
                let step = step::<S>(end - j);
                let mut shift = [0f32; crate::columns::SLAB];
                for i in 0..step {
                    shift[i] = if row == 0 {
                        x[j + i]
                    } else {
                        mean[j + i] as f32
                    };
                }
                // SAFETY: rows row..row + size of `x` hold columns j..j + step; `shift` holds a slab.
                let [s1, s2] = unsafe {
                    block_sums(s, op, row * width + j, step, size, width, shift.as_ptr())
                };
                for i in 0..step {
                    let (s1, s2) = (f64::from(s1[i]), f64::from(s2[i]));
                    let off = s1 * inverse;
                    let delta = f64::from(shift[i]) + off - mean[j + i];
                    mean[j + i] += delta * share;
                    m2[j + i] += (s2 - s1 * off).max(0.0) + delta * delta * weight;
                }
                j += step;
            }
            row += size;
        }
    }
}

/// Fills `partial` = [Σg, Σg(x-mean), unused][width] with the sums of one chunk's columns.
pub(super) struct GradientSums<'a> {
    pub(super) columns: Columns,
    pub(super) chunk: usize,
    pub(super) dy: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) y: Option<&'a [f32]>,
    pub(super) mean: &'a [f32],
    pub(super) partial: &'a mut [f64],
}

#[derive(Clone, Copy)]
struct Gradient<const RELU: bool> {
    dy: *const f32,
    x: *const f32,
    y: *const f32,
}

impl<const RELU: bool> Sums for Gradient<RELU> {
    #[inline(always)]
    unsafe fn add<S: Simd>(self, s: S, at: usize, shift: S::V, s1: S::V, s2: S::V) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vectors at `at`; `y` is a map of the same size when RELU.
        let (g, x) = unsafe {
            let g = s.load(self.dy.add(at));
            let g = if RELU {
                s.where_positive(s.load(self.y.add(at)), g)
            } else {
                g
            };
            (g, s.load(self.x.add(at)))
        };
        (s.add(s1, g), s.fma(g, s.sub(x, shift), s2))
    }
}

impl Task for GradientSums<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (start, rows, rest) = self.columns.chunk(self.chunk);
        let part = start * self.columns.channels
            ..start * self.columns.channels + rows * self.columns.width() + rest;
        let (dy, x) = (
            self.dy[part.clone()].as_ptr(),
            self.x[part.clone()].as_ptr(),
        );
        match self.y {
            Some(y) => self.sums(
                s,
                Gradient::<true> {
                    dy,
                    x,
                    y: y[part].as_ptr(),
                },
            ),
            None => self.sums(s, Gradient::<false> { dy, x, y: x }),
        }
    }
}

impl GradientSums<'_> {
    #[inline(always)]
    fn sums<S: Simd, const RELU: bool>(self, s: S, op: Gradient<RELU>) {
        let GradientSums {
            columns,
            chunk,
            mean,
            partial,
            ..
        } = self;
        let (_, rows, rest) = columns.chunk(chunk);
        let (width, channels) = (columns.width(), columns.channels);
        let (sum, others) = partial.split_at_mut(width);
        let (product, _) = others.split_at_mut(width);
        sum.fill(0.0);
        product.fill(0.0);
        let block = columns.block();
        let mut row = 0;
        while row < rows || (row == rows && rest > 0) {
            let (size, end) = if row < rows {
                (block.min(rows - row), width)
            } else {
                (1, rest)
            };
            let mut j = 0;
            while j < end {
                let step = step::<S>(end - j);
                let mut shift = [0f32; crate::columns::SLAB];
                for i in 0..step {
                    shift[i] = mean[(j + i) % channels];
                }
                // SAFETY: `run` cut the maps to this chunk, whose rows hold columns j..j + step; `shift` holds a slab.
                let [s1, s2] = unsafe {
                    block_sums(s, op, row * width + j, step, size, width, shift.as_ptr())
                };
                for i in 0..step {
                    sum[j + i] += f64::from(s1[i]);
                    product[j + i] += f64::from(s2[i]);
                }
                j += step;
            }
            row += size;
        }
    }
}
