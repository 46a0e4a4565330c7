//! Labels of data as a model numbers its classes.

use std::sync::Arc;

use super::file::Model;
use crate::data::{self, DataError, Dataset};

/// Metadata of a model that was imported: the file that named its classes.
pub(super) const CLASSES_FROM: &str = "classes_from";
/// Metadata of a model that was imported: the file that its weights came from.
pub(super) const IMPORTED_FROM: &str = "imported_from";

impl Model {
    /// Whether its classes are called by the numbers of its labels because nobody named them when
    /// its weights were imported.
    pub fn is_numbered(&self) -> bool {
        let metadata = &self.tensors.metadata;
        metadata.contains_key(IMPORTED_FROM)
            && !metadata.contains_key(CLASSES_FROM)
            && self.classes.iter().enumerate().all(|(label, name)| *name == label.to_string())
    }

    /// `data` with its labels numbered by this model's classes, which are matched by name.
    ///
    /// # Errors
    /// A class of `data` that has pictures is not among them; or the model's are called by numbers,
    /// and which one is meant cannot be told.
    pub(crate) fn relabel(&self, data: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>, DataError> {
        match self.is_numbered() {
            true => data::with_numbers(data, self.classes.len()),
            false => data::with_aliases(data, &self.classes, &self.aliases()),
        }
    }
}
