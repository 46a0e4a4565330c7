//! Softmax cross-entropy, mean over images, in nats: L = log Σ exp(x) - x[label].
//!
//! The largest logit m is taken out first, log Σ exp(x - m) + m, so that nothing overflows.

use super::{Metric, rows};

/// Mean cross-entropy, without label smoothing, summed in f64.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrossEntropy {
    sum: f64,
    seen: u64,
}

impl Metric for CrossEntropy {
    fn update(&mut self, logits: &[f32], labels: &[u32]) {
        for (row, label) in rows(logits, labels) {
            self.sum += cross_entropy(row, label);
            self.seen += 1;
        }
    }

    fn value(&self) -> f64 {
        self.sum / self.seen as f64
    }
}

/// The loss of one image; NaN if a logit is, infinite for a class that the row does not have.
pub(crate) fn cross_entropy(row: &[f32], label: u32) -> f64 {
    let Some(&own) = row.get(label as usize) else {
        return f64::INFINITY;
    };
    let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
    sum.ln() + f64::from(max) - f64::from(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_by_hand() {
        let cases: [(&[f32], &[u32], f64); 5] = [
            (&[0.0, 0.0], &[0], 2f64.ln()),
            (&[3.0; 10], &[4], 10f64.ln()),
            (&[1000.0, 0.0], &[0], 0.0),
            (&[1000.0, 0.0], &[1], 1000.0),
            (&[0.0, 0.0, 1.0, 1.0 + 3f32.ln()], &[0, 1], (2f64.ln() + (4f64 / 3.0).ln()) / 2.0),
        ];
        for (logits, labels, expected) in cases {
            let mut metric = CrossEntropy::default();
            metric.update(logits, labels);
            let found = metric.value();
            assert!((found - expected).abs() < 1e-7, "{logits:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn bad_logits_show() {
        assert!(cross_entropy(&[1.0, f32::NAN], 0).is_nan());
        assert_eq!(cross_entropy(&[1.0, 2.0], 2), f64::INFINITY);
    }

    #[test]
    fn many_small_losses_keep_their_digits() {
        let mut metric = CrossEntropy::default();
        for _ in 0..100_000 {
            metric.update(&[0.0, 0.0], &[1]);
        }
        assert!((metric.value() - 2f64.ln()).abs() < 1e-10);
    }
}
