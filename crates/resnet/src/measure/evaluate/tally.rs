//! What an evaluation counts, batch by batch: the one place that knows its metrics.

use super::{Evaluation, Mistake, Mistakes, Shown, Uncalibrated, UseError, chosen, shown};
use crate::data::DataError;
use crate::measure::confidence::softmax;
use crate::measure::metric::{self, Calibration, Confusion, CrossEntropy, METRICS, Metric};

/// Warnings that are kept.
const WARNINGS: usize = 100;

/// An evaluation of the batches so far, which come in the data's order.
pub(super) struct Tally {
    classes: usize,
    crops: usize,
    temperature: Option<f64>,
    metrics: Vec<(&'static str, Box<dyn Metric + Send>)>,
    confusion: Confusion,
    calibration: Calibration,
    mistakes: Mistakes,
    wrong: u64,
    not_finite: Vec<u32>,
    warnings: Vec<String>,
    unread: usize,
    count: usize,
    /// Without the temperature.
    before: (CrossEntropy, Calibration),
    chosen: Vec<u32>,
    shown: Vec<Shown>,
}

impl Tally {
    /// Of nothing yet of data with `pictures`, each in several crops, at a temperature.
    pub(super) fn new(
        temperature: Option<f64>,
        classes: usize,
        crops: usize,
        pictures: usize,
    ) -> Tally {
        Tally {
            classes,
            crops,
            temperature,
            metrics: METRICS.iter().map(|row| (row.name, (row.new)())).collect(),
            confusion: Confusion::default(),
            calibration: Calibration::default(),
            mistakes: Mistakes::default(),
            wrong: 0,
            not_finite: Vec::new(),
            warnings: Vec::new(),
            unread: 0,
            count: 0,
            before: Default::default(),
            chosen: chosen(pictures),
            shown: Vec::new(),
        }
    }

    /// Pictures so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds a batch: the network's `logits` of it, which are used up and may hold more rows than
    /// there are `labels`, and warnings about its pictures.
    pub(super) fn add(
        &mut self,
        logits: &mut [f32],
        labels: &[u32],
        indices: &[u32],
        warnings: impl ExactSizeIterator<Item = String>,
    ) {
        let classes = self.classes;
        self.unread += warnings.len();
        self.warnings.extend(warnings.take(WARNINGS - self.warnings.len()));
        if let Some(temperature) = self.temperature {
            let mut undivided = logits.to_vec();
            average(&mut undivided, classes, self.crops);
            let rows = &undivided[..labels.len() * classes];
            self.before.0.update(rows, labels);
            self.before.1.update(rows, labels);
            logits.iter_mut().for_each(|z| *z = (f64::from(*z) / temperature) as f32);
        }
        average(logits, classes, self.crops);
        let rows = &logits[..labels.len() * classes];
        self.metrics.iter_mut().for_each(|(_, metric)| metric.update(rows, labels));
        self.confusion.update(rows, labels);
        self.calibration.update(rows, labels);
        for ((row, &label), &index) in rows.chunks_exact(classes).zip(labels).zip(indices) {
            if row.iter().any(|x| !x.is_finite()) {
                self.not_finite.push(index);
            }
            if let Ok(place) = self.chosen.binary_search(&index) {
                self.shown.push(shown::shown(place, index, label, row));
            }
            let predicted = metric::predicted(row);
            if predicted != Some(label) {
                self.wrong += 1;
                let probability = predicted.map_or(f32::NAN, |p| softmax(row, 1.0)[p as usize]);
                let loss = metric::cross_entropy(row, label);
                self.mistakes.add(Mistake { index, label, predicted, probability, loss });
            }
        }
        self.count += labels.len();
    }

    /// What it came to.
    ///
    /// # Errors
    /// No picture could be read.
    pub(super) fn evaluation(mut self) -> Result<Evaluation, UseError> {
        if self.count == 0 {
            let none = "none of the pictures to evaluate on can be read";
            return Err(DataError::Loader(none.into()).into());
        }
        if self.unread > self.warnings.len() {
            let more = self.unread - self.warnings.len();
            self.warnings.push(format!("and {more} more pictures cannot be read"));
        }
        Ok(Evaluation {
            values: self.metrics.iter().map(|(name, metric)| (*name, metric.value())).collect(),
            count: self.count as u64,
            wrong: self.wrong,
            confusion: self.confusion,
            calibration: self.calibration,
            mistakes: self.mistakes,
            uncalibrated: self.temperature.map(|temperature| Uncalibrated {
                temperature,
                loss: self.before.0.value(),
                ece: self.before.1.value(),
            }),
            shown: self.shown,
            not_finite: self.not_finite,
            warnings: self.warnings,
        })
    }
}

/// Turns the logits of several crops of each picture, one after another, into one row a picture at
/// the front: the logarithm of the mean probability, whose softmax is that mean. Where a logit of
/// any crop is not finite, the row is NaN, since of infinite ones the mean shows nothing. Rows of
/// one crop stay as they are.
fn average(logits: &mut [f32], classes: usize, crops: usize) {
    if crops == 1 {
        return;
    }
    let mut mean = vec![0.0; classes];
    for image in 0..logits.len() / (classes * crops) {
        mean.fill(0.0);
        let rows = &logits[image * crops * classes..][..crops * classes];
        let finite = rows.iter().all(|z| z.is_finite());
        for row in rows.chunks_exact(classes) {
            for (sum, p) in mean.iter_mut().zip(softmax(row, 1.0)) {
                *sum += f64::from(p) / crops as f64;
            }
        }
        for (z, &p) in logits[image * classes..].iter_mut().zip(&mean) {
            // Of zero the logarithm would be infinite.
            *z = if finite { p.max(1e-300).ln() as f32 } else { f32::NAN };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{average, softmax};

    #[test]
    fn crops_are_averaged_by_probability() {
        let mut logits = [0.0, 0.0, 3f32.ln(), 0.0, 1000.0, -1000.0, 1000.0, -1000.0];
        average(&mut logits, 2, 2);
        let p = softmax(&logits[..2], 1.0);
        assert!((p[0] - 0.625).abs() < 1e-6, "{p:?}");
        assert!(logits[2..4].iter().all(|z| z.is_finite()), "{logits:?}");
    }

    #[test]
    fn a_logit_that_is_not_finite_shows_in_the_mean_of_crops() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..4 {
                let mut logits = [1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 0.0, 0.0];
                logits[at] = wrong;
                average(&mut logits, 2, 2);
                assert!(logits[..2].iter().all(|z| z.is_nan()), "{wrong} at {at}: {logits:?}");
                assert!(logits[2..4].iter().all(|z| z.is_finite()), "{logits:?}");
            }
        }
    }

    #[test]
    fn probabilities_add_up_and_do_not_overflow() {
        let p = softmax(&[1000.0, 1000.0, -1000.0], 1.0);
        assert_eq!(p, [0.5, 0.5, 0.0]);
        assert!((softmax(&[0.3, -2.0, 1.7], 1.0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
