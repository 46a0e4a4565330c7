//! What the processes of a run tell each other beside gradients: that they train the same, what
//! the first of them read, and that their weights are still the same.
//!
//! The first process alone reads and writes the run's directory; the others are told.

use std::path::Path;
use std::sync::Arc;

use resnet_engine::exec::{Device, Session};
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::job::Job;
use super::recipe::{Recipe, RecipeError};
use crate::base::hash::{self, fnv1a};
use crate::base::machine;
use crate::model::Model;
use crate::ranks::{self, Group, Ranks, RanksError, ask, gather};

/// What must be the same on all ranks.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    host: String,
    version: String,
    computes: String,
    recipe: String,
    data: String,
}

/// Where ranks share a batch, they share it evenly; a recipe that leaves the shards open has one
/// for each.
pub(super) fn share(recipe: &mut Recipe, ranks: &Group) -> Result<(), RecipeError> {
    let Some(ranks) = ranks else { return Ok(()) };
    let count = ranks.count();
    let shards = *recipe.train.shards.get_or_insert(count);
    match shards.is_multiple_of(count) {
        true => Ok(()),
        false => Err(RecipeError::Uneven { shards, ranks: count }),
    }
}

/// Checks that all ranks are about to train the same in the same way.
pub(super) fn check_same(ranks: &Group, job: &Job) -> Result<(), TrainError> {
    let Some(ranks) = ranks.as_deref() else { return Ok(()) };
    let own = Identity {
        host: machine::host(),
        version: env!("CARGO_PKG_VERSION").into(),
        computes: computes(job.task.device.as_ref()),
        recipe: job.portable_recipe(),
        data: job.data.clone(),
    };
    let all = gather(ranks, &own)?;
    let first = &all[0];
    for (rank, other) in all.iter().enumerate() {
        let pairs = [
            ("version", &first.version, &other.version, "install the same one everywhere"),
            match [&first.computes, &other.computes].map(|computes| computes.starts_with(CPU)) {
                [true, true] => (
                    "instruction set",
                    &first.computes,
                    &other.computes,
                    "results differ between them; restrict all to the lowest by RESNET_ISA",
                ),
                _ => (
                    "device",
                    &first.computes,
                    &other.computes,
                    "results differ between them; name one that all have by `train.device`",
                ),
            },
            ("recipe", &first.recipe, &other.recipe, "start all with the same command"),
            (
                "data",
                &first.data,
                &other.data,
                "its names, classes or order differ; give all the same pictures",
            ),
        ];
        let Some((what, here, there, advice)) = pairs.into_iter().find(|(_, a, b, _)| a != b)
        else {
            continue;
        };
        let (here, there) = difference(here, there);
        return Err(RanksError::Differ(format!(
            "rank {rank} on {} has another {what} than rank 0 on {}: `{there}` and `{here}`; {advice}",
            other.host, first.host
        ))
        .into());
    }
    Ok(())
}

/// The first lines that differ.
fn difference<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let mut lines = a.lines().zip(b.lines());
    lines.find(|(a, b)| a != b).unwrap_or((a, b))
}

/// How what a CPU computes with begins.
const CPU: &str = "cpu ";

/// What decides the bits of a device's results.
fn computes(device: &dyn Device) -> String {
    format!("{} {}", device.name(), device.about())
}

/// What rank 0 has, on every rank: bytes that `own` holds there.
fn from_first(ranks: &dyn Ranks, own: Option<Vec<u8>>) -> Result<Vec<u8>, RanksError> {
    let own = own.filter(|_| ranks.rank() == 0).unwrap_or_default();
    let all = ask(ranks, move |calls| calls.all_gather_bytes(&own)).wait()??;
    Ok(all.into_iter().next().unwrap_or_default())
}

/// A model that rank 0 may have.
pub(super) fn model(ranks: &Group, own: Option<Model>) -> Result<Option<Model>, TrainError> {
    let Some(ranks) = ranks.as_deref() else { return Ok(own) };
    let bytes = own.as_ref().map(Model::to_bytes).transpose()?;
    let bytes = from_first(ranks, bytes)?;
    match (own, bytes.is_empty()) {
        (_, true) => Ok(None),
        (Some(own), false) if ranks.rank() == 0 => Ok(Some(own)),
        _ => Ok(Some(Model::from_bytes(Path::new("the model of rank 0"), &bytes)?)),
    }
}

/// The recipe of a run that goes on, as rank 0 read it, and on the others its last checkpoint.
pub(super) fn resumed(
    ranks: &dyn Ranks,
    own: Option<(&Recipe, &Option<Arc<Model>>)>,
) -> Result<(Recipe, Option<Arc<Model>>), TrainError> {
    let recipe = own.map(|(recipe, _)| recipe.to_toml().into_bytes());
    let recipe = from_first(ranks, recipe)?;
    let recipe = Recipe::from_toml(&String::from_utf8_lossy(&recipe))?;
    let last = own.and_then(|(_, last)| last.as_deref()).map(Model::to_bytes).transpose()?;
    let last = from_first(ranks, last)?;
    let read = || Model::from_bytes(Path::new("the checkpoint of rank 0"), &last).map(Arc::new);
    // Rank 0 has it already.
    let last = (own.is_none() && !last.is_empty()).then(read).transpose()?;
    Ok((recipe, last))
}

/// A value where all ranks have theirs; else the error of the first that has none.
pub(super) fn together<T>(ranks: &Group, own: Result<T, TrainError>) -> Result<T, TrainError> {
    match ranks.as_deref() {
        None => own,
        Some(ranks) => ranks::together(ranks, own),
    }
}

/// The first thing that some rank says, if any does.
pub(super) fn first_said(ranks: &Group, own: Option<String>) -> Result<Option<String>, RanksError> {
    match ranks.as_deref() {
        None => Ok(own),
        Some(ranks) => Ok(gather(ranks, &own)?.into_iter().flatten().next()),
    }
}

/// Checks that all ranks hold the same weights.
pub(super) fn check_weights(ranks: &Group, session: &Session, step: u64) -> Result<(), TrainError> {
    let Some(ranks) = ranks.as_deref() else { return Ok(()) };
    let mut hash = hash::BEGIN;
    for slots in &session.plan().params {
        for x in session.get(slots.value)? {
            hash = fnv1a(hash, &x.to_le_bytes());
        }
    }
    let all = gather(ranks, &(machine::host(), format!("{hash:016x}")))?;
    let first = &all[0];
    match all.iter().enumerate().find(|(_, other)| other.1 != first.1) {
        None => Ok(()),
        Some((rank, (host, _))) => Err(RanksError::Differ(format!(
            "after step {step} rank {rank} on {host} holds other weights than rank 0 on {}: a \
             processor, memory or driver is faulty, or the library that carries messages; resume \
             from the last checkpoint, without that machine",
            first.0
        ))
        .into()),
    }
}
