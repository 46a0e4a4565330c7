//! What a kind of data is, and what opening some gives.

use std::path::Path;
use std::sync::Arc;

use super::{DataError, Dataset, Warning};

/// The parts of some data.
#[derive(Clone)]
pub struct Splits {
    /// What a network learns from. Class numbers are this split's.
    pub train: Arc<dyn Dataset>,
    /// A third split for choices made while training, if the data has three; see `test`.
    pub val: Option<Arc<dyn Dataset>>,
    /// What results are reported on: the official test pictures, or a folder's `test/` or, without
    /// one, its `val/`.
    pub test: Option<Arc<dyn Dataset>>,
    /// What the data calls `test`: `test`, `val`, ...
    pub test_name: String,
    /// What was skipped, what looks wrong.
    pub warnings: Vec<Warning>,
}

/// What to do about files that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadFiles {
    /// Leave them out, with a warning each.
    #[default]
    Skip,
    /// Fail, naming them.
    Refuse,
}

/// How to open data.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// What to do about stray and broken files.
    pub bad_files: BadFiles,
}

/// A kind of data: how it is named, recognised and opened.
pub struct Format {
    /// What stands before the colon, or alone if there is no folder to name.
    pub name: &'static str,
    /// Whether a folder follows the name.
    pub takes_folder: bool,
    /// One line for lists and help.
    pub about: &'static str,
    /// Whether a folder looks like this kind, by its entries' names alone.
    pub sniff: fn(&Path) -> bool,
    /// Opens it; the folder is empty text where none is taken.
    pub open: fn(&Path, &OpenOptions) -> Result<Splits, DataError>,
}
