//! Calibration: whether a network is right as often as it says.
//!
//! The confidence of a prediction is its probability. Images are put into 15 bins of equal width by
//! confidence; in a calibrated network the accuracy of a bin is its mean confidence. The expected
//! calibration error is the mean distance of the two (Guo et al. 2017, eq. 3):
//!
//! ```text
//! ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|
//! ```

use super::{Metric, predicted, rows};

/// Bins of confidence.
const BINS: usize = 15;

/// Predictions of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Bin {
    /// Images.
    pub images: u64,
    /// Those that were right.
    pub right: u64,
    /// Sum of the confidences.
    pub confidence_sum: f64,
}

impl Bin {
    /// The fraction of right ones; NaN for no images.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.images as f64
    }

    /// Mean confidence; NaN for no images.
    pub fn confidence(&self) -> f64 {
        self.confidence_sum / self.images as f64
    }
}

/// The expected calibration error, and the bins it is of.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    bins: [Bin; BINS],
    seen: u64,
}

impl Calibration {
    /// The bins, by rising confidence: bin i holds confidences from i / 15 to (i + 1) / 15.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }
}

impl Metric for Calibration {
    /// A row that holds a NaN counts as a wrong prediction of no confidence.
    fn update(&mut self, logits: &[f32], labels: &[u32]) {
        for (row, label) in rows(logits, labels) {
            self.seen += 1;
            let class = predicted(row);
            let confidence = class.map_or(0.0, |class| {
                let most = f64::from(row[class as usize]);
                let sum: f64 = row.iter().map(|&x| (f64::from(x) - most).exp()).sum();
                1.0 / sum
            });
            let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
            self.bins[bin].images += 1;
            self.bins[bin].right += u64::from(class == Some(label));
            self.bins[bin].confidence_sum += confidence;
        }
    }

    fn value(&self) -> f64 {
        if self.seen == 0 {
            return f64::NAN;
        }
        let off = |bin: &Bin| (bin.right as f64 - bin.confidence_sum).abs();
        self.bins.iter().map(off).sum::<f64>() / self.seen as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of two classes that give the first this probability.
    fn sure(probability: f64) -> [f32; 2] {
        [(probability / (1.0 - probability)).ln() as f32, 0.0]
    }

    #[test]
    fn the_error_by_hand() {
        let mut metric = Calibration::default();
        // Four at 75 %, three right: calibrated. Two at 90 %, one right: off by 0.4.
        let rows = [sure(0.75), sure(0.75), sure(0.75), sure(0.75), sure(0.9), sure(0.9)];
        metric.update(&rows.concat(), &[0, 0, 0, 1, 0, 1]);
        assert!((metric.value() - 2.0 / 6.0 * 0.4).abs() < 1e-6, "{}", metric.value());
        let full: Vec<&Bin> = metric.bins().iter().filter(|b| b.images > 0).collect();
        assert_eq!((full[0].images, full[0].right), (4, 3));
        assert!((full[1].confidence() - 0.9).abs() < 1e-6 && full[1].accuracy() == 0.5);
    }

    #[test]
    fn certainty_and_nonsense_have_their_bins() {
        let mut metric = Calibration::default();
        metric.update(&[1000.0, 0.0, f32::NAN, 0.0], &[0, 0]);
        assert_eq!(metric.bins()[14].right, 1);
        assert_eq!((metric.bins()[0].images, metric.bins()[0].right), (1, 0));
        assert_eq!(metric.value(), 0.0);
    }
}
