//! The sum of all ranks' numbers, in the tree's order: every rank sums one part of the places, and
//! all receive the parts.

use std::ops::Range;

use super::tree;
use super::{Calls, RanksError};

/// How the shards of a step are spread: each rank computes as many, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Shards of a step.
    pub shards: usize,
    /// Ranks, which divide the shards.
    pub ranks: usize,
}

impl Spread {
    /// The shards of a rank.
    pub fn of(&self, rank: usize) -> Range<usize> {
        let each = self.shards / self.ranks;
        rank * each..(rank + 1) * each
    }

    /// The pieces that a rank has after its shards.
    pub fn pieces(&self, rank: usize) -> Vec<Range<usize>> {
        tree::pieces(self.shards, &self.of(rank))
    }

    /// Pieces of the rank that has most.
    fn most(&self) -> usize {
        (0..self.ranks).map(|rank| self.pieces(rank).len()).max().unwrap_or(1)
    }
}

/// Memory of sums, used again from step to step.
#[derive(Default)]
pub struct Buffers {
    send: Vec<f32>,
    recv: Vec<f32>,
}

impl Buffers {
    /// Takes up `len` numbers of each of this rank's pieces: `fill` writes piece by piece.
    pub fn fill(
        &mut self,
        spread: Spread,
        len: usize,
        pieces: usize,
        fill: &mut dyn FnMut(usize, &mut [f32]),
    ) {
        let (part, most) = (len.div_ceil(spread.ranks), spread.most());
        self.send.resize(spread.ranks * part * most, 0.0);
        if most == 1 {
            self.send[len..].fill(0.0);
            return fill(0, &mut self.send[..len]);
        }
        self.recv.resize(spread.ranks * part, 0.0);
        for piece in 0..pieces {
            fill(piece, &mut self.recv[..len]);
            self.recv[len..spread.ranks * part].fill(0.0);
            for (rank, numbers) in self.recv.chunks_exact(part).enumerate().take(spread.ranks) {
                self.send[(rank * most + piece) * part..][..part].copy_from_slice(numbers);
            }
        }
    }
}

/// Sums what all ranks filled in; the first `len` numbers of what is returned are the same on all.
///
/// # Errors
/// A rank is lost.
pub fn ordered_sum(
    calls: &mut dyn Calls,
    spread: Spread,
    len: usize,
    buffers: &mut Buffers,
) -> Result<(), RanksError> {
    let (part, most) = (len.div_ceil(spread.ranks), spread.most());
    let Buffers { send, recv } = buffers;
    recv.resize(send.len(), 0.0);
    calls.all_to_all(send, recv)?;
    let pieces = (0..spread.ranks).flat_map(|rank| {
        let at = move |i: usize| (rank * most + i) * part;
        spread.pieces(rank).into_iter().enumerate().map(move |(i, piece)| (piece, at(i)))
    });
    let first = tree::join(spread.shards, pieces, |left, right| {
        let (before, from) = recv.split_at_mut(right);
        let into = &mut before[left..left + part];
        into.iter_mut().zip(&from[..part]).for_each(|(sum, x)| *sum += x);
        left
    });
    send.truncate(spread.ranks * part);
    calls.all_gather(&recv[first..first + part], send)
}

impl Buffers {
    /// The first numbers of the last sum.
    pub fn sum(&self, len: usize) -> &[f32] {
        &self.send[..len]
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::base::rng::Rng;
    use crate::ranks::{ask, threads};

    /// What every rank has as the sum of what the shards hold, `of(shard, i)`.
    fn summed(shards: usize, ranks: usize, len: usize, of: fn(usize, usize) -> f32) -> Vec<f32> {
        let spread = Spread { shards, ranks };
        let each = threads(ranks).into_iter().map(|ranks| {
            thread::spawn(move || {
                let range = spread.of(ranks.rank());
                let folds = tree::folds(shards, range.clone());
                let mut aside = vec![Vec::new(); tree::places(&folds)];
                let mut hand: Vec<f32> = Vec::new();
                for (shard, fold) in range.zip(&folds) {
                    hand = (0..len).map(|i| of(shard, i)).collect();
                    for &place in &fold.add {
                        hand.iter_mut()
                            .zip(&aside[place])
                            .for_each(|(x, left): (_, &f32)| *x += left);
                    }
                    if let Some(place) = fold.keep {
                        aside[place].clone_from(&hand);
                    }
                }
                let pieces = spread.pieces(ranks.rank()).len();
                aside.truncate(pieces - 1);
                aside.push(hand);
                let mut buffers = Buffers::default();
                // Twice, so that memory is used again.
                for _ in 0..2 {
                    buffers.fill(spread, len, pieces, &mut |piece, into| {
                        into.copy_from_slice(&aside[piece]);
                    });
                    let mut given = std::mem::take(&mut buffers);
                    buffers = ask(ranks.as_ref(), move |calls| {
                        ordered_sum(calls, spread, len, &mut given).unwrap();
                        given
                    })
                    .wait()
                    .unwrap();
                }
                buffers.sum(len).to_vec()
            })
        });
        let each: Vec<_> = each.collect();
        let mut sums = each.into_iter().map(|thread| thread.join().unwrap());
        let first = sums.next().unwrap();
        assert!(sums.all(|sum| sum == first), "ranks differ");
        first
    }

    #[test]
    fn a_sum_has_the_same_bits_for_any_number_of_ranks() {
        let of = |shard: usize, i: usize| {
            let mut rng = Rng::new(7, &[shard as u64, i as u64]);
            (rng.unit() as f32 - 0.5) * 10f32.powi((i % 9) as i32 - 4)
        };
        for (shards, len) in [(1, 5), (4, 1), (4, 1000), (6, 17), (12, 64), (32, 33)] {
            let alone = summed(shards, 1, len, of);
            let exact: f64 = (0..shards).map(|shard| f64::from(of(shard, 0))).sum();
            assert!((f64::from(alone[0]) - exact).abs() < 1e-6 * shards as f64);
            for ranks in (2..=shards).filter(|ranks| shards % ranks == 0) {
                assert_eq!(summed(shards, ranks, len, of), alone, "{shards} on {ranks}");
            }
        }
    }
}
