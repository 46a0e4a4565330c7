//! What a packing is of, and which shards of it are finished.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::DataError;
use super::PackFormat;
use crate::base::files;

/// Bytes of the longest text that is read: a hundred thousand shards.
const MOST: u64 = 64 << 20;

/// What a packing is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) format: PackFormat,
    pub(super) shard_size: u64,
    pub(super) shorter_side: Option<usize>,
    pub(super) quality: Option<u8>,
    /// The fingerprint of the data.
    pub(super) data: String,
    /// Names of the splits, and their pictures.
    pub(super) splits: Vec<(String, usize)>,
}

/// How far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(flatten)]
    settings: Settings,
    /// Whether all shards were read again.
    pub(super) verified: bool,
    pub(super) shards: Vec<Done>,
}

/// A shard that is finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) split: String,
    /// Its file, as long as not all are finished.
    pub(super) name: String,
    pub(super) pictures: usize,
    pub(super) bytes: u64,
    /// Of labels, lengths and pictures.
    pub(super) crc32: String,
}

/// The state that a file holds, if it is there.
pub(super) fn read(file: &Path) -> Result<Option<State>, DataError> {
    if !files::is_there(file)? {
        return Ok(None);
    }
    let bytes = files::read_bounded(file, MOST)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let expected = "the state of a packing, as it was written";
        DataError::content(file, expected, error.to_string(), "remove the folder that it is in")
    })
}

impl State {
    pub(super) fn new(settings: Settings) -> State {
        State { settings, verified: false, shards: Vec::new() }
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), DataError> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| DataError::other(file, error))?;
        Ok(files::write_atomic(file, |to| to.write_all(&text))?)
    }

    /// Refuses what was made of other data, or in another way.
    pub(super) fn check(&self, settings: &Settings, dest: &Path) -> Result<(), DataError> {
        let found = match &self.settings {
            own if own == settings => return Ok(()),
            own if own.data != settings.data => "shards of other data",
            _ => "shards that were packed with other options",
        };
        let hint = "choose another folder, or remove this one";
        Err(DataError::content(dest, "shards of this data, or an empty folder", found, hint))
    }

    /// The shards of a split.
    pub(super) fn of<'a>(&'a self, split: &'a str) -> impl Iterator<Item = &'a Done> {
        self.shards.iter().filter(move |shard| shard.split == split)
    }

    /// Pictures of a split that lie in finished shards. Those from the first on that is not what
    /// was written are forgotten.
    pub(super) fn done(&mut self, split: &str, folder: &Path) -> Result<usize, DataError> {
        let mut whole = true;
        self.shards.retain(|shard| {
            let length = || std::fs::metadata(folder.join(&shard.name)).map(|file| file.len());
            let is_own = shard.split == split;
            whole &= !is_own || length().is_ok_and(|length| length == shard.bytes);
            !is_own || whole
        });
        Ok(self.of(split).map(|shard| shard.pictures).sum())
    }
}
