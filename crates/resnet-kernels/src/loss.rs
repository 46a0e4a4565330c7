//! Softmax cross-entropy with soft targets, weights and label smoothing (Szegedy et al. 2016,
//! section 7), PyTorch's form.
//!
//! ```text
//! logits, target: [n, classes]   weight: [n]   p = softmax(z)   t' = (1 - s) t + s / classes
//! loss = -weight Σ_k t'_k log p_k     dlogits of Σ loss / total = weight (p - t') / total
//! ```

use crate::Cpu;
use crate::cpu::Parts;
use crate::split::{chunks, range};

/// Writes each sample's loss, and the gradient of Σ loss / `total` if asked for: with `total` the
/// number of samples that of their mean, with the sum of all weights that of the weighted mean.
///
/// logits, target, dlogits: `[n, classes]`; weight, losses: `[n]`. Each row of `target` sums to 1.
/// A `total` of zero, that of samples which all weigh nothing, makes gradients of zero.
///
/// The largest logit is subtracted before any exponential, so no finite input overflows; all is
/// computed in f64 and rounded once. A logit that is NaN shows in its sample's loss and gradient,
/// whatever the sample's weight.
///
/// # Panics
/// If a length does not fit.
pub fn softmax_cross_entropy(
    cpu: &Cpu,
    logits: &[f32],
    target: &[f32],
    weight: &[f32],
    total: f32,
    classes: usize,
    smoothing: f32,
    losses: &mut [f32],
    dlogits: Option<&mut [f32]>,
) {
    let n = weight.len();
    assert_eq!(logits.len(), n * classes, "loss: logits must be [{n}, {classes}]");
    assert_eq!(target.len(), n * classes, "loss: target must be [{n}, {classes}]");
    assert_eq!(losses.len(), n, "loss: one loss for each of {n} samples");
    let has_gradient = dlogits.is_some();
    let dlogits = dlogits.unwrap_or_default();
    assert!(
        !has_gradient || dlogits.len() == logits.len(),
        "loss: dlogits must be [{n}, {classes}]"
    );
    // Weights of zero make gradients of zero of any other divisor.
    let total = if total == 0.0 { 1.0 } else { f64::from(total) };
    let size = (4096 / classes.max(1)).max(1);
    let (losses, dlogits) = (Parts::new(losses), Parts::new(dlogits));
    cpu.parallel(chunks(n, size), |task| {
        for i in range(n, size, task) {
            let row = i * classes..(i + 1) * classes;
            let sample = Sample {
                z: &logits[row.clone()],
                target: &target[row.clone()],
                weight: f64::from(weight[i]),
                total,
                smoothing: f64::from(smoothing),
            };
            // SAFETY: each sample is in one task's range.
            let loss = unsafe { &mut losses.get(i..i + 1)[0] };
            // SAFETY: as above.
            let dz = unsafe { dlogits.get(if has_gradient { row } else { 0..0 }) };
            *loss = sample.loss(dz);
        }
    });
}

struct Sample<'a> {
    z: &'a [f32],
    target: &'a [f32],
    weight: f64,
    total: f64,
    smoothing: f64,
}

impl Sample<'_> {
    /// The loss; fills `dz` unless it is empty.
    fn loss(&self, dz: &mut [f32]) -> f32 {
        let &Sample { z, target, weight, total, smoothing } = self;
        // A NaN among the logits must reach the loss, so it may not lose a comparison here.
        let larger = |a, b: f32| if b > a || b.is_nan() { b } else { a };
        let max = z.iter().copied().fold(f32::NEG_INFINITY, larger);
        let shifted = |z: f32| f64::from(z) - f64::from(max);
        let (mut sum, mut mean, mut of_target) = (0.0, 0.0, 0.0);
        for (&z, &t) in z.iter().zip(target) {
            sum += shifted(z).exp();
            mean += shifted(z);
            // An infinite logit of a class that is not the target's is no product of zero with it.
            if t != 0.0 {
                of_target += f64::from(t) * shifted(z);
            }
        }
        mean /= z.len() as f64;
        let log_sum = sum.ln();
        let (keep, share) = (1.0 - smoothing, smoothing / z.len() as f64);
        for (dz, (&z, &t)) in dz.iter_mut().zip(z.iter().zip(target)) {
            let target = share + keep * f64::from(t);
            *dz = (weight * ((shifted(z) - log_sum).exp() - target) / total) as f32;
        }
        // Σ t' is taken to be 1, as it is in the gradient.
        (weight * (log_sum - keep * of_target - smoothing * mean)) as f32
    }
}
