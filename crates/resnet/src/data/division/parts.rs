//! Pictures, and the parts that they are in.

use std::path::PathBuf;

use serde::Serialize;

use super::super::check::Part;
use super::super::role::Role;
use super::group::GroupBy;
use super::path::slashed;

/// How to divide.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// The part of the divided pictures to choose by, between 0 and 1; none, if not asked for.
    pub val: Option<f64>,
    /// The part of the divided pictures to report on, between 0 and 1; none, if not asked for.
    pub test: Option<f64>,
    /// What stays together.
    pub group_by: GroupBy,
    /// Divide all pictures anew, in whatever split they lie now.
    pub pool: bool,
    /// Names the choice.
    pub seed: u64,
}

/// Pictures that were divided.
#[derive(Clone, Debug, Serialize)]
pub struct Division {
    /// The data.
    pub source: String,
    /// The parts that have pictures, training first, each with all classes.
    pub parts: Vec<Part>,
    /// Groups that were divided, where pictures stay together.
    pub groups: Option<usize>,
    /// What the pictures' owner should know.
    pub warnings: Vec<String>,
    /// The data's folder.
    #[serde(skip)]
    pub(super) root: PathBuf,
    #[serde(skip)]
    pub(super) classes: Vec<String>,
    /// By class, then by path.
    #[serde(skip)]
    pub(super) rows: Vec<Row>,
}

/// A picture in a part.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// From the data's folder on.
    pub(super) name: PathBuf,
    pub(super) class: usize,
    pub(super) part: Role,
    /// What it stays together with, if with any.
    pub(super) group: Option<String>,
}

/// What the parts are called, training first.
pub(super) const PARTS: [(Role, &str); 3] =
    [(Role::Train, "train"), (Role::Val, "val"), (Role::Test, "test")];

pub(super) fn name_of(role: Role) -> &'static str {
    PARTS.iter().find(|(part, _)| *part == role).map_or("train", |(_, name)| name)
}

impl Row {
    /// What names its group: a name that no other has, where it stays together with nothing.
    pub(super) fn key(&self) -> String {
        match &self.group {
            Some(group) => format!("group {group}"),
            None => format!("picture {}", slashed(&self.name)),
        }
    }
}
