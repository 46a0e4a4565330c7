//! What a kind of data is, and what opening some gives.

use std::path::Path;
use std::sync::Arc;

use super::role::{Role, role};
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
    /// What the data calls `test`: `test`, `val`, `Validation`, ...
    pub test_name: String,
    /// What was skipped, what looks wrong.
    pub warnings: Vec<Warning>,
}

impl Splits {
    /// The part that a name means, and what the data calls it: `train`, `val` or `test`, in any of
    /// the ways in which folders of splits are called.
    pub fn part(&self, name: &str) -> Option<(String, Arc<dyn Dataset>)> {
        let wanted = role(name)?.0;
        let last = role(&self.test_name).map_or(Role::Test, |(role, _)| role);
        match wanted {
            Role::Train => Some(("train".to_string(), self.train.clone())),
            wanted if wanted == last => Some((self.test_name.clone(), self.test.clone()?)),
            Role::Val => Some(("val".to_string(), self.val.clone()?)),
            Role::Test => None,
        }
    }
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
    /// Whether pictures of a single class will do: to measure a network on, not to learn from.
    pub one_class: bool,
}

/// A kind of data: how it is named, recognised and opened.
pub struct Format {
    /// What stands before the colon, or alone if there is no folder to name.
    pub name: &'static str,
    /// Whether a folder, or a file, follows the name.
    pub takes_folder: bool,
    /// One line for lists and help.
    pub about: &'static str,
    /// Whether a folder or file looks like this kind, by names, or by a file's first bytes. It may
    /// also be a pattern that means several files, such as `train-{0000..0146}.tar`.
    pub sniff: fn(&Path) -> bool,
    /// Opens it; the path is empty text where none is taken.
    pub open: fn(&Path, &OpenOptions) -> Result<Splits, DataError>,
}
