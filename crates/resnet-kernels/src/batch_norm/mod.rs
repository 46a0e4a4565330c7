//! Batch normalisation (Ioffe & Szegedy 2015, algorithm 1) with what follows it in a residual block
//! in the same pass.
//!
//! ```text
//! x, y, dx, dy: [pixels][channels], f32 or bf16   gamma, beta, mean, rstd: [channels]   m = pixels of the whole batch
//! mean = Σx/m    rstd = 1/√(Σ(x-mean)²/m + eps)    z = (x-mean)·rstd·gamma + beta    y = relu(z + residual)
//! ```
//!
//! Backward, with g = dy where y > 0 (or dy, without ReLU) and x̂ = (x-mean)·rstd:
//!
//! ```text
//! dbeta = Σg    dgamma = Σg·x̂    dx = gamma·rstd·(g - dbeta/m - x̂·dgamma/m)    d_residual = g
//! ```
//!
//! The running variance uses m-1, the normaliser m; PyTorch does the same.
//!
//! Statistics take one pass over memory: sums of x-k and (x-k)² over a block of rows, k being the
//! mean so far, combined in f64 (Chan, Golub & LeVeque 1983). Since k is near the mean, nothing
//! cancels, and the result is as good as that of two passes.

mod apply;
mod factors;
mod sums;

use crate::columns::{Columns, PARTIAL, as_f64, f64_scratch};
use crate::cpu::Parts;
use crate::residual::pixels_per_task;
use crate::split::{chunks, range};
use crate::{Cpu, Number, Residual, ResidualGrad};

use apply::{Backward, Forward};
use factors::{Factors, Slopes};
use sums::{Combine, GradientSums, Statistics};

/// Running statistics, updated as PyTorch does: new = (1 - momentum)·old + momentum·batch.
#[derive(Debug)]
pub struct Running<'a> {
    /// `[channels]`
    pub mean: &'a mut [f32],
    /// `[channels]`; the batch's contribution divides by m - 1 (by 1 when m = 1).
    pub var: &'a mut [f32],
    /// Share of the batch.
    pub momentum: f32,
}

/// Numbers of scratch that [`forward_train`] and [`backward`] need.
pub fn scratch_len(pixels: usize, channels: usize) -> usize {
    let columns = Columns::new(pixels, channels);
    elementwise_scratch_len(channels) + f64_scratch(ChunkSums::len(&columns))
}

/// Numbers of scratch that [`forward_infer`] and [`normalise`] need.
pub fn elementwise_scratch_len(channels: usize) -> usize {
    factors::len(channels)
}

/// y = relu(norm(x) + residual) with the batch's statistics, which it also returns and adds to the
/// running ones.
///
/// # Panics
/// If a length does not fit.
pub fn forward_train<T: Number>(
    cpu: &Cpu,
    x: &[T],
    channels: usize,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    residual: Option<Residual<T>>,
    relu: bool,
    y: &mut [T],
    mean: &mut [f32],
    rstd: &mut [f32],
    running: Option<Running>,
    scratch: &mut [f32],
) {
    let pixels = check(channels, &[x, y], &[gamma, beta, mean, rstd], residual.as_ref());
    let columns = Columns::new(pixels, channels);
    let (memory, scratch) = scratch.split_at_mut(elementwise_scratch_len(channels));
    let ChunkSums { parts, total } =
        ChunkSums::of(cpu, columns, scratch, |chunk, partial, moments| {
            cpu.run(Statistics { columns, chunk, x, partial, moments });
        });
    if let Some(running) = &running {
        assert!(
            running.mean.len() == channels && running.var.len() == channels,
            "batch norm: running statistics: [{channels}]"
        );
    }
    let mut running = running;
    cpu.run(Combine { columns, parts, moments: &mut *total });
    let (total_mean, total_m2) = total.split_at(channels);
    let m = pixels as f64;
    for c in 0..channels {
        let (mu, m2) = (total_mean[c], total_m2[c]);
        mean[c] = mu as f32;
        rstd[c] = (1.0 / (m2 / m + f64::from(eps)).sqrt()) as f32;
        if let Some(running) = &mut running {
            let update = |old: f32, new: f64| {
                let share = f64::from(running.momentum);
                ((1.0 - share) * f64::from(old) + share * new) as f32
            };
            running.mean[c] = update(running.mean[c], mu);
            running.var[c] = update(running.var[c], m2 / (m - 1.0).max(1.0));
        }
    }
    normalise(cpu, x, channels, gamma, beta, mean, rstd, residual, relu, y, memory);
}

/// y = relu(norm(x) + residual) with given statistics.
///
/// # Panics
/// If a length does not fit.
pub fn forward_infer<T: Number>(
    cpu: &Cpu,
    x: &[T],
    channels: usize,
    gamma: &[f32],
    beta: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f32,
    residual: Option<Residual<T>>,
    relu: bool,
    y: &mut [T],
    scratch: &mut [f32],
) {
    check(channels, &[x, y], &[gamma, beta, running_mean, running_var], residual.as_ref());
    let rstd = |c: usize| (1.0 / (f64::from(running_var[c]) + f64::from(eps)).sqrt()) as f32;
    let (factors, _) = Factors::new(scratch, gamma, beta, running_mean, rstd);
    apply_forward(cpu, x, channels, factors, residual, relu, y);
}

/// [`forward_infer`] as y = scale · x + shift, for a convolution's epilogue. All have one number a
/// channel.
pub fn scale_and_shift(
    gamma: &[f32],
    beta: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f32,
    scale: &mut [f32],
    shift: &mut [f32],
) {
    let channels = gamma.len();
    let lens = [beta.len(), running_mean.len(), running_var.len(), scale.len(), shift.len()];
    assert!(
        lens.iter().all(|&len| len == channels),
        "batch norm: {channels} channels and parameters of {lens:?}"
    );
    for c in 0..channels {
        let rstd = 1.0 / (f64::from(running_var[c]) + f64::from(eps)).sqrt();
        let factor = f64::from(gamma[c]) * rstd;
        scale[c] = factor as f32;
        shift[c] = (f64::from(beta[c]) - f64::from(running_mean[c]) * factor) as f32;
    }
}

/// The normalising pass of [`forward_train`] alone, with the statistics that it returned: the same
/// bits.
///
/// # Panics
/// If a length does not fit.
pub fn normalise<T: Number>(
    cpu: &Cpu,
    x: &[T],
    channels: usize,
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    rstd: &[f32],
    residual: Option<Residual<T>>,
    relu: bool,
    y: &mut [T],
    scratch: &mut [f32],
) {
    check(channels, &[x, y], &[gamma, beta, mean, rstd], residual.as_ref());
    let (factors, _) = Factors::new(scratch, gamma, beta, mean, |c| rstd[c]);
    apply_forward(cpu, x, channels, factors, residual, relu, y);
}

fn apply_forward<T: Number>(
    cpu: &Cpu,
    x: &[T],
    channels: usize,
    factors: Factors,
    residual: Option<Residual<T>>,
    relu: bool,
    y: &mut [T],
) {
    let pixels = x.len() / channels;
    let size = pixels_per_task(channels);
    let y = Parts::new(y);
    cpu.parallel(chunks(pixels, size), |i| {
        let part = range(pixels, size, i);
        let wide = part.start * channels..part.end * channels;
        // SAFETY: tasks take disjoint ranges of pixels.
        let y = unsafe { y.get(wide.clone()) };
        let residual = residual.map(|r| Residual {
            values: &r.values[part.start * r.channels..part.end * r.channels],
            ..r
        });
        cpu.run(Forward {
            x: &x[wide],
            channels,
            factors,
            residual,
            relu,
            y,
            streams: apply::streams::<T>(x.len()),
        });
    });
}

/// Which of the output's gradients count: where the output was kept by a ReLU behind the norm.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, T> {
    /// All: there is no ReLU.
    None,
    /// Where this, the output, is positive.
    Output(&'a [T]),
    /// The same, computed again from x with this beta, `[channels]`, which spares reading the
    /// output. Only where nothing was added before the ReLU.
    Again(&'a [f32]),
}

impl<'a, T> Mask<'a, T> {
    fn output(&self) -> Option<&'a [T]> {
        match *self {
            Mask::Output(y) => Some(y),
            Mask::None | Mask::Again(_) => None,
        }
    }
}

/// Gradients of [`forward_train`].
///
/// dgamma and dbeta are overwritten; dx is added to if `dx_accumulate`.
///
/// # Panics
/// If a length does not fit.
pub fn backward<T: Number>(
    cpu: &Cpu,
    dy: &[T],
    x: &[T],
    mask: Mask<T>,
    channels: usize,
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dx: &mut [T],
    dx_accumulate: bool,
    d_residual: Option<ResidualGrad<T>>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    scratch: &mut [f32],
) {
    let pixels = check(
        channels,
        &[dy, x, mask.output().unwrap_or(dy), dx],
        &[gamma, mean, rstd, dgamma, dbeta],
        None,
    );
    let beta = match mask {
        Mask::Again(beta) => {
            assert!(
                beta.len() == channels && d_residual.is_none(),
                "batch norm: a mask is computed again with {channels} channels of beta and no residual"
            );
            beta
        }
        // The offset is not used; gamma stands in its place.
        Mask::None | Mask::Output(_) => gamma,
    };
    if let Some(d) = &d_residual {
        d.check("batch norm", pixels, channels);
    }
    let columns = Columns::new(pixels, channels);
    let (memory, scratch) = scratch.split_at_mut(elementwise_scratch_len(channels));
    let (factors, memory) = Factors::new(memory, gamma, beta, mean, |c| rstd[c]);
    let ChunkSums { parts, total } =
        ChunkSums::of(cpu, columns, scratch, |chunk, partial, sums| {
            cpu.run(GradientSums { columns, chunk, dy, x, mask, factors, partial, sums });
        });
    total.fill(0.0);
    for part in parts.chunks_exact(total.len()) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    let (g, products) = total.split_at(channels);
    for c in 0..channels {
        dbeta[c] = g[c] as f32;
        dgamma[c] = (products[c] * f64::from(rstd[c])) as f32;
    }

    let streams = apply::streams::<T>(x.len());
    let slopes = Slopes::new(memory, rstd, dgamma, dbeta, pixels as f32);
    let size = pixels_per_task(channels);
    let dx = Parts::new(dx);
    let (mut none, mut narrow) = ([], (0, 0, false));
    let values = match d_residual {
        Some(d) => {
            narrow = (d.channels, d.offset, d.accumulate);
            d.values
        }
        None => &mut none[..],
    };
    let values = Parts::new(values);
    cpu.parallel(chunks(pixels, size), |i| {
        let part = range(pixels, size, i);
        let wide = part.start * channels..part.end * channels;
        // SAFETY: tasks take disjoint ranges of pixels.
        let dx = unsafe { dx.get(wide.clone()) };
        // SAFETY: as above; without a residual `narrow` says no channels.
        let values = unsafe { values.get(part.start * narrow.0..part.end * narrow.0) };
        let d_residual =
            ResidualGrad { values, channels: narrow.0, offset: narrow.1, accumulate: narrow.2 };
        let mask = match mask {
            Mask::Output(y) => Mask::Output(&y[wide.clone()]),
            other => other,
        };
        let (dy, x) = (&dy[wide.clone()], &x[wide]);
        cpu.run(Backward {
            dy,
            x,
            mask,
            channels,
            factors,
            slopes,
            dx,
            dx_accumulate,
            d_residual,
            streams,
        });
    });
}

/// Two results for each channel, of every chunk and, once the caller has joined them, of all. Those
/// of the chunks lie together, since the caller's core has to fetch what other cores have written.
struct ChunkSums<'a> {
    parts: &'a [f64],
    /// Memory for those of all chunks, which the caller joins.
    total: &'a mut [f64],
}

impl<'a> ChunkSums<'a> {
    /// f64 of memory.
    fn len(columns: &Columns) -> usize {
        let chunk = PARTIAL * columns.width() + 2 * columns.channels;
        chunk * columns.chunks() + 2 * columns.channels
    }

    /// Has `f` fill in the sums of every chunk, with memory for its
    /// [`Partial`](crate::columns::Partial).
    fn of(
        cpu: &Cpu,
        columns: Columns,
        scratch: &'a mut [f32],
        f: impl Fn(usize, &mut [f64], &mut [f64]) + Sync,
    ) -> ChunkSums<'a> {
        let (chunks, sums) = (columns.chunks(), 2 * columns.channels);
        let size = PARTIAL * columns.width();
        let memory = as_f64(scratch, ChunkSums::len(&columns));
        let (total, memory) = memory.split_at_mut(sums);
        let (parts, partials) = memory.split_at_mut(chunks * sums);
        let (of_parts, of_partials) = (Parts::new(&mut *parts), Parts::new(partials));
        cpu.parallel(chunks, |chunk| {
            // SAFETY: each chunk has its own.
            let partial = unsafe { of_partials.get(chunk * size..(chunk + 1) * size) };
            // SAFETY: as above.
            let part = unsafe { of_parts.get(chunk * sums..(chunk + 1) * sums) };
            f(chunk, partial, part);
        });
        ChunkSums { parts, total }
    }
}

/// Checks maps and vectors; returns the number of pixels.
fn check<T>(
    channels: usize,
    maps: &[&[T]],
    vectors: &[&[f32]],
    residual: Option<&Residual<T>>,
) -> usize {
    let len = maps[0].len();
    assert!(
        channels > 0 && len.is_multiple_of(channels),
        "batch norm: {len} numbers are not [pixels][{channels}]"
    );
    for map in maps {
        assert_eq!(map.len(), len, "batch norm: maps differ in length");
    }
    for vector in vectors {
        assert_eq!(vector.len(), channels, "batch norm: a per-channel vector has a wrong length");
    }
    if let Some(residual) = residual {
        residual.check("batch norm", len / channels, channels);
    }
    len / channels
}
