//! The mistakes that are kept: the worst of all, and the most confident of each pair of classes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Mistakes kept of all.
const WORST: usize = 48;
/// Mistakes kept of each pair of classes.
const EXAMPLES: usize = 8;

/// A misclassified image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Its index in the data.
    pub index: u32,
    /// Its class.
    pub label: u32,
    /// The class it was taken for; `None` if the network's outputs were not numbers.
    pub predicted: Option<u32>,
    /// The probability given to that class.
    pub probability: f32,
    /// Its cross-entropy, in nats.
    pub loss: f64,
}

/// Mistakes worth looking at; memory follows the classes, not the images.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    worst: Vec<Mistake>,
    examples: BTreeMap<(u32, u32), Vec<Mistake>>,
}

impl Mistakes {
    /// Takes up a mistake, if it is among the worst.
    pub(crate) fn add(&mut self, mistake: Mistake) {
        let loss = |a: &Mistake, b: &Mistake| b.loss.total_cmp(&a.loss);
        insert(&mut self.worst, mistake, WORST, loss);
        if let Some(predicted) = mistake.predicted {
            let pair = self.examples.entry((mistake.label, predicted));
            let sure = |a: &Mistake, b: &Mistake| b.probability.total_cmp(&a.probability);
            insert(pair.or_default(), mistake, EXAMPLES, sure);
        }
    }

    /// Those with the largest loss, the largest first; equal ones in the data's order.
    pub fn worst(&self) -> &[Mistake] {
        &self.worst
    }

    /// Images of class `label` taken for `predicted`, those the network was surest of first.
    pub fn examples(&self, label: u32, predicted: u32) -> &[Mistake] {
        let examples = self.examples.get(&(label, predicted));
        examples.map_or(&[], Vec::as_slice)
    }
}

/// Puts a mistake in its place of a sorted list of at most `most`.
fn insert(
    list: &mut Vec<Mistake>,
    mistake: Mistake,
    most: usize,
    order: impl Fn(&Mistake, &Mistake) -> Ordering,
) {
    let before = |other: &Mistake| {
        let order = order(other, &mistake).then(other.index.cmp(&mistake.index));
        order == Ordering::Less
    };
    let at = list.partition_point(before);
    if at < most {
        list.truncate(most - 1);
        list.insert(at, mistake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_kept_in_order_and_no_more() {
        let mut mistakes = Mistakes::default();
        for i in 0..1000u32 {
            let loss = f64::from(i * 7919 % 500);
            mistakes.add(Mistake {
                index: i,
                label: 0,
                predicted: Some(1 + i % 2),
                probability: 1.0 - 1.0 / (1.0 + loss as f32),
                loss,
            });
        }
        let losses: Vec<f64> = mistakes.worst().iter().map(|m| m.loss).collect();
        // Every loss occurs twice.
        let expected: Vec<f64> = (0..WORST).map(|i| (499 - i / 2) as f64).collect();
        assert_eq!(losses, expected);
        let pairs = mistakes.worst().chunks(2);
        assert!(pairs.into_iter().all(|pair| pair[0].index < pair[1].index));
        let examples = mistakes.examples(0, 1);
        assert_eq!(examples.len(), EXAMPLES);
        assert!(examples.iter().all(|m| m.index % 2 == 0));
        assert!(examples.is_sorted_by(|a, b| a.probability >= b.probability));
        assert_eq!(mistakes.examples(3, 4), []);
    }

    #[test]
    fn what_is_no_number_is_the_worst() {
        let mut mistakes = Mistakes::default();
        for (index, loss) in [(0, 5.0), (1, f64::NAN), (2, f64::INFINITY)] {
            mistakes.add(Mistake { index, label: 0, predicted: None, probability: f32::NAN, loss });
        }
        let order: Vec<u32> = mistakes.worst().iter().map(|m| m.index).collect();
        assert_eq!(order, [1, 2, 0]);
    }
}
