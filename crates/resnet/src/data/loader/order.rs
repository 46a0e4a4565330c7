//! The order of an epoch's pictures: a function of the seed and the epoch alone.

use super::LoaderOptions;
use crate::base::rng::Rng;
use crate::data::Dataset;

/// Keeps the order's stream apart from others of the same seed.
const STREAM: u64 = 0x6f72_6465;

/// A picture's turn in an epoch.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) index: u32,
    /// How often it has had a turn in this epoch before.
    pub(super) round: u32,
}

/// The turns of an epoch, as the options want them.
pub(super) fn order(data: &dyn Dataset, options: &LoaderOptions, epoch: u64) -> Vec<Turn> {
    let mut order: Vec<Turn> = match options.balanced {
        true => balanced(data, options.seed, epoch),
        false => (0..data.len() as u32).map(|index| Turn { index, round: 0 }).collect(),
    };
    if options.shuffle {
        Rng::new(options.seed, &[STREAM, epoch]).shuffle(&mut order);
    }
    order
}

/// As many turns as the data has pictures, every class equally often: its pictures in a random
/// order, then again in another.
fn balanced(data: &dyn Dataset, seed: u64, epoch: u64) -> Vec<Turn> {
    let mut by_class = vec![Vec::new(); data.classes().len()];
    for index in 0..data.len() {
        by_class[data.label(index) as usize].push(index as u32);
    }
    by_class.retain(|members| !members.is_empty());
    let classes = by_class.len();
    let mut turns = Vec::with_capacity(data.len());
    for (class, mut members) in by_class.into_iter().enumerate() {
        // What does not divide goes to other classes in other epochs.
        let place = (class + epoch as usize) % classes;
        let wanted = (data.len() + classes - 1 - place) / classes;
        for round in 0..wanted.div_ceil(members.len()) as u32 {
            let key = [STREAM, epoch, 1 + class as u64, round.into()];
            Rng::new(seed, &key).shuffle(&mut members);
            let left = wanted - round as usize * members.len();
            turns.extend(members.iter().take(left).map(|&index| Turn { index, round }));
        }
    }
    turns
}
