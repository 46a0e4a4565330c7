//! The elementwise passes. A task works on slabs of columns whose per-channel factors are laid out once, repeated when
//! there are few channels, so that the inner loops run over plain slices of some length.

use super::Rstd;
use crate::elementwise::relu;
use crate::simd::{Simd, Task};
use crate::{Residual, ResidualGrad};

/// Columns of a slab at most: memory is read in pieces of this many numbers.
const SLAB: usize = 512;

/// Rows read as one, so that the inner loops are long enough to pay for their start.
fn fold(channels: usize) -> usize {
    (128 / channels).max(1)
}

/// One part of the forward pass.
pub(super) struct Forward<'a> {
    pub(super) x: &'a [f32],
    pub(super) channels: usize,
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) rstd: Rstd<'a>,
    pub(super) residual: Option<Residual<'a>>,
    pub(super) relu: bool,
    pub(super) y: &'a mut [f32],
}

impl Task for Forward<'_> {
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
                match (full.is_empty(), relu_now) {
                    (true, false) => {
                        for j in 0..n {
                            y[j] = (x[j] - shift[j]) * scale[j] + offset[j];
                        }
                    }
                    (true, true) => {
                        for j in 0..n {
                            y[j] = relu((x[j] - shift[j]) * scale[j] + offset[j]);
                        }
                    }
                    (false, false) => {
                        let r = &full[part];
                        for j in 0..n {
                            y[j] = (x[j] - shift[j]) * scale[j] + offset[j] + r[j];
                        }
                    }
                    (false, true) => {
                        let r = &full[part];
                        for j in 0..n {
                            y[j] = relu((x[j] - shift[j]) * scale[j] + offset[j] + r[j]);
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
                    .for_each(|(y, r)| *y += r);
            }
        }
        if self.relu {
            self.y.iter_mut().for_each(|y| *y = relu(*y));
        }
    }
}

/// One part of the backward pass. `d_residual` with no channels means none is wanted.
pub(super) struct Backward<'a> {
    pub(super) dy: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) y: Option<&'a [f32]>,
    pub(super) channels: usize,
    pub(super) gamma: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) rstd: &'a [f32],
    pub(super) dgamma: &'a [f32],
    pub(super) dbeta: &'a [f32],
    pub(super) m: f32,
    pub(super) dx: &'a mut [f32],
    pub(super) dx_accumulate: bool,
    pub(super) d_residual: ResidualGrad<'a>,
}

impl Task for Backward<'_> {
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
                            *g = if y > 0.0 { dy } else { 0.0 };
                        }
                    }
                    None => g.copy_from_slice(dy),
                }
                let (scale, shift, mean_g, slope) =
                    (&scale[..n], &shift[..n], &mean_g[..n], &slope[..n]);
                if dx_accumulate {
                    for j in 0..n {
                        dx[j] += scale[j] * (g[j] - mean_g[j] - (x[j] - shift[j]) * slope[j]);
                    }
                } else {
                    for j in 0..n {
                        dx[j] = scale[j] * (g[j] - mean_g[j] - (x[j] - shift[j]) * slope[j]);
                    }
                }
                if full {
                    let d_values = &mut d.values[part];
                    if d.accumulate {
                        d_values.iter_mut().zip(&*g).for_each(|(d, g)| *d += g);
                    } else {
                        d_values.copy_from_slice(g);
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
                let g = if y.is_none_or(|y| y[at + j] > 0.0) {
                    dy[j]
                } else {
                    0.0
                };
                *d_value = if d.accumulate { *d_value + g } else { g };
            }
        }
    }
}
