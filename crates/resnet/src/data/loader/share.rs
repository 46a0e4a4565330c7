//! Which of an epoch's batches a loader makes, where several loaders make one epoch.

use std::ops::Range;

/// Of every `of` batches, those at the places `mine`: what one process makes of the batches of
/// several. All of one are the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Batches of a group; groups follow one another through the epoch.
    pub of: usize,
    /// The places in a group that are made here, from 0.
    pub mine: Range<usize>,
}

impl Default for Share {
    fn default() -> Share {
        Share { of: 1, mine: 0..1 }
    }
}

impl Share {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        let Share { of, mine } = self;
        (mine.is_empty() || mine.end > *of).then(|| {
            format!(
                "a share is batches {} to {} of every {of}; it must be at least one of them",
                mine.start, mine.end
            )
        })
    }

    /// How many of the first `batches` of an epoch are made here.
    pub(super) fn count(&self, batches: usize) -> usize {
        let rest = (batches % self.of).saturating_sub(self.mine.start);
        batches / self.of * self.mine.len() + rest.min(self.mine.len())
    }

    /// The place in the epoch of the batch that is made here after `before` others.
    pub(super) fn place(&self, before: usize) -> usize {
        let each = self.mine.len();
        before / each * self.of + self.mine.start + before % each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_divide_an_epoch() {
        for cuts in [vec![0, 1], vec![0, 1, 2], vec![0, 2, 4], vec![0, 1, 4, 5], vec![0, 3, 6, 9]] {
            let of = cuts[cuts.len() - 1];
            for batches in 0..25 {
                let mut all: Vec<usize> = Vec::new();
                for cut in cuts.windows(2) {
                    let share = Share { of, mine: cut[0]..cut[1] };
                    assert_eq!(share.fault(), None);
                    let own = (0..share.count(batches)).map(|before| share.place(before));
                    let own: Vec<usize> = own.collect();
                    assert!(own.is_sorted());
                    assert!(own.iter().all(|place| share.mine.contains(&(place % of))));
                    all.extend(own);
                }
                all.sort_unstable();
                assert_eq!(all, (0..batches).collect::<Vec<_>>(), "{cuts:?}");
            }
        }
    }

    #[test]
    fn a_share_is_some_of_the_batches() {
        for (of, mine) in [(0, 0..1), (2, 1..1), (2, 1..3), (0, 0..0)] {
            let fault = Share { of, mine }.fault().expect("it was accepted");
            assert!(fault.ends_with("at least one of them"), "{fault}");
        }
    }
}
