//! What an inspection leaves on disk.

use std::fs;
use std::path::Path;

use super::{Inspection, page};
use crate::event::Monitored;
use crate::files::{self, FileError};

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
    let folder = out.join("figures");
    fs::create_dir_all(&folder).map_err(|source| FileError::Write {
        path: folder.clone(),
        source,
    })?;
    let write = |name: &str, text: &str| {
        files::write_atomic(&out.join(name), |to| to.write_all(text.as_bytes()))
    };
    let figures = page::figures(inspection, history);
    for figure in &figures {
        write(&format!("figures/{}.svg", figure.name), &figure.file())?;
    }
    let json = serde_json::to_string_pretty(inspection).expect("numbers always become JSON");
    write("inspect.json", &(json + "\n"))?;
    write("report.html", &page::render(inspection, &figures, command))
}
