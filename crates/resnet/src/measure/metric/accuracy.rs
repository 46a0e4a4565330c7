//! Top-k accuracy: the fraction of images whose class is among the k largest logits.

use super::{Metric, rank, rows};

/// Top-k accuracy. With k classes or fewer every image counts as right.
#[derive(Clone, Debug)]
pub(crate) struct TopK {
    k: usize,
    right: u64,
    seen: u64,
}

impl TopK {
    /// The metric for this k; named `top5` for 5, and `top1` for 1.
    pub(crate) fn new(k: usize) -> TopK {
        TopK { k, right: 0, seen: 0 }
    }
}

impl Metric for TopK {
    fn update(&mut self, logits: &[f32], labels: &[u32]) {
        for (row, label) in rows(logits, labels) {
            self.right += u64::from(rank(row, label).is_some_and(|rank| rank < self.k));
            self.seen += 1;
        }
    }

    fn value(&self) -> f64 {
        self.right as f64 / self.seen as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let nan = f32::NAN;
        let cases: [(usize, &[f32], &[u32], f64); 7] = [
            (1, &[0.9, 0.1, 0.2, 0.8], &[0, 0], 0.5),
            (1, &[0.5, 0.5, 0.5, 0.5], &[0, 1], 0.5),
            (2, &[0.3, 0.2, 0.1, 0.3, 0.2, 0.1], &[1, 2], 0.5),
            (5, &[0.0, 1.0, 2.0], &[0], 1.0),
            (5, &[0.0, nan, 2.0], &[0], 0.0),
            (5, &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], &[5], 0.0),
            (1, &[1.0, 2.0], &[7], 0.0),
        ];
        for (k, logits, labels, expected) in cases {
            let mut metric = TopK::new(k);
            metric.update(logits, labels);
            assert_eq!(metric.value(), expected, "top-{k} of {logits:?} for {labels:?}");
            assert_eq!(metric.seen, labels.len() as u64);
        }
    }
}
