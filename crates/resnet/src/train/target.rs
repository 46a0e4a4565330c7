//! What the loss of a batch is taken against, where that is more than one label an image: mixed
//! pairs, weighed classes.
//!
//! The plan's loss step has computed, for each image's own label a, L_a = - sum t_a log p and its
//! gradient (p - t_a) / N. The loss wanted is u L_a + v L_b with the label b it was mixed with
//! (Zhang et al. 2018) and
//!
//! ```text
//! u = part w[a]     v = (1 - part) w[b]     w: the classes' weights, or 1
//! L_b = L_a + (1 - s) (z[a] - z[b])     z: the logits, s: label smoothing
//! gradient = (u + v) (p - t_a) / N + v (t_a - t_b) / N
//! ```
//! t_a - t_b is 1 - s at a, - (1 - s) at b and 0 elsewhere. Both are put right here, before the
//! backward pass.

use crate::base::rng::Rng;
use crate::data::Batch;
use resnet_engine::exec::{Backend, Cpu};
use resnet_engine::plan::Mode;

/// Keeps mixing apart from other streams of the same seed.
const STREAM: u64 = 0x6d69_7875;

/// The part of itself that each image of a step keeps, at least one half; it is mixed with its
/// counterpart from the batch's end.
pub(super) fn draw(alpha: f64, seed: u64, step: u64) -> f32 {
    let mut rng = Rng::new(seed, &[STREAM, step]);
    let (a, b) = (gamma(alpha, &mut rng), gamma(alpha, &mut rng));
    let part = if a + b > 0.0 { a / (a + b) } else { 1.0 };
    part.max(1.0 - part) as f32
}

/// Mixes each image with its counterpart from the batch's end, in place.
pub(super) fn mix(batch: &mut Batch, part: f32) {
    let size = batch.x.len() / batch.labels.len();
    let x = &mut batch.x[..batch.count * size];
    let half = batch.count / 2 * size;
    let (front, back) = x.split_at_mut(half);
    let images = front.chunks_exact_mut(size).zip(back.chunks_exact_mut(size).rev());
    for (one, other) in images {
        for (a, b) in one.iter_mut().zip(other) {
            (*a, *b) = (part * *a + (1.0 - part) * *b, part * *b + (1.0 - part) * *a);
        }
    }
}

/// Puts losses and gradient right after the forward pass. `part` is that of [`mix`], `weights`
/// those of the classes.
pub(super) fn adjust(
    trainer: &mut Cpu,
    labels: &[u32],
    part: Option<f32>,
    weights: Option<&[f32]>,
) {
    let plan = trainer.plan();
    let (Mode::Train { label_smoothing }, classes) = (plan.options.mode, plan.classes) else {
        unreachable!("a plan that trains")
    };
    let losses_slot = plan.losses.expect("a plan that trains has losses");
    let gradient = plan.gradients.last().copied().flatten();
    let gradient = gradient.expect("the logits have a gradient");
    let logits = trainer.view(plan.logits);
    let mut losses = trainer.view(losses_slot).to_vec();
    let mut dlogits = trainer.view(gradient).to_vec();
    let n = labels.len();
    let sharp = 1.0 - label_smoothing;
    let weight = |class: usize| weights.map_or(1.0, |weights| weights[class]);
    let part = part.unwrap_or(1.0);
    for (i, row) in dlogits.chunks_exact_mut(classes).enumerate() {
        let (a, b) = (labels[i] as usize, labels[n - 1 - i] as usize);
        let (u, v) = (part * weight(a), (1.0 - part) * weight(b));
        let z = &logits[i * classes..][..classes];
        losses[i] = (u + v) * losses[i] + v * sharp * (z[a] - z[b]);
        row.iter_mut().for_each(|d| *d *= u + v);
        row[a] += v * sharp / n as f32;
        row[b] -= v * sharp / n as f32;
    }
    trainer.write(losses_slot, &losses);
    trainer.write(gradient, &dlogits);
}

/// Weights of the classes in inverse proportion to their pictures, such that the mean over all
/// pictures is 1.
pub(super) fn balanced(labels: impl Iterator<Item = u32>, classes: usize) -> Vec<f32> {
    let mut counts = vec![0u64; classes];
    labels.for_each(|label| counts[label as usize] += 1);
    let (total, present) =
        (counts.iter().sum::<u64>() as f64, counts.iter().filter(|&&n| n > 0).count() as f64);
    let weight = |&n: &u64| match n {
        0 => 0.0,
        n => (total / (present * n as f64)) as f32,
    };
    counts.iter().map(weight).collect()
}

/// A number of the gamma distribution with this shape and scale 1 (Marsaglia & Tsang 2000; below 1
/// by their section 6).
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, rng) * rng.unit().powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = rng.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - rng.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::net::Arch;
    use resnet_engine::graph::Shape;
    use resnet_engine::plan::{Options, Plan};

    #[test]
    fn the_parts_are_of_a_beta_distribution() {
        for alpha in [0.2, 1.0, 3.0] {
            let parts: Vec<f64> = (0..20_000).map(|s| f64::from(draw(alpha, 3, s))).collect();
            assert!(parts.iter().all(|p| (0.5..=1.0).contains(p)));
            let square = |p: &f64| (p - 0.5).powi(2);
            let variance = parts.iter().map(square).sum::<f64>() / parts.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {variance}, expected {expected}"
            );
        }
        assert_eq!(draw(0.4, 1, 5), draw(0.4, 1, 5));
    }

    #[test]
    fn balanced_weights_by_hand() {
        let labels = [0, 0, 0, 1, 3, 3];
        assert_eq!(balanced(labels.into_iter(), 4), [2.0 / 3.0, 2.0, 0.0, 1.0]);
    }

    /// Against the definition in f64.
    #[test]
    fn losses_and_gradients_are_those_of_mixed_and_weighed_labels() {
        let arch = Arch::parse("resnet8").unwrap();
        let (n, classes, smoothing) = (3, 4, 0.1f32);
        let graph = arch.graph(Shape::new(1, 8, 8), classes).unwrap();
        let plan = Plan::build(&graph, Options::train(n, smoothing)).unwrap();
        let mut cpu = Cpu::new(plan, 1).unwrap();
        model::initialise(&mut cpu, &graph, 1);
        let plan = cpu.plan().clone();
        let x: Vec<f32> = (0..n * 64).map(|i| ((i * 37 % 19) as f32) / 9.0 - 1.0).collect();
        let (labels, weights, part) = ([2u32, 0, 1], [0.5f32, 1.5, 2.0, 1.0], 0.7f32);
        cpu.write(plan.input, &x);
        cpu.set_labels(&labels);
        cpu.run(plan.forward.clone());
        adjust(&mut cpu, &labels, Some(part), Some(&weights));
        let logits = cpu.view(plan.logits).to_vec();
        let dlogits = cpu.view(plan.gradients.last().unwrap().unwrap());
        for i in 0..n {
            let z: Vec<f64> =
                logits[i * classes..][..classes].iter().map(|&z| f64::from(z)).collect();
            let sum: f64 = z.iter().map(|z| z.exp()).sum();
            let (a, b) = (labels[i] as usize, labels[n - 1 - i] as usize);
            let (u, v) = (f64::from(part * weights[a]), f64::from((1.0 - part) * weights[b]));
            let spread = f64::from(smoothing);
            let target = |label: usize, k: usize| {
                (1.0 - spread) * f64::from(u8::from(label == k)) + spread / classes as f64
            };
            let mut loss = 0.0;
            for k in 0..classes {
                let p = z[k].exp() / sum;
                let t = u * target(a, k) + v * target(b, k);
                loss -= t * p.ln();
                let expected = ((u + v) * p - t) / n as f64;
                let found = f64::from(dlogits[i * classes + k]);
                assert!(
                    (found - expected).abs() < 1e-6,
                    "image {i}, class {k}: {found}, expected {expected}"
                );
            }
            let found = f64::from(cpu.view(plan.losses.unwrap())[i]);
            assert!((found - loss).abs() < 1e-5, "image {i}: {found}, expected {loss}");
        }
    }
}
