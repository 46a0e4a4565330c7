//! What tells a file or folder that was changed from one that was not.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::base::hash::{self, fnv1a};

/// Size and time of the last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::data) struct Stamp {
    /// Bytes; 0 for a folder, whose size means nothing.
    pub(in crate::data) length: u64,
    /// Nanoseconds since 1970; 0 where the system does not know. Of an object at an address, what
    /// stands for its version.
    pub(in crate::data) changed: u64,
}

impl Stamp {
    /// That of a file or folder, links followed.
    pub(in crate::data) fn of(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::from(&fs::metadata(path)?))
    }

    /// What tells a folder's list of names from another, without hidden files and indices: for the
    /// folder that an index lies in, which is changed by it.
    pub(in crate::data) fn listing(folder: &Path) -> io::Result<Stamp> {
        let mut names = Vec::new();
        for entry in folder.read_dir()? {
            let name = entry?.file_name().into_encoded_bytes();
            if !name.starts_with(b".") && !name.ends_with(b".resnet-index") {
                names.push(name);
            }
        }
        Ok(Stamp::of_names(names))
    }

    /// That of a folder with these names.
    pub(in crate::data) fn of_names(mut names: Vec<Vec<u8>>) -> Stamp {
        names.sort_unstable();
        let bytes = names.iter().flat_map(|name| name.iter().chain(&[0]));
        Stamp { length: names.len() as u64, changed: fnv1a(hash::BEGIN, bytes) }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        let changed = metadata.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Stamp {
            length: if metadata.is_dir() { 0 } else { metadata.len() },
            changed: changed.map_or(0, |time| time.as_nanos() as u64),
        }
    }
}
