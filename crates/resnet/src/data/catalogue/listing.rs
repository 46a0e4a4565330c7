//! What a format says of its data before any picture is looked at.

use std::path::PathBuf;

use super::super::Warning;
use super::super::role::Role;
use super::super::store::{Headers, Stamp};
use super::Entries;

/// The pictures that a format holds.
#[derive(Default)]
pub(in crate::data) struct Listing {
    /// The folder from which names and shards are written.
    pub(in crate::data) root: PathBuf,
    /// The splits, training first, at most one of each role.
    pub(in crate::data) parts: Vec<Listed>,
    /// Files that hold many pictures each, by the number that places have; from `root` on. What
    /// they were is taken before they are read.
    pub(in crate::data) shards: Vec<(PathBuf, Stamp)>,
    /// Folders and other files that were asked; from `root` on. Where one of them changes, there
    /// may be other pictures.
    pub(in crate::data) watched: Vec<(PathBuf, Stamp)>,
    /// What is no part of the data, and why.
    pub(in crate::data) unused: Vec<Warning>,
    /// Whether labels are numbers, so that there may be classes without pictures between others.
    pub(in crate::data) numbered: bool,
    /// Headers that were read on the way.
    pub(in crate::data) known: Headers,
}

/// A split.
pub(in crate::data) struct Listed {
    pub(in crate::data) role: Role,
    /// What the data calls it; empty where there is but one.
    pub(in crate::data) name: String,
    /// The folder or file to name where something is wrong with it.
    pub(in crate::data) place: PathBuf,
    /// Its own classes, which number its pictures' labels.
    pub(in crate::data) classes: Vec<Class>,
    /// Its pictures, in the order that they have from now on.
    pub(in crate::data) entries: Entries,
    /// Files and folders that are passed over, and why.
    pub(in crate::data) strays: Vec<Warning>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::data) struct Class {
    /// Its name, composed (NFC).
    pub(in crate::data) name: String,
    /// The folder or file to name where it has no pictures.
    pub(in crate::data) place: PathBuf,
}

impl Listed {
    /// What to call it where every split has a name.
    pub(in crate::data) fn shown(&self) -> String {
        if self.name.is_empty() { "all".into() } else { self.name.clone() }
    }

    pub(in crate::data) fn class_names(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.name.clone()).collect()
    }
}
