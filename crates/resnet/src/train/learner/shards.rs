//! A step whose batch is computed in shards, one after another and by one process or several: each
//! shard has batch norms and a gradient of its own, and the weights change once.
//!
//! What shards have in common, gradients and running statistics, is summed in the order of
//! [`tree`], so that a step's bits depend on the number of shards and not on who computed which.
//! Gradients leave for the other processes bucket by bucket, while the last shard's backward pass
//! is still under way.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use resnet_engine::exec::{ExecError, Session};
use resnet_engine::plan::Plan;
use resnet_engine::step::{SlotId, Space};

use crate::ranks::tree::{self, Fold};
use crate::ranks::{Buffers, Group, Pending, Ranks, RanksError, Spread, ask, gather, ordered_sum};
use crate::train::TrainError;

/// The shards that this process computes, and those of the others.
pub(super) struct Shards {
    spread: Spread,
    ranks: Group,
    /// What follows each shard of this process.
    pub(super) folds: Vec<Fold>,
    /// Pieces of the tree that this process has after its shards.
    pieces: usize,
    /// Memory of sums on their way, for each bucket and then for the statistics.
    buffers: Vec<Buffers>,
}

/// What a shard adds to the numbers of a step.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Bits of the sum of weighted losses: numbers in text could lose some.
    loss: u64,
    /// Bits of the sum of the images' weights.
    weight: u64,
    pub(super) images: u64,
    pub(super) right: u64,
}

impl Tally {
    pub(super) fn new(loss: f64, weight: f64, images: u64, right: u64) -> Tally {
        Tally { loss: loss.to_bits(), weight: weight.to_bits(), images, right }
    }

    pub(super) fn loss(&self) -> f64 {
        f64::from_bits(self.loss)
    }

    pub(super) fn weight(&self) -> f64 {
        f64::from_bits(self.weight)
    }
}

/// What ranks tell each other with every step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// Of each of its shards.
    pub(super) tallies: Vec<Tally>,
    /// Whether a number of its shards is not finite.
    pub(super) bad: bool,
    /// Whether it wants to stop after this step.
    pub(super) stop: bool,
    /// Warnings about its pictures.
    pub(super) warnings: Vec<String>,
}

/// Sums that are under way, of one bucket each.
pub(super) struct Sums(Vec<Pending<Result<Buffers, RanksError>>>);

impl Shards {
    /// Of a batch in so many shards, over the ranks that there are; none for one shard alone.
    pub(super) fn of(shards: usize, ranks: &Group) -> Option<Shards> {
        let (rank, count) = ranks.as_ref().map_or((0, 1), |ranks| (ranks.rank(), ranks.count()));
        if shards == 1 {
            return None;
        }
        let spread = Spread { shards, ranks: count };
        Some(Shards {
            spread,
            ranks: ranks.clone().filter(|_| count > 1),
            folds: tree::folds(shards, spread.of(rank)),
            pieces: spread.pieces(rank).len(),
            buffers: Vec::new(),
        })
    }

    /// Shards of a step.
    pub(super) fn count(&self) -> usize {
        self.spread.shards
    }

    /// Which process this is.
    pub(super) fn rank(&self) -> usize {
        self.ranks.as_ref().map_or(0, |ranks| ranks.rank())
    }

    /// Those of this process.
    pub(super) fn mine(&self) -> Range<usize> {
        self.spread.of(self.rank())
    }

    /// Places for sums that are put aside.
    pub(super) fn places(&self) -> usize {
        tree::places(&self.folds)
    }

    /// Whether others compute shards of the same step.
    pub(super) fn are_shared(&self) -> bool {
        self.ranks.is_some()
    }

    /// Joins a shard's gradients with those put aside, and puts them aside where others follow.
    pub(super) fn fold(&self, fold: &Fold, session: &mut Session) -> Result<(), ExecError> {
        let plan = session.plan().clone();
        for bucket in &plan.buckets {
            for &place in &fold.add {
                session.run(bucket.add(place))?;
            }
            if let Some(place) = fold.keep {
                session.run(bucket.keep(place))?;
            }
        }
        Ok(())
    }

    /// The backward pass of this process's last shard: each bucket leaves as soon as it is made.
    pub(super) fn backward_and_send(&mut self, session: &mut Session) -> Result<Sums, ExecError> {
        let plan = session.plan().clone();
        let ranks = self.ranks.clone().expect("there are others to send to");
        self.buffers.resize_with(plan.buckets.len() + 1, Buffers::default);
        let (spread, pieces) = (self.spread, self.pieces);
        let mut sums = Vec::new();
        let mut from = plan.backward.start;
        for (bucket, own) in plan.buckets.iter().zip(&mut self.buffers) {
            session.run(from..bucket.made)?;
            from = bucket.made;
            for &place in &self.folds[self.folds.len() - 1].add {
                session.run(bucket.add(place))?;
            }
            let len = plan.slots[bucket.grad.0].len;
            let mut buffers = std::mem::take(own);
            let mut read = Ok(());
            buffers.fill(spread, len, pieces, &mut |piece, into| {
                let slot = if piece + 1 < pieces { bucket.aside[piece] } else { bucket.grad };
                read = read.clone().and_then(|()| session.read(slot, into));
            });
            read?;
            sums.push(send(ranks.as_ref(), spread, len, buffers));
        }
        session.run(from..plan.backward.end)?;
        Ok(Sums(sums))
    }

    /// What all ranks say of the step, by rank, once their sums are made.
    pub(super) fn exchange(&self, own: Said) -> Result<Vec<Said>, RanksError> {
        match &self.ranks {
            Some(ranks) => gather(ranks.as_ref(), &own),
            None => Ok(vec![own]),
        }
    }

    /// Puts the sums over all shards in the place of this process's gradients.
    pub(super) fn receive(&mut self, sums: Sums, session: &mut Session) -> Result<(), TrainError> {
        let plan = session.plan().clone();
        for (i, sum) in sums.0.into_iter().enumerate() {
            let bucket = &plan.buckets[i];
            let buffers = sum.wait()??;
            session.write(bucket.grad, buffers.sum(plan.slots[bucket.grad.0].len))?;
            self.buffers[i] = buffers;
        }
        Ok(())
    }

    /// The mean over all shards of what each holds of the statistics: those of this process are in
    /// `aside`, and the last of them in `hand`.
    pub(super) fn mean(
        &mut self,
        aside: &[Vec<f32>],
        mut hand: Vec<f32>,
    ) -> Result<Vec<f32>, RanksError> {
        if let Some(ranks) = self.ranks.as_deref().filter(|_| !hand.is_empty()) {
            let (len, at) = (hand.len(), self.buffers.len() - 1);
            let mut buffers = std::mem::take(&mut self.buffers[at]);
            buffers.fill(self.spread, len, self.pieces, &mut |piece, into| {
                let own = if piece + 1 < self.pieces { &aside[piece] } else { &hand };
                into.copy_from_slice(own);
            });
            let buffers = send(ranks, self.spread, len, buffers).wait()??;
            hand.copy_from_slice(buffers.sum(len));
            self.buffers[at] = buffers;
        }
        let count = self.spread.shards as f32;
        hand.iter_mut().for_each(|x| *x /= count);
        Ok(hand)
    }
}

fn send(
    ranks: &dyn Ranks,
    spread: Spread,
    len: usize,
    mut buffers: Buffers,
) -> Pending<Result<Buffers, RanksError>> {
    ask(ranks, move |calls| {
        ordered_sum(calls, spread, len, &mut buffers)?;
        Ok(buffers)
    })
}

/// The running statistics that a step of training changes, which each shard changes from where
/// they stood before the step.
pub(super) struct Statistics {
    slots: Vec<SlotId>,
    start: Vec<f32>,
    aside: Vec<Vec<f32>>,
    hand: Vec<f32>,
}

impl Statistics {
    /// As they stand before a step.
    pub(super) fn begin(session: &Session, places: usize) -> Result<Statistics, ExecError> {
        let slots = changed(session.plan());
        let mut statistics = Statistics {
            slots,
            start: Vec::new(),
            aside: vec![Vec::new(); places],
            hand: Vec::new(),
        };
        statistics.start = statistics.read(session)?;
        Ok(statistics)
    }

    fn read(&self, session: &Session) -> Result<Vec<f32>, ExecError> {
        let mut all = Vec::with_capacity(self.start.len());
        for &slot in &self.slots {
            all.extend(session.get(slot)?);
        }
        Ok(all)
    }

    fn write(&self, session: &mut Session, from: &[f32]) -> Result<(), ExecError> {
        let mut from = from;
        for &slot in &self.slots {
            let (own, rest) = from.split_at(session.plan().slots[slot.0].len);
            session.write(slot, own)?;
            from = rest;
        }
        Ok(())
    }

    /// Puts them back before another shard.
    pub(super) fn restore(&self, session: &mut Session) -> Result<(), ExecError> {
        self.write(session, &self.start)
    }

    /// Takes up what a shard left.
    pub(super) fn fold(&mut self, fold: &Fold, session: &Session) -> Result<(), ExecError> {
        self.hand = self.read(session)?;
        for &place in &fold.add {
            self.hand.iter_mut().zip(&self.aside[place]).for_each(|(x, left)| *x += left);
        }
        if let Some(place) = fold.keep {
            self.aside[place].clone_from(&self.hand);
        }
        Ok(())
    }

    /// Ends the step with their means over all shards.
    pub(super) fn end(
        &mut self,
        shards: &mut Shards,
        session: &mut Session,
    ) -> Result<(), TrainError> {
        let hand = std::mem::take(&mut self.hand);
        let mean = shards.mean(&self.aside, hand)?;
        Ok(self.write(session, &mean)?)
    }
}

/// The running statistics that the forward pass writes.
fn changed(plan: &Arc<Plan>) -> Vec<SlotId> {
    let writes = plan.steps[plan.forward.clone()].iter().flat_map(|step| &step.writes);
    writes.copied().filter(|slot| plan.slots[slot.0].space == Space::State).collect()
}

/// Measures what is waited for.
pub(super) fn timed<T>(waited: &mut Duration, of: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = of();
    *waited += began.elapsed();
    value
}
