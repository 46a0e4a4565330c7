//! What is measured on a data set: one file a metric, one row in [`METRICS`].
//!
//! Logits are `[n, classes]`, row by row; labels are `[n]`. All sums are exact or in f64, and taken
//! in the images' order, so a value depends neither on threads nor on how the images were cut into
//! batches.

mod accuracy;
mod calibration;
mod confusion;
mod f1;
mod loss;

pub use accuracy::TopK;
pub use calibration::{Bin, Calibration};
pub use confusion::{ClassScore, Confused, Confusion};
pub use f1::MacroF1;
pub use loss::CrossEntropy;
pub(crate) use loss::cross_entropy;

/// A number that is gathered batch by batch.
pub trait Metric {
    /// Adds a batch: `logits` `[n, classes]`, `labels` `[n]`. A row that holds a NaN counts as
    /// wrong.
    ///
    /// # Panics
    /// If the number of logits is not a multiple of the number of labels.
    fn update(&mut self, logits: &[f32], labels: &[u32]);

    /// The value over everything added since the start; NaN before the first image.
    fn value(&self) -> f64;
}

/// A row of [`METRICS`].
pub struct Row {
    /// The metric's name.
    pub name: &'static str,
    /// Makes an empty one.
    pub new: fn() -> Box<dyn Metric + Send>,
}

/// Every metric of an evaluation.
pub const METRICS: &[Row] = &[
    Row { name: "top1", new: || Box::new(TopK::new(1)) },
    Row { name: "top5", new: || Box::new(TopK::new(5)) },
    Row { name: "loss", new: || Box::new(CrossEntropy::default()) },
    Row { name: "ece", new: || Box::new(Calibration::default()) },
    Row { name: "macro_f1", new: || Box::new(MacroF1::default()) },
];

/// Pairs each label with its row of logits.
pub(crate) fn rows<'a>(
    logits: &'a [f32],
    labels: &'a [u32],
) -> impl Iterator<Item = (&'a [f32], u32)> {
    let classes = logits.len().checked_div(labels.len()).unwrap_or(0);
    assert_eq!(classes * labels.len(), logits.len(), "logits are [n, classes], labels [n]");
    (0..labels.len()).map(move |n| (&logits[n * classes..][..classes], labels[n]))
}

/// How many classes stand before `label` when a row is sorted by falling logits, equal ones by
/// class: 0 is top-1. `None` if the row holds a NaN or no such class.
pub fn rank(row: &[f32], label: u32) -> Option<usize> {
    let label = label as usize;
    let own = *row.get(label)?;
    if row.iter().any(|x| x.is_nan()) {
        return None;
    }
    let before = |(class, &x): (usize, &f32)| x > own || (x == own && class < label);
    Some(row.iter().enumerate().filter(|&entry| before(entry)).count())
}

/// The class of the largest logit, the first of equal ones; `None` if the row is empty or holds a
/// NaN.
pub fn predicted(row: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (class, x) in row.iter().enumerate() {
        if x.is_nan() {
            return None;
        }
        if *x > row[best] {
            best = class;
        }
    }
    (!row.is_empty()).then_some(best as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    #[test]
    fn ranks_and_predictions() {
        type Case = (&'static [f32], u32, Option<usize>, Option<u32>);
        let cases: [Case; 8] = [
            (&[0.1, 0.7, 0.2], 1, Some(0), Some(1)),
            (&[0.1, 0.7, 0.2], 0, Some(2), Some(1)),
            (&[0.5, 0.5, 0.5], 0, Some(0), Some(0)),
            (&[0.5, 0.5, 0.5], 2, Some(2), Some(0)),
            (&[f32::INFINITY, 1.0], 0, Some(0), Some(0)),
            (&[1.0, NAN], 0, None, None),
            (&[1.0, 2.0], 2, None, Some(1)),
            (&[], 0, None, None),
        ];
        for (row, label, expected, class) in cases {
            assert_eq!(rank(row, label), expected, "{row:?} {label}");
            assert_eq!(predicted(row), class, "{row:?}");
        }
    }

    #[test]
    fn every_metric_has_no_value_before_the_first_image() {
        for row in METRICS {
            let mut metric = (row.new)();
            assert!(metric.value().is_nan());
            metric.update(&[], &[]);
            assert!(metric.value().is_nan());
        }
    }

    #[test]
    fn values_do_not_depend_on_batches() {
        let logits: Vec<f32> = (0..60).map(|i| ((i * 37) % 11) as f32 * 0.3).collect();
        let labels: Vec<u32> = (0..10).map(|i| i % 6).collect();
        for row in METRICS {
            let mut whole = (row.new)();
            whole.update(&logits, &labels);
            let mut parts = (row.new)();
            for (logits, labels) in logits.chunks(18).zip(labels.chunks(3)) {
                parts.update(logits, labels);
            }
            assert_eq!(whole.value().to_bits(), parts.value().to_bits(), "{}", row.name);
        }
    }

    #[test]
    #[should_panic(expected = "[n, classes]")]
    fn logits_must_fill_rows() {
        TopK::new(1).update(&[0.0; 5], &[0, 1]);
    }
}
