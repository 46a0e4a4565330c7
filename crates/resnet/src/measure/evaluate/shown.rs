//! A few pictures whose predictions an evaluation keeps, so that how they change can be watched:
//! read from the logits that are there anyway.

use crate::measure::confidence::softmax;
use crate::measure::metric;

/// Pictures that are kept.
const PICTURES: usize = 8;
/// Classes kept of each.
const TOP: usize = 3;

/// What a network took one of the pictures for.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its place among them.
    pub place: usize,
    /// Its index in the data.
    pub index: u32,
    /// Its class.
    pub label: u32,
    /// The three likeliest classes with their probabilities, the likeliest first; none if the
    /// network's outputs were not numbers.
    pub top: Vec<(u32, f32)>,
}

/// Which pictures are kept of data with `len` of them, in order: evenly spaced, so that data sorted
/// by class shows many, and each one further on than that, so that classes that take turns do not
/// all fall on one.
pub(crate) fn chosen(len: usize) -> Vec<u32> {
    let count = PICTURES.min(len);
    let room = (len / count.max(1)).saturating_sub(1) / 2;
    (0..count).map(|i| ((2 * i + 1) * len / (2 * count) + i.min(room)) as u32).collect()
}

/// What a row of logits says of the picture in one of the places.
pub(super) fn shown(place: usize, index: u32, label: u32, row: &[f32]) -> Shown {
    let mut top = Vec::new();
    if metric::predicted(row).is_some() && row.iter().all(|x| x.is_finite()) {
        let probabilities = softmax(row, 1.0);
        let mut classes: Vec<u32> = (0..row.len() as u32).collect();
        // Equal ones stay in the order of the classes.
        classes.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
        classes.truncate(TOP);
        top.extend(classes.into_iter().map(|class| (class, probabilities[class as usize])));
    }
    Shown { place, index, label, top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_spread_and_never_twice_the_same() {
        for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 100, 2000, 10_000, 50_000] {
            let chosen = chosen(len);
            assert_eq!(chosen.len(), len.min(8), "{len}");
            assert!(chosen.is_sorted_by(|a, b| a < b), "{len}: {chosen:?}");
            assert!(chosen.iter().all(|&index| (index as usize) < len), "{len}: {chosen:?}");
        }
        assert_eq!(chosen(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        // Ten classes in turn, and sorted by class.
        let classes = |of: fn(u32) -> u32| {
            let mut classes: Vec<u32> = chosen(10_000).into_iter().map(of).collect();
            classes.sort_unstable();
            classes.dedup();
            classes.len()
        };
        assert_eq!(classes(|index| index % 10), 8);
        assert_eq!(classes(|index| index / 1000), 8);
    }

    #[test]
    fn the_likeliest_come_first_and_what_is_no_number_says_nothing() {
        let row = [0.0, 2f32.ln(), 5f32.ln(), 2f32.ln()];
        let found = shown(1, 40, 3, &row);
        assert_eq!((found.place, found.index, found.label), (1, 40, 3));
        let close = |p: f32, expected: f32| (p - expected).abs() < 1e-6;
        let classes: Vec<u32> = found.top.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, [2, 1, 3]);
        assert!(close(found.top[0].1, 0.5) && close(found.top[2].1, 0.2), "{found:?}");
        assert_eq!(shown(0, 0, 0, &[1.0, 2.0]).top.len(), 2);
        for wrong in [f32::NAN, f32::INFINITY] {
            assert!(shown(0, 0, 0, &[1.0, wrong]).top.is_empty());
        }
    }
}
