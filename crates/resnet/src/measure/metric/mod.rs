//! What is measured on a data set: one file a metric, one row in `METRICS`.
//!
//! Logits are `[n, classes]`, row by row; labels are `[n]`. All sums are exact or in f64, and taken
//! in the images' order, so a value depends neither on threads nor on how the images were cut into
//! batches.

mod accuracy;
mod calibration;
mod confusion;
mod f1;
mod loss;
mod rows;

pub(crate) use accuracy::TopK;
pub use calibration::{Bin, Calibration};
pub use confusion::{ClassScore, Confused, Confusion};
pub(crate) use f1::MacroF1;
pub(crate) use loss::{CrossEntropy, cross_entropy};
pub(crate) use rows::{Metric, predicted, rank, rows};

/// A row of [`METRICS`].
pub(crate) struct Row {
    /// The metric's name.
    pub(crate) name: &'static str,
    /// Makes an empty one.
    pub(crate) new: fn() -> Box<dyn Metric + Send>,
}

/// Every metric of an evaluation.
pub(crate) const METRICS: &[Row] = &[
    Row { name: "top1", new: || Box::new(TopK::new(1)) },
    Row { name: "top5", new: || Box::new(TopK::new(5)) },
    Row { name: "loss", new: || Box::new(CrossEntropy::default()) },
    Row { name: "ece", new: || Box::new(Calibration::default()) },
    Row { name: "macro_f1", new: || Box::new(MacroF1::default()) },
];

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
