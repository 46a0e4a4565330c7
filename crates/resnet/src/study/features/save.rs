//! What a look at features leaves on disk.

use std::fs;
use std::path::Path;

use super::found::Features;
use super::{figures, page, picture};
use crate::base::files::{FileError, safe_name, write_atomic};
use crate::page::charts::save::{save_figures, write};
use crate::page::charts::tile::{self, Tile};

/// Made pictures in a row of their sheet.
const MADE: usize = 5;

/// Writes `report.html`, `figures/*.svg`, `features.json` and for each stage
/// `figures/features-POINT.png` and `figures/made-POINT.png` into a directory.
///
/// # Errors
/// A file cannot be written.
pub fn save(out: &Path, features: &Features, command: &str) -> Result<(), FileError> {
    let figures = figures::figures(features);
    save_figures(out, &figures)?;
    let folder = out.join("figures");
    fs::create_dir_all(&folder)
        .map_err(|source| FileError::Write { path: folder.clone(), source })?;
    let mut sheets = vec![("filters".to_owned(), tile::sheet(&features.filters, 8))];
    for point in features.points.iter().filter(|point| !point.seen.is_empty()) {
        let name = format!("features-{}", safe_name(&point.name));
        sheets.push((name, tile::sheet(&picture::rows(point), picture::ROW)));
        let made = point.seen.iter().filter_map(|seen| seen.made.as_ref());
        let made: Vec<Tile> = made.map(|made| made.tile.clone()).collect();
        sheets.push((format!("made-{}", safe_name(&point.name)), tile::sheet(&made, MADE)));
    }
    for (name, png) in sheets {
        let Some(png) = png else { continue };
        write_atomic(&folder.join(format!("{name}.png")), |to| to.write_all(&png))?;
    }
    let json = serde_json::to_string_pretty(features).expect("numbers always become JSON");
    write(out, "features.json", &(json + "\n"))?;
    write(out, "report.html", &page::render(features, &figures, command))
}
