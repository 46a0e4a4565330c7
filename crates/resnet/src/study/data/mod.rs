//! Pages about data: what lies in it, and what training makes of it.

mod preview;
mod preview_page;
mod shown;
mod stats_page;

use std::path::Path;

pub use preview::{Made, Mixed, Preview, Previewed, preview};
pub use shown::sheet;

use crate::base::files::{FileError, write_atomic};
use crate::data::stats::{Contact, Stats};

/// Writes the page about the figures of data, with a few pictures of each class.
///
/// # Errors
/// The file cannot be written.
pub fn save_stats(
    page: &Path,
    stats: &Stats,
    contacts: &[Contact],
    command: &str,
) -> Result<(), FileError> {
    let text = stats_page::render(stats, contacts, command);
    write_atomic(page, |to| to.write_all(text.as_bytes()))
}

/// Writes the page about what training makes of pictures.
///
/// # Errors
/// The file cannot be written.
pub fn save_preview(page: &Path, preview: &Preview, command: &str) -> Result<(), FileError> {
    let text = preview_page::render(preview, command);
    write_atomic(page, |to| to.write_all(text.as_bytes()))
}
