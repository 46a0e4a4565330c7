//! Softmax cross-entropy with label smoothing (Szegedy et al. 2016, section 7), PyTorch's form.
//!
//! ```text
//! logits: [n, classes]   target t = (1 - s) onehot + s / classes
//! loss = Σ_k t_k (log Σ_j exp z_j - z_k)     dlogits of the mean loss = (softmax(z) - t) / n
//! ```

use crate::Cpu;
use crate::cpu::Parts;
use crate::split::{chunks, range};

/// Writes each sample's loss, and the gradient of their mean if asked for.
///
/// The largest logit is subtracted before any exponential, so no finite input overflows; sums run
/// in f64.
///
/// # Panics
/// If a label is not below `classes`, or a length does not fit.
pub fn softmax_cross_entropy(
    cpu: &Cpu,
    logits: &[f32],
    labels: &[u32],
    classes: usize,
    smoothing: f32,
    losses: &mut [f32],
    dlogits: Option<&mut [f32]>,
) {
    let n = labels.len();
    assert_eq!(logits.len(), n * classes, "loss: logits must be [{n}, {classes}]");
    assert_eq!(losses.len(), n, "loss: one loss for each of {n} samples");
    let has_gradient = dlogits.is_some();
    let dlogits = dlogits.unwrap_or_default();
    assert!(
        !has_gradient || dlogits.len() == logits.len(),
        "loss: dlogits must be [{n}, {classes}]"
    );
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        panic!("loss: label {label} of {classes} classes");
    }
    let size = (4096 / classes.max(1)).max(1);
    let (losses, dlogits) = (Parts::new(losses), Parts::new(dlogits));
    cpu.parallel(chunks(n, size), |task| {
        for i in range(n, size, task) {
            let z = &logits[i * classes..(i + 1) * classes];
            // SAFETY: each sample is in one task's range.
            let loss = unsafe { &mut losses.get(i..i + 1)[0] };
            // SAFETY: as above.
            let dz = unsafe {
                dlogits.get(if has_gradient { i * classes..(i + 1) * classes } else { 0..0 })
            };
            *loss = sample(z, labels[i] as usize, f64::from(smoothing), n as f64, dz);
        }
    });
}

/// The loss of one sample; fills `dz` unless it is empty.
fn sample(z: &[f32], label: usize, smoothing: f64, n: f64, dz: &mut [f32]) -> f32 {
    // A NaN among the logits must reach the loss, so it may not lose a comparison here.
    let max =
        z.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
    let shifted = |z: f32| f64::from(z) - f64::from(max);
    let (mut sum, mut mean) = (0.0, 0.0);
    for &z in z {
        sum += shifted(z).exp();
        mean += shifted(z);
    }
    mean /= z.len() as f64;
    let log_sum = sum.ln();
    let share = smoothing / z.len() as f64;
    for (k, (dz, &z)) in dz.iter_mut().zip(z).enumerate() {
        let target = share + if k == label { 1.0 - smoothing } else { 0.0 };
        *dz = (((shifted(z) - log_sum).exp() - target) / n) as f32;
    }
    (log_sum - (1.0 - smoothing) * shifted(z[label]) - smoothing * mean) as f32
}
