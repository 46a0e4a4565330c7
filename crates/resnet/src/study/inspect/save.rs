//! What an inspection leaves on disk.

use std::path::Path;

use super::{Inspection, page};
use crate::base::files::FileError;
use crate::page::charts::save::{save_figures, write};
use crate::train::event::Monitored;

/// Writes `report.html`, `figures/*.svg` and `inspect.json` into a directory. `history` is what a
/// monitored run saw, empty for any other network.
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
