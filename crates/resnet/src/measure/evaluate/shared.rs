//! An evaluation by several ranks: each computes its share of the batches, and all count all of
//! them in the batches' order, so that every rank has, to the bit, what one process alone has.
//!
//! In a round every rank computes one batch, if one is left for it, and then has everybody's
//! answers. A round's answers are under way while the next round is computed; so what a rank says
//! of itself, that it failed or is to stop, is heard by all, it included, in the same round.

use serde::{Deserialize, Serialize};

use super::{How, Tally, UseError};
use crate::base::machine;
use crate::data::{self, Dataset, Epoch, Loader, Share};
use crate::model::Model;
use crate::ranks::{Pending, Ranks, RanksError, ask, gather, read_each};
use resnet_engine::exec::{Device, Session};

/// The share of a rank in the batches of an evaluation: of every so many as there are ranks, one.
pub(crate) fn share(ranks: Option<&dyn Ranks>) -> Share {
    ranks.map_or(Share::default(), |ranks| {
        let rank = ranks.rank();
        Share { of: ranks.count(), mine: rank..rank + 1 }
    })
}

/// What must be the same on all ranks: names and values.
pub(super) type Same = Vec<(String, String)>;

/// All of it.
pub(super) fn same(
    model: &Model,
    data: &dyn Dataset,
    how: How,
    batch: usize,
    device: &dyn Device,
) -> Same {
    vec![
        ("the instruction set".into(), device.about()),
        ("the model".into(), format!("{:016x}", model.digest())),
        ("the pictures".into(), data::fingerprint(&[data])),
        ("the crops".into(), format!("{:?}", how.crops)),
        ("the precision".into(), how.precision.to_string()),
        ("the batch".into(), batch.to_string()),
    ]
}

/// Ends with an error on all ranks where one has something else than the first.
pub(super) fn check_same(ranks: &dyn Ranks, own: Same) -> Result<(), RanksError> {
    let all: Vec<(String, Same)> = gather(ranks, &(machine::host(), own))?;
    for (rank, (host, has)) in all.iter().enumerate() {
        let differs = has.iter().zip(&all[0].1).find(|(has, first)| has != first);
        if let Some(((what, has), (_, first))) = differs {
            return Err(RanksError::Differ(format!(
                "{what} of rank {rank} on {host} and of rank 0 on {} are not the same ({has}, \
                 {first}); start all ranks with the same files and the same words",
                all[0].0
            )));
        }
    }
    Ok(())
}

/// What a rank says in a round beside its logits.
#[derive(Serialize, Deserialize)]
struct Said {
    /// Of its batch, if it had one.
    batch: Option<Labels>,
    /// The error it fails with, and where it runs.
    failed: Option<(String, String)>,
    /// Whether it was told to stop, in an earlier round.
    stop: bool,
}

/// The pictures of a batch.
#[derive(Serialize, Deserialize)]
struct Labels {
    labels: Vec<u32>,
    indices: Vec<u32>,
    warnings: Vec<String>,
}

/// Memory for the logits of a round, used again.
struct Logits {
    own: Vec<f32>,
    all: Vec<f32>,
}

/// The answers of all ranks, on their way.
type Answers = Pending<Result<(Vec<Vec<u8>>, Logits), RanksError>>;

/// Counts every batch of all ranks; whether `on` of all let it come to the end.
///
/// # Panics
/// If the loader does not make this rank's [`share`], so that pictures would count several times.
pub(super) fn run(
    ranks: &dyn Ranks,
    session: &mut Session,
    loader: &Loader,
    tally: &mut Tally,
    on: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, UseError> {
    assert_eq!(loader.share(), &share(Some(ranks)), "a rank's loader makes its share");
    let (epoch, spare) = (loader.epoch(0, 0), Vec::new());
    let mut rounds = Rounds { ranks, session, epoch, failed: None, stop: false, spare, tally, on };
    let mut before: Option<Answers> = None;
    for _ in 0..loader.groups() {
        let now = rounds.compute();
        if let Some(before) = before.replace(now)
            && !rounds.count(before)?
        {
            return Ok(false);
        }
    }
    if let Some(last) = before
        && !rounds.count(last)?
    {
        return Ok(false);
    }
    Ok(!gather(ranks, &rounds.stop)?.contains(&true))
}

struct Rounds<'a> {
    ranks: &'a dyn Ranks,
    session: &'a mut Session,
    epoch: Epoch,
    failed: Option<UseError>,
    stop: bool,
    spare: Vec<Logits>,
    tally: &'a mut Tally,
    on: &'a mut dyn FnMut(usize) -> bool,
}

impl Rounds<'_> {
    /// Computes this rank's batch of the next round and sends its answers.
    fn compute(&mut self) -> Answers {
        let len = self.session.plan().options.batch * self.session.plan().classes;
        let mut logits = self.spare.pop().unwrap_or_else(|| Logits {
            own: vec![0.0; len],
            all: vec![0.0; len * self.ranks.count()],
        });
        // Who failed still takes part until all know.
        let batch = match self.failed {
            None => self.answer(&mut logits.own),
            Some(_) => Ok(None),
        };
        let batch = batch.unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        });
        let failed = self.failed.as_ref().map(|error| (machine::host(), error.to_string()));
        let said = Said { batch, failed, stop: self.stop };
        let said = serde_json::to_vec(&said).expect("texts and numbers always become JSON");
        ask(self.ranks, move |calls| {
            let said = calls.all_gather_bytes(&said)?;
            calls.all_gather(&logits.own, &mut logits.all)?;
            Ok((said, logits))
        })
    }

    /// The logits of this rank's next batch; none if all were had.
    fn answer(&mut self, logits: &mut [f32]) -> Result<Option<Labels>, UseError> {
        let Some(batch) = self.epoch.next().transpose()? else { return Ok(None) };
        self.session.infer(&batch.x, logits)?;
        Ok(Some(Labels {
            labels: batch.labels[..batch.count].to_vec(),
            indices: batch.indices[..batch.count].to_vec(),
            warnings: batch.warnings.iter().map(ToString::to_string).collect(),
        }))
    }

    /// Counts the answers of a round; whether to go on.
    fn count(&mut self, answers: Answers) -> Result<bool, UseError> {
        let (said, mut logits) = answers.wait()??;
        let mut said: Vec<Said> = read_each(&said)?;
        let failed = said.iter_mut().enumerate().find_map(|(rank, said)| {
            let (host, message) = said.failed.take()?;
            Some((rank, RanksError::Other { rank, host, message }))
        });
        if let Some((first, other)) = failed {
            // Who speaks for all has the error itself.
            let own = self.failed.take().filter(|_| first == 0 && self.ranks.rank() == 0);
            return Err(own.unwrap_or(other.into()));
        }
        if said.iter().any(|said| said.stop) {
            return Ok(false);
        }
        for (said, logits) in said.into_iter().zip(logits.all.chunks_exact_mut(logits.own.len())) {
            let Some(Labels { labels, indices, warnings }) = said.batch else { continue };
            self.tally.add(logits, &labels, &indices, warnings.into_iter());
            self.stop |= !(self.on)(self.tally.count());
        }
        self.spare.push(logits);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
