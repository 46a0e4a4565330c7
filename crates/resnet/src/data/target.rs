//! What a training batch is to become: a row of class probabilities for each image, and how much
//! each image counts. Pairs of images are mixed here, by the loader's workers.
//!
//! An image keeps the part p of itself and takes 1 - p of its counterpart from the batch's end
//! (Zhang et al. 2018). With labels a and b of the two and w the classes' weights, or 1,
//!
//! ```text
//! u = p w[a]     v = (1 - p) w[b]     weight = u + v
//! target = (u onehot(a) + v onehot(b)) / (u + v)
//! ```
//! so that the loss, the mean over weight, is the mixed images' u l(a) + v l(b) over all u + v.

use crate::base::rng::Rng;

/// Keeps mixing apart from other streams of the same seed.
const STREAM: u64 = 0x6d69_7875;

/// How targets of training batches are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// The shape of Beta(mixup, mixup), from which the parts are drawn; 0 mixes nothing.
    pub mixup: f64,
    /// How much each class counts; empty: all the same.
    pub class_weights: Vec<f32>,
}

impl Targets {
    /// Weights of the classes in inverse proportion to their pictures, such that the mean over all
    /// pictures is 1.
    pub fn balanced(labels: impl Iterator<Item = u32>, classes: usize) -> Vec<f32> {
        let mut counts = vec![0u64; classes];
        labels.for_each(|label| counts[label as usize] += 1);
        let total = counts.iter().sum::<u64>() as f64;
        let present = counts.iter().filter(|&&n| n > 0).count() as f64;
        let weight = |&n: &u64| if n == 0 { 0.0 } else { (total / (present * n as f64)) as f32 };
        counts.iter().map(weight).collect()
    }

    /// Mixes the images `x` of a batch and writes targets, `[labels, classes]`, and weights.
    /// The randomness is a function of (seed, epoch, step).
    pub(super) fn write(
        &self,
        (seed, epoch, step): (u64, u64, u64),
        labels: &[u32],
        x: &mut [f32],
        target: &mut [f32],
        weight: &mut [f32],
    ) {
        let n = labels.len();
        let part = match self.mixup > 0.0 {
            true => draw(self.mixup, &mut Rng::new(seed, &[STREAM, epoch, step])),
            false => 1.0,
        };
        if part < 1.0 && n > 0 {
            mix(x, x.len() / n, part);
        }
        let of_class = |label: u32| match self.class_weights.is_empty() {
            true => 1.0,
            false => self.class_weights[label as usize],
        };
        target.fill(0.0);
        // Data has a class for each label, so rows are not empty unless there are none.
        let classes = (target.len() / n.max(1)).max(1);
        for (i, row) in target.chunks_exact_mut(classes).enumerate() {
            let (a, b) = (labels[i], labels[n - 1 - i]);
            let (u, v) = (part * of_class(a), (1.0 - part) * of_class(b));
            weight[i] = u + v;
            if a == b || u + v == 0.0 || part == 1.0 {
                row[a as usize] = 1.0;
            } else {
                row[a as usize] = u / (u + v);
                row[b as usize] = v / (u + v);
            }
        }
    }
}

/// The part of itself that each image of a batch keeps, at least one half.
fn draw(alpha: f64, rng: &mut Rng) -> f32 {
    let (a, b) = (gamma(alpha, rng), gamma(alpha, rng));
    let part = if a + b > 0.0 { a / (a + b) } else { 1.0 };
    part.max(1.0 - part) as f32
}

/// Mixes each image of `size` numbers with its counterpart from the end, in place.
fn mix(x: &mut [f32], size: usize, part: f32) {
    let half = x.len() / size / 2 * size;
    let (front, back) = x.split_at_mut(half);
    let pairs = front.chunks_exact_mut(size).zip(back.chunks_exact_mut(size).rev());
    for (one, other) in pairs {
        for (a, b) in one.iter_mut().zip(other) {
            (*a, *b) = (part * *a + (1.0 - part) * *b, part * *b + (1.0 - part) * *a);
        }
    }
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

    #[test]
    fn the_parts_are_of_a_beta_distribution() {
        for alpha in [0.2, 1.0, 3.0] {
            let part = |s| f64::from(draw(alpha, &mut Rng::new(3, &[STREAM, s])));
            let parts: Vec<f64> = (0..20_000).map(part).collect();
            assert!(parts.iter().all(|p| (0.5..=1.0).contains(p)));
            let square = |p: &f64| (p - 0.5).powi(2);
            let variance = parts.iter().map(square).sum::<f64>() / parts.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {variance}, expected {expected}"
            );
        }
    }

    #[test]
    fn balanced_weights_by_hand() {
        let labels = [0, 0, 0, 1, 3, 3];
        assert_eq!(Targets::balanced(labels.into_iter(), 4), [2.0 / 3.0, 2.0, 0.0, 1.0]);
    }

    /// Three images of one pixel, so that each is its own number.
    #[test]
    fn images_targets_and_weights_are_mixed_with_the_counterpart_from_the_end() {
        let targets = Targets { mixup: 0.7, class_weights: vec![1.0, 2.0, 4.0] };
        let labels = [0, 1, 2];
        let (mut x, mut target, mut weight) = ([10.0, 20.0, 30.0], [9.0; 9], [9.0; 3]);
        targets.write((1, 2, 3), &labels, &mut x, &mut target, &mut weight);
        let p = draw(0.7, &mut Rng::new(1, &[STREAM, 2, 3]));
        assert!(p < 0.999, "the draw should mix: {p}");
        assert_eq!(x, [p * 10.0 + (1.0 - p) * 30.0, 20.0, p * 30.0 + (1.0 - p) * 10.0]);
        let close = |found: f32, expected: f32| (found - expected).abs() < 1e-6;
        assert!(close(weight[0], p + (1.0 - p) * 4.0), "{weight:?}");
        assert!(close(weight[1], 2.0) && close(weight[2], 4.0 * p + (1.0 - p)), "{weight:?}");
        assert!(close(target[0], p / weight[0]), "{target:?}");
        assert!(close(target[2], (1.0 - p) * 4.0 / weight[0]), "{target:?}");
        assert_eq!(target[3..6], [0.0, 1.0, 0.0]);
        assert!(close(target[8], 4.0 * p / weight[2]), "{target:?}");
    }

    #[test]
    fn without_mixing_targets_are_the_labels() {
        let (mut x, mut target, mut weight) = ([1.0, 2.0], [9.0; 4], [9.0; 2]);
        Targets::default().write((1, 0, 0), &[1, 0], &mut x, &mut target, &mut weight);
        assert_eq!((x, target, weight), ([1.0, 2.0], [0.0, 1.0, 1.0, 0.0], [1.0; 2]));
    }
}
