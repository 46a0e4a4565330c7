//! What a report leaves on disk.

use std::fs;
use std::path::Path;

use super::figure::Figure;
use crate::base::files::{self, FileError};

/// Writes `figures/NAME.svg` for each figure into a report's directory, making it.
///
/// # Errors
/// A file cannot be written.
pub fn save_figures(out: &Path, figures: &[Figure]) -> Result<(), FileError> {
    let folder = out.join("figures");
    fs::create_dir_all(&folder)
        .map_err(|source| FileError::Write { path: folder.clone(), source })?;
    figures
        .iter()
        .try_for_each(|figure| write(&folder, &format!("{}.svg", figure.name), &figure.file()))
}

/// Writes a text file of a report, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(out: &Path, name: &str, text: &str) -> Result<(), FileError> {
    files::write_atomic(&out.join(name), |to| to.write_all(text.as_bytes()))
}
