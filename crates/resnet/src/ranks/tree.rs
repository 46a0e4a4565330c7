//! The order in which sums are made: a binary tree over the shards of a step.
//!
//! A tree over n shards has the largest power of two below n on its left. Whoever computes the
//! shards from a to b makes the sums of the largest subtrees among them, its pieces; joining all
//! pieces is the same tree whoever made them. So a sum's bits depend on the number of shards alone.

use std::iter::Peekable;
use std::ops::Range;

/// What follows a shard's numbers: sums that were put aside are added to them, the one put aside
/// last first, then the result is put aside or stays in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Places of sums that are added, in this order.
    pub add: Vec<usize>,
    /// The place that the result is put at; none for the last, which stays in hand.
    pub keep: Option<usize>,
}

/// What follows each shard of `range`, of `count` shards in all. In the end the pieces of the range
/// are at places 0, 1, ... and the last one in hand.
pub fn folds(count: usize, range: Range<usize>) -> Vec<Fold> {
    let mut aside: Vec<Range<usize>> = Vec::new();
    let folds = range.clone().map(|shard| {
        let mut piece = shard..shard + 1;
        let mut add = Vec::new();
        while let Some(left) = left_sibling(count, &piece)
            && aside.last() == Some(&left)
        {
            aside.pop();
            add.push(aside.len());
            piece.start = left.start;
        }
        let keep = (shard + 1 < range.end).then_some(aside.len());
        aside.push(piece);
        Fold { add, keep }
    });
    folds.collect()
}

/// Places that [`folds`] needs.
pub fn places(folds: &[Fold]) -> usize {
    folds.iter().filter_map(|fold| fold.keep).max().map_or(0, |place| place + 1)
}

/// The largest subtrees within `range`, of `count` shards in all, in order.
pub fn pieces(count: usize, range: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    collect(0..count, range, &mut found);
    found
}

fn collect(node: Range<usize>, range: &Range<usize>, found: &mut Vec<Range<usize>>) {
    if node.end <= range.start || range.end <= node.start {
        return;
    }
    if range.start <= node.start && node.end <= range.end {
        found.push(node);
        return;
    }
    let (left, right) = halves(&node);
    collect(left, range, found);
    collect(right, range, found);
}

/// Makes one value of the pieces of all `count` shards, in order: `add` takes a left and a right
/// subtree's and returns that of both.
///
/// # Panics
/// If the pieces are not those of a tree.
pub fn join<T>(
    count: usize,
    pieces: impl IntoIterator<Item = (Range<usize>, T)>,
    mut add: impl FnMut(T, T) -> T,
) -> T {
    let mut pieces = pieces.into_iter().peekable();
    join_node(0..count, &mut pieces, &mut add)
}

fn join_node<T, I: Iterator<Item = (Range<usize>, T)>>(
    node: Range<usize>,
    pieces: &mut Peekable<I>,
    add: &mut dyn FnMut(T, T) -> T,
) -> T {
    if let Some((_, value)) = pieces.next_if(|(piece, _)| *piece == node) {
        return value;
    }
    assert!(node.len() > 1, "the pieces are those of a tree");
    let (left, right) = halves(&node);
    let left = join_node(left, pieces, add);
    let right = join_node(right, pieces, add);
    add(left, right)
}

/// The subtree that `piece` is joined to from the right, if it is a right child.
fn left_sibling(count: usize, piece: &Range<usize>) -> Option<Range<usize>> {
    let mut node = 0..count;
    while node.len() > 1 && node != *piece {
        let (left, right) = halves(&node);
        if right == *piece {
            return Some(left);
        }
        node = if piece.start < right.start { left } else { right };
    }
    None
}

fn halves(node: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = node.start + node.len().next_power_of_two() / 2;
    (node.start..middle, middle..node.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of `range` written out, as whoever computes it makes it: pieces in order.
    fn written(count: usize, range: Range<usize>) -> Vec<String> {
        let folds = folds(count, range.clone());
        let mut aside = vec![String::new(); places(&folds)];
        let mut hand = String::new();
        for (shard, fold) in range.clone().zip(&folds) {
            hand = shard.to_string();
            for &place in &fold.add {
                hand = format!("({}+{hand})", aside[place]);
            }
            if let Some(place) = fold.keep {
                aside[place].clone_from(&hand);
            }
        }
        let pieces = pieces(count, &range).len();
        aside.truncate(pieces - 1);
        aside.push(hand);
        aside
    }

    #[test]
    fn the_tree_is_the_same_whoever_makes_its_pieces() {
        for count in 1..=24 {
            let whole = written(count, 0..count);
            assert_eq!(whole.len(), 1);
            for ranks in (1..=count).filter(|ranks| count % ranks == 0) {
                let each = count / ranks;
                let ranges = (0..ranks).map(|rank| rank * each..(rank + 1) * each);
                let all = ranges.flat_map(|r| pieces(count, &r).into_iter().zip(written(count, r)));
                let joined = join(count, all, |left, right| format!("({left}+{right})"));
                assert_eq!(joined, whole[0], "{count} shards, {ranks} ranks");
            }
        }
        assert_eq!(written(6, 0..6), ["(((0+1)+(2+3))+(4+5))"]);
        assert_eq!(written(6, 3..6), ["3", "(4+5)"]);
    }

    #[test]
    fn few_sums_are_put_aside() {
        let folds = folds(256, 0..256);
        assert_eq!(places(&folds), 8);
        assert_eq!(folds[255], Fold { add: (0..8).rev().collect(), keep: None });
        assert_eq!(places(&super::folds(8, 5..6)), 0);
    }
}
