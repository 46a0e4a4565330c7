//! Macro F1: the mean of the classes' F1 = 2 TP / (2 TP + FP + FN), over the classes that have
//! images. Rare classes count as much as common ones.

use super::{Confusion, Metric};

/// Macro F1.
#[derive(Clone, Debug, Default)]
pub(crate) struct MacroF1 {
    confusion: Confusion,
    classes: usize,
}

impl Metric for MacroF1 {
    fn update(&mut self, logits: &[f32], labels: &[u32]) {
        let classes = logits.len().checked_div(labels.len()).unwrap_or(0);
        self.classes = self.classes.max(classes);
        self.confusion.update(logits, labels);
    }

    fn value(&self) -> f64 {
        let scores = self.confusion.scores(self.classes);
        let present = || scores.iter().filter(|s| s.images > 0);
        let sum: f64 = present().filter_map(|s| s.f1).sum();
        sum / present().count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_by_hand() {
        let mut metric = MacroF1::default();
        // Class 0: 2 of 2 right. Class 1: 1 of 2 right, the other as 0. Class 2: no images.
        let rows = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]];
        metric.update(&rows.concat(), &[0, 0, 1, 1]);
        let expected = (2.0 * 2.0 / 5.0 + 2.0 / 3.0) / 2.0;
        assert!((metric.value() - expected).abs() < 1e-12, "{}", metric.value());
    }
}
