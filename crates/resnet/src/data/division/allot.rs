//! Which group goes to which part.

use crate::base::rng::Rng;

/// Pictures that stay together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Its pictures by class, without classes that it has none of.
    counts: Vec<(usize, usize)>,
    /// When it has its turn; drawn from seed and name.
    turn: u64,
}

impl Group {
    /// The group of this name, with the classes of its pictures.
    pub(super) fn of(seed: u64, name: &str, classes: impl Iterator<Item = usize>) -> Group {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for class in classes {
            match counts.iter_mut().find(|(known, _)| *known == class) {
                Some((_, count)) => *count += 1,
                None => counts.push((class, 1)),
            }
        }
        Group { counts, turn: Rng::named(seed, &format!("split, {name}")).next_u64() }
    }

    fn len(&self) -> usize {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

/// Which of the parts, whose shares of each class are given, each group goes to; `None`: it stays.
///
/// Groups have their turns in a random order. One goes to the first part that comes nearer to its
/// shares by it, over all of the group's classes. Then a part without a class takes the smallest
/// group of it. Of every class at least one picture stays.
pub(super) fn allot(groups: &[Group], classes: usize, shares: &[f64]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&group| (groups[group].turn, group));
    let mut parts = Parts::new(groups, classes, shares);
    for &group in &order {
        let wants = |part: &usize| parts.gain(*part, &groups[group]) > 0.0;
        if !parts.stays_of_all(&groups[group]) {
            continue;
        }
        if let Some(part) = (0..shares.len()).find(wants) {
            parts.take(part, group, &groups[group]);
        }
    }
    parts.fill(groups, &order);
    parts.places
}

struct Parts {
    places: Vec<Option<usize>>,
    /// All pictures by class.
    total: Vec<usize>,
    /// Those that stay, by class.
    left: Vec<usize>,
    /// How many each part should have and has, by class.
    wanted: Vec<Vec<f64>>,
    taken: Vec<Vec<usize>>,
}

impl Parts {
    fn new(groups: &[Group], classes: usize, shares: &[f64]) -> Parts {
        let mut total = vec![0; classes];
        for &(class, count) in groups.iter().flat_map(|group| &group.counts) {
            total[class] += count;
        }
        let of_class = |share: &f64| total.iter().map(|&n| n as f64 * share).collect();
        Parts {
            places: vec![None; groups.len()],
            left: total.clone(),
            wanted: shares.iter().map(of_class).collect(),
            taken: vec![vec![0; classes]; shares.len()],
            total,
        }
    }

    /// By how much a part comes nearer to its shares: squared distances, each class by its size.
    fn gain(&self, part: usize, group: &Group) -> f64 {
        let of_class = |&(class, count): &(usize, usize)| {
            let lacks = self.wanted[part][class] - self.taken[part][class] as f64;
            (lacks.powi(2) - (lacks - count as f64).powi(2)) / self.total[class] as f64
        };
        group.counts.iter().map(of_class).sum()
    }

    /// Whether something of each of its classes stays without a group.
    fn stays_of_all(&self, group: &Group) -> bool {
        group.counts.iter().all(|&(class, count)| self.left[class] > count)
    }

    fn take(&mut self, part: usize, group: usize, of: &Group) {
        self.places[group] = Some(part);
        for &(class, count) in &of.counts {
            self.left[class] -= count;
            self.taken[part][class] += count;
        }
    }

    /// Gives each part a group of every class that it has none of, unless more of a class would be
    /// in the part than stays.
    fn fill(&mut self, groups: &[Group], order: &[usize]) {
        let mut by_class = vec![Vec::new(); self.total.len()];
        for &group in order {
            groups[group].counts.iter().for_each(|(class, _)| by_class[*class].push(group));
        }
        for part in 0..self.taken.len() {
            for (class, candidates) in by_class.iter().enumerate() {
                if self.taken[part][class] > 0 {
                    continue;
                }
                let spared = |group: &&usize| {
                    let mut counts = groups[**group].counts.iter();
                    self.places[**group].is_none()
                        && counts.all(|&(class, count)| self.left[class] >= 2 * count)
                };
                let smallest =
                    candidates.iter().filter(spared).min_by_key(|group| groups[**group].len());
                if let Some(&group) = smallest {
                    self.take(part, group, &groups[group]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups with so many pictures of each class.
    fn groups(counts: &[&[usize]]) -> Vec<Group> {
        let group = |(name, counts): (usize, &&[usize])| {
            let classes = counts.iter().enumerate();
            let classes = classes.flat_map(|(class, &count)| std::iter::repeat_n(class, count));
            Group::of(0, &name.to_string(), classes)
        };
        counts.iter().enumerate().map(group).collect()
    }

    fn taken(groups: &[Group], places: &[Option<usize>], part: usize, class: usize) -> usize {
        let of_part = groups.iter().zip(places).filter(|(_, place)| **place == Some(part));
        let counts = of_part.flat_map(|(group, _)| &group.counts);
        counts.filter(|(known, _)| *known == class).map(|(_, count)| count).sum()
    }

    #[test]
    fn single_pictures_are_divided_exactly() {
        let counts: Vec<&[usize]> =
            (0..130).map(|i| if i < 100 { &[1, 0][..] } else { &[0, 1] }).collect();
        let groups = groups(&counts);
        let places = allot(&groups, 2, &[0.2, 0.1]);
        let found = |part| [0, 1].map(|class| taken(&groups, &places, part, class));
        assert_eq!((found(0), found(1)), ([20, 6], [10, 3]));
    }

    #[test]
    fn groups_stay_whole_and_come_near_the_shares() {
        let counts: Vec<Vec<usize>> = (0..60).map(|i| vec![i % 7, (i * 3) % 5 + 1]).collect();
        let groups = groups(&counts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let places = allot(&groups, 2, &[0.2, 0.1]);
        for class in 0..2 {
            let total: usize = counts.iter().map(|counts| counts[class]).sum();
            for (part, share) in [0.2, 0.1].into_iter().enumerate() {
                let found = taken(&groups, &places, part, class) as f64 / total as f64;
                assert!((found - share).abs() < 0.04, "class {class}: {found} of {share}");
            }
        }
    }

    #[test]
    fn each_part_has_each_class_that_can_be_spared() {
        // Of one picture nothing can be spared, of two one.
        for (count, expected) in [(1, [0, 0]), (2, [1, 0]), (3, [1, 1]), (4, [1, 1])] {
            let groups = groups(&vec![&[1][..]; count]);
            for share in [0.01, 0.3] {
                let places = allot(&groups, 1, &[share, share]);
                let found = [0, 1].map(|part| taken(&groups, &places, part, 0));
                assert_eq!(found, expected, "{count} pictures, {share}");
            }
        }
        // Large shares leave something as well.
        let groups = groups(&[&[1], &[5]]);
        let places = allot(&groups, 1, &[0.9]);
        assert_eq!(places.iter().filter(|place| place.is_none()).count(), 1);
    }
}
