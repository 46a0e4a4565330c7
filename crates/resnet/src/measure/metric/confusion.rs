//! The confusion matrix: how often each class was taken for each other one.

use super::{predicted, rows};
use std::collections::BTreeMap;

/// Counts of (class, predicted class). Kept sparse: memory follows the images, not the square of
/// the classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    counts: BTreeMap<(u32, u32), u64>,
    totals: BTreeMap<u32, u64>,
}

/// A pair of classes and how often one was taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// The images' class.
    pub label: u32,
    /// What they were taken for.
    pub predicted: u32,
    /// How many images.
    pub count: u64,
}

/// How well a class is recognised.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassScore {
    /// The class.
    pub class: u32,
    /// Its images.
    pub images: u64,
    /// Images taken for it.
    pub predictions: u64,
    /// Of its images, the fraction that was recognised.
    pub recall: Option<f64>,
    /// Of the images taken for it, the fraction that is of it.
    pub precision: Option<f64>,
    /// The harmonic mean of both, 2 TP / (2 TP + FP + FN); `None` for a class that has no images
    /// and was never predicted.
    pub f1: Option<f64>,
}

impl Confusion {
    /// Adds a batch: `logits` `[n, classes]`, `labels` `[n]`. A row that holds a NaN predicts
    /// nothing, and counts as wrong.
    ///
    /// # Panics
    /// If the number of logits is not a multiple of the number of labels.
    pub(crate) fn update(&mut self, logits: &[f32], labels: &[u32]) {
        for (row, label) in rows(logits, labels) {
            self.add(label, predicted(row));
        }
    }

    /// Adds one image.
    pub(crate) fn add(&mut self, label: u32, predicted: Option<u32>) {
        *self.totals.entry(label).or_default() += 1;
        if let Some(predicted) = predicted {
            *self.counts.entry((label, predicted)).or_default() += 1;
        }
    }

    /// Images of class `label` that were taken for `predicted`.
    pub fn count(&self, label: u32, predicted: u32) -> u64 {
        self.counts.get(&(label, predicted)).copied().unwrap_or(0)
    }

    /// Images of this class.
    pub fn total(&self, label: u32) -> u64 {
        self.totals.get(&label).copied().unwrap_or(0)
    }

    /// The fraction of this class's images that were recognised; `None` if it has none.
    pub fn recall(&self, label: u32) -> Option<f64> {
        let total = self.total(label);
        (total > 0).then(|| self.count(label, label) as f64 / total as f64)
    }

    /// The fraction of the images taken for this class that are of it; `None` if there are none.
    pub fn precision(&self, predicted: u32) -> Option<f64> {
        let of_class = |(&(_, p), &count): (_, &u64)| if p == predicted { count } else { 0 };
        let total: u64 = self.counts.iter().map(of_class).sum();
        (total > 0).then(|| self.count(predicted, predicted) as f64 / total as f64)
    }

    /// Recall, precision and F1 of `classes` classes.
    pub fn scores(&self, classes: usize) -> Vec<ClassScore> {
        let mut predictions = vec![0u64; classes];
        for (&(_, predicted), &count) in &self.counts {
            if let Some(sum) = predictions.get_mut(predicted as usize) {
                *sum += count;
            }
        }
        let score = |(class, &predictions): (usize, &u64)| {
            let (class, share) = (class as u32, |part: u64, whole: u64| {
                (whole > 0).then(|| part as f64 / whole as f64)
            });
            let (images, right) = (self.total(class), self.count(class, class));
            ClassScore {
                class,
                images,
                predictions,
                recall: share(right, images),
                precision: share(right, predictions),
                f1: share(2 * right, images + predictions),
            }
        };
        predictions.iter().enumerate().map(score).collect()
    }

    /// Every pair of class and predicted class with how often it occurred, sorted.
    pub fn pairs(&self) -> impl Iterator<Item = Confused> + '_ {
        self.counts.iter().map(|(&(label, predicted), &count)| Confused { label, predicted, count })
    }

    /// The `n` pairs of different classes with the most images, most first, equal ones by class.
    pub fn most_confused(&self, n: usize) -> Vec<Confused> {
        let mut pairs: Vec<Confused> =
            self.pairs().filter(|pair| pair.label != pair.predicted).collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.count));
        pairs.truncate(n);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 0: 2 right, 1 as 1. Class 1: 2 as 2. Class 2: 1 right, 1 as 0, 1 undecided. Class 3:
    /// none.
    fn sample() -> Confusion {
        let mut confusion = Confusion::default();
        for (label, predicted) in [(0, 0), (0, 0), (0, 1), (1, 2), (1, 2), (2, 2), (2, 0)] {
            confusion.add(label, Some(predicted));
        }
        confusion.update(&[0.0, f32::NAN, 0.0], &[2]);
        confusion
    }

    #[test]
    fn counts_by_hand() {
        let confusion = sample();
        assert_eq!(confusion.count(0, 0), 2);
        assert_eq!(confusion.count(1, 2), 2);
        assert_eq!(confusion.count(3, 3), 0);
        assert_eq!([0, 1, 2, 3].map(|label| confusion.total(label)), [3, 2, 3, 0]);
        assert_eq!(
            [0, 1, 2, 3].map(|label| confusion.recall(label)),
            [Some(2.0 / 3.0), Some(0.0), Some(1.0 / 3.0), None]
        );
        assert_eq!(
            [0, 1, 2, 3].map(|label| confusion.precision(label)),
            [Some(2.0 / 3.0), Some(0.0), Some(1.0 / 3.0), None]
        );
    }

    #[test]
    fn scores_by_hand() {
        let scores = sample().scores(4);
        assert_eq!(scores[0].f1, Some(4.0 / 6.0));
        assert_eq!((scores[1].f1, scores[1].predictions), (Some(0.0), 1));
        assert_eq!(scores[2].precision, Some(1.0 / 3.0));
        assert_eq!((scores[3].recall, scores[3].f1), (None, None));
        for score in scores {
            assert_eq!(score.recall, sample().recall(score.class));
            assert_eq!(score.precision, sample().precision(score.class));
        }
    }

    #[test]
    fn pairs_come_sorted() {
        let pair = |label, predicted, count| Confused { label, predicted, count };
        let all = [pair(1, 2, 2), pair(0, 1, 1), pair(2, 0, 1)];
        assert_eq!(sample().most_confused(9), all);
        assert_eq!(sample().most_confused(2), all[..2]);
        assert_eq!(Confusion::default().most_confused(3), []);
    }

    #[test]
    fn logits_decide_the_prediction() {
        let mut confusion = Confusion::default();
        confusion.update(&[0.0, 1.0, 2.0, 2.0], &[0, 1]);
        assert_eq!(confusion.count(0, 1), 1);
        assert_eq!(confusion.count(1, 0), 1);
    }
}
