//! What an inspection leaves on disk.

use std::fs;
use std::path::Path;

use super::{Inspection, page};
use crate::event::Monitored;
use crate::files::{self, FileError};
use crate::report::figure::Figure;

/// Writes `report.html`, `figures/*.svg` and `inspect.json` into a directory. `history` is what a monitored run saw, empty for any
/// other network.
///
/// # Errors
/// A file cannot be written.
pub fn save(
    out: &Path,
    inspection: &Inspection,
    history: &[Monitored],
    command: &str,
) -> Result<(), FileError> {
    let figures = page::figures(inspection, history);
    save_figures(out, &figures)?;
    let json = serde_json::to_string_pretty(inspection).expect("numbers always become JSON");
    write(out, "inspect.json", &(json + "\n"))?;
    let page = page::render(inspection, &figures, command);
    write(out, "report.html", &page)
}

/// Writes `figures/NAME.svg` for each figure into a report's directory, making it.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn save_figures(out: &Path, figures: &[Figure]) -> Result<(), FileError> {
    let folder = out.join("figures");
    fs::create_dir_all(&folder).map_err(|source| FileError::Write {
        path: folder.clone(),
        source,
    })?;
    figures
        .iter()
        .try_for_each(|figure| write(&folder, &format!("{}.svg", figure.name), &figure.file()))
}

/// Writes a text file of a report, whole or not at all.
pub(crate) fn write(out: &Path, name: &str, text: &str) -> Result<(), FileError> {
    files::write_atomic(&out.join(name), |to| to.write_all(text.as_bytes()))
}
