//! The elementwise passes. A task works on slabs of columns whose per-channel factors are laid out once, repeated when
//! there are few channels, so that the inner loops run over plain slices of some length.

use super::Rstd;
use crate::elementwise::relu;
use crate::simd::{Simd, Task};
use crate::{Number, Residual, ResidualGrad};

/// Columns of a slab at most: memory is read in pieces of this many numbers.
const SLAB: usize = 512;

/// Rows read as one, so that the inner loops are long enough to pay for their start.
fn fold(channels: usize) -> usize {
    (128 / channels).max(1)
}

/// One part of the forward pass.
pub(super) struct Forward<'a, T> {
    pub(super) x: &'a [T],
    pub(super) channels: usize,
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) rstd: Rstd<'a>,
    pub(super) residual: Option<Residual<'a, T>>,
    pub(super) relu: bool,
    pub(super) y: &'a mut [T],
}

impl<T: Number> Task for Forward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.channels;
        let (full, narrow) = match self.residual {
            Some(r) if r.channels == channels => (r.values, None),
            other => (&[][..], other),
        };
        // A narrow residual is added, and the ReLU applied, in a second walk over the part, which is still cached.
        let relu_now = self.relu && narrow.is_none();
        let width = channels * fold(channels);
        for start in (0..width).step_by(SLAB) {
            let columns = SLAB.min(width - start);
            let (mut shift, mut scale, mut offset) = ([0f32; SLAB], [0f32; SLAB], [0f32; SLAB]);
            for j in 0..columns {
                let c = (start + j) % channels;
                shift[j] = self.mean[c];
                scale[j] = self.gamma[c] * self.rstd.get(c);
                offset[j] = self.beta[c];
            }
            let mut row = start;
            while row < self.x.len() {
                let part = row..(row + columns).min(self.x.len());
                let n = part.len();
                let (x, y) = (&self.x[part.clone()], &mut self.y[part.clone()]);
                let (shift, scale, offset) = (&shift[..n], &scale[..n], &offset[..n]);
                let normal = |j: usize| (x[j].get() - shift[j]) * scale[j] + offset[j];
                match (full.is_empty(), relu_now) {
                    (true, false) => {
                        for j in 0..n {
                            y[j] = T::of(normal(j));
                        }
                    }
                    (true, true) => {
                        for j in 0..n {
                            y[j] = T::of(relu(normal(j)));
                        }
                    }
                    (false, false) => {
                        let r = &full[part];
                        for j in 0..n {
                            y[j] = T::of(normal(j) + r[j].get());
                        }
                    }
                    (false, true) => {
                        let r = &full[part];
                        for j in 0..n {
                            y[j] = T::of(relu(normal(j) + r[j].get()));
                        }
                    }
                }
                row += width;
            }
        }
        let Some(r) = narrow else { return };
        if r.channels > 0 {
            for (y, r_values) in self
                .y
                .chunks_exact_mut(channels)
                .zip(r.values.chunks_exact(r.channels))
            {
                y[r.offset..r.offset + r.channels]
                    .iter_mut()
                    .zip(r_values)
                    .for_each(|(y, r)| *y = T::of(y.get() + r.get()));
            }
        }
        if self.relu {
            self.y.iter_mut().for_each(|y| *y = T::of(relu(y.get())));
        }
    }
}

/// One part of the backward pass. `d_residual` with no channels means none is wanted.
pub(super) struct Backward<'a, T> {
    pub(super) dy: &'a [T],
    pub(super) x: &'a [T],
    pub(super) y: Option<&'a [T]>,
    pub(super) channels: usize,
    pub(super) gamma: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) rstd: &'a [f32],
    pub(super) dgamma: &'a [f32],
    pub(super) dbeta: &'a [f32],
    pub(super) m: f32,
    pub(super) dx: &'a mut [T],
    pub(super) dx_accumulate: bool,
    pub(super) d_residual: ResidualGrad<'a, T>,
}

impl<T: Number> Task for Backward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Backward {
            dy,
            x,
            y,
            channels,
            dx,
            dx_accumulate,
            d_residual: d,
            ..
        } = self;
        let width = channels * fold(channels);
        let full = d.channels == channels;
        for start in (0..width).step_by(SLAB) {
            let columns = SLAB.min(width - start);
            let (mut scale, mut shift) = ([0f32; SLAB], [0f32; SLAB]);
            let (mut mean_g, mut slope) = ([0f32; SLAB], [0f32; SLAB]);
            let mut g = [0f32; SLAB];
            for j in 0..columns {
                let c = (start + j) % channels;
                scale[j] = self.gamma[c] * self.rstd[c];
                shift[j] = self.mean[c];
                mean_g[j] = self.dbeta[c] / self.m;
                slope[j] = self.rstd[c] * self.dgamma[c] / self.m;
            }
            let mut row = start;
            while row < x.len() {
                let part = row..(row + columns).min(x.len());
                let n = part.len();
                let (dy, x, dx) = (&dy[part.clone()], &x[part.clone()], &mut dx[part.clone()]);
                let g = &mut g[..n];
                match y {
                    Some(y) => {
                        for (g, (&dy, &y)) in g.iter_mut().zip(dy.iter().zip(&y[part.clone()])) {
                            *g = if y.get() > 0.0 { dy.get() } else { 0.0 };
                        }
                    }
                    None => g.iter_mut().zip(dy).for_each(|(g, dy)| *g = dy.get()),
                }
                let (scale, shift, mean_g, slope) =
                    (&scale[..n], &shift[..n], &mean_g[..n], &slope[..n]);
                let gradient =
                    |j: usize| scale[j] * (g[j] - mean_g[j] - (x[j].get() - shift[j]) * slope[j]);
                if dx_accumulate {
                    for j in 0..n {
                        dx[j] = T::of(dx[j].get() + gradient(j));
                    }
                } else {
                    for j in 0..n {
                        dx[j] = T::of(gradient(j));
                    }
                }
                if full {
                    let d_values = &mut d.values[part];
                    if d.accumulate {
                        let both = d_values.iter_mut().zip(&*g);
                        both.for_each(|(d, g)| *d = T::of(d.get() + g));
                    } else {
                        let both = d_values.iter_mut().zip(&*g);
                        both.for_each(|(d, &g)| *d = T::of(g));
                    }
                }
                row += width;
            }
        }
        if full || d.channels == 0 {
            return;
        }
        for (i, d_values) in d.values.chunks_exact_mut(d.channels).enumerate() {
            let at = i * channels + d.offset;
            let dy = &dy[at..at + d.channels];
            for (j, d_value) in d_values.iter_mut().enumerate() {
                let g = if y.is_none_or(|y| y[at + j].get() > 0.0) {
                    dy[j].get()
                } else {
                    0.0
                };
                let old = if d.accumulate { d_value.get() } else { 0.0 };
                *d_value = T::of(old + g);
            }
        }
    }
}
