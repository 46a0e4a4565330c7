//! Which pictures there are, whatever holds them: their classes, labels, names and places, and
//! what opening found out about them.
//!
//! A format lists what it holds as a [`Listing`], which knows nothing of the pictures themselves.
//! [`build`] reads their headers and judges: bad files, placeholders, classes without pictures, the
//! size that counts. What comes out is a [`Catalogue`].

mod build;
mod bytes;
mod columns;
mod entries;
mod headers;
pub(super) mod index;
mod labels;
mod listing;
mod sizes;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use super::role::Role;
use super::store::Stamp;
use super::{BadFiles, DataError, Warning};
use crate::base::text;
pub(super) use build::build;
pub(super) use columns::Columns;
pub(super) use entries::Entries;
pub(super) use headers::{holds_placeholders, read_headers};
pub(super) use labels::{Labels, Names};
pub(super) use listing::{Class, Listed, Listing};
pub(super) use sizes::Sizes;
pub(super) use tree::tree;

/// Bad files that are named; of others only the number is kept.
const NAMED: usize = 100;

/// The pictures of some data.
pub(super) struct Catalogue {
    /// Where names and shards begin: a folder.
    pub(super) root: PathBuf,
    pub(super) classes: Arc<[String]>,
    /// Training first.
    pub(super) parts: Vec<Arc<Part>>,
    /// The files that hold many pictures each, and what they were when they were read.
    pub(super) shards: Vec<(PathBuf, Stamp)>,
    /// Folders and files whose change may add pictures or take some away.
    pub(super) watched: Vec<(PathBuf, Stamp)>,
    pub(super) warnings: Vec<Warning>,
    pub(super) bad: Bad,
}

/// One of its splits.
pub(super) struct Part {
    pub(super) role: Role,
    /// What the data calls it; empty where there is but one.
    pub(super) name: String,
    pub(super) labels: Vec<u32>,
    pub(super) columns: Columns,
    pub(super) sizes: Sizes,
    /// States of the data's fingerprint after this part, by those before, where they are known.
    pub(super) digests: Vec<(u64, u64)>,
}

/// Files that cannot be used.
#[derive(Default)]
pub(super) struct Bad {
    /// The first of them, each with its reason.
    pub(super) named: Vec<Warning>,
    pub(super) count: usize,
}

impl Bad {
    pub(super) fn push(&mut self, warning: Warning) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(warning);
        }
    }

    /// They become warnings, or an error if none may be left out.
    pub(super) fn report(&self, policy: BadFiles) -> Result<Vec<Warning>, DataError> {
        match policy {
            BadFiles::Refuse if self.count > 0 => {
                let shown = self.named.iter().take(5).map(|Warning { file, message }| match file {
                    Some(file) => format!("{} {message}", text::path(file)),
                    None => message.clone(),
                });
                let more = if self.count > 5 { "; ..." } else { "" };
                let list = format!("{}{more}", shown.collect::<Vec<_>>().join("; "));
                Err(DataError::BadFiles { count: self.count, list })
            }
            _ => {
                let skipped = |Warning { file, message }: &Warning| Warning {
                    file: file.clone(),
                    message: format!("{message}; skipped"),
                };
                let mut warnings: Vec<Warning> = self.named.iter().map(skipped).collect();
                let more = self.count - self.named.len();
                if more > 0 {
                    let message = format!("{more} more files cannot be used and were skipped");
                    warnings.push(Warning { file: None, message });
                }
                Ok(warnings)
            }
        }
    }
}
