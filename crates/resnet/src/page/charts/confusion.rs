//! Reading a confusion matrix: row-major counts, rows the truth, columns the prediction.

/// A view of the counts.
#[derive(Clone, Copy, Debug)]
pub struct Confusion<'a> {
    counts: &'a [u64],
    classes: usize,
}

impl<'a> Confusion<'a> {
    /// The matrix of `classes` x `classes` counts; `None` if there are not that many.
    pub fn new(counts: &'a [u64], classes: usize) -> Option<Confusion<'a>> {
        (classes > 0 && classes.checked_mul(classes) == Some(counts.len()))
            .then_some(Confusion { counts, classes })
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        self.classes
    }

    /// Images of class `truth` taken for class `predicted`.
    pub fn count(self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// Images of class `truth`.
    pub fn images(self, truth: usize) -> u64 {
        self.counts[truth * self.classes..][..self.classes]
            .iter()
            .fold(0, |a, &n| a.saturating_add(n))
    }

    /// Images taken for class `predicted`.
    pub fn predictions(self, predicted: usize) -> u64 {
        self.counts[predicted..].iter().step_by(self.classes).fold(0, |a, &n| a.saturating_add(n))
    }

    /// The share of a class' images taken for `predicted`; 0 for a class without images.
    pub fn share(self, truth: usize, predicted: usize) -> f64 {
        ratio(self.count(truth, predicted), self.images(truth)).unwrap_or(0.0)
    }

    /// Of the images of a class, the share that was recognised.
    pub fn recall(self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.images(class))
    }

    /// Of the images taken for a class, the share that belongs to it.
    pub fn precision(self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.predictions(class))
    }

    /// The harmonic mean of recall and precision: 2 TP / (2 TP + FP + FN).
    pub fn f1(self, class: usize) -> Option<f64> {
        let whole = self.images(class).saturating_add(self.predictions(class));
        ratio(self.count(class, class).saturating_mul(2), whole)
    }

    /// What a class is most often mistaken for, and how often.
    pub fn taken_for(self, truth: usize) -> Option<(usize, u64)> {
        (0..self.classes)
            .filter(|&p| p != truth)
            .map(|p| (p, self.count(truth, p)))
            .filter(|&(_, count)| count > 0)
            .max_by_key(|&(p, count)| (count, std::cmp::Reverse(p)))
    }

    /// The `most` most frequent mistakes (truth, predicted, count), most frequent first; equal ones
    /// in order of class.
    pub fn pairs(self, most: usize) -> Vec<(usize, usize, u64)> {
        let n = self.classes;
        let mut pairs: Vec<(usize, usize, u64)> = (self.counts.iter().enumerate())
            .filter(|&(i, &count)| count > 0 && i / n != i % n)
            .map(|(i, &count)| (i / n, i % n, count))
            .collect();
        pairs
            .sort_by_key(|&(truth, predicted, count)| (std::cmp::Reverse(count), truth, predicted));
        pairs.truncate(most);
        pairs
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_pairs() {
        let counts = [8, 2, 0, 2, 5, 3, 0, 0, 0];
        let c = Confusion::new(&counts, 3).unwrap();
        assert_eq!((c.images(0), c.predictions(0), c.images(2)), (10, 10, 0));
        assert_eq!((c.recall(0), c.recall(2), c.precision(2)), (Some(0.8), None, Some(0.0)));
        assert_eq!(c.pairs(2), [(1, 2, 3), (0, 1, 2)]);
        assert_eq!(c.pairs(9).len(), 3);
        assert_eq!((c.taken_for(1), c.taken_for(2)), (Some((2, 3)), None));
        assert!(Confusion::new(&counts, 2).is_none() && Confusion::new(&[], 0).is_none());
    }
}
