//! What an explanation leaves on disk.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::story::Story;
use super::text::{Part, TEXT, TITLE, filled, parts};
use crate::base::files::FileError;
use crate::page::charts::save::write;

/// The Markdown file and, without the ending, the folder of its figures.
const NAME: &str = "residual-networks-in-ten-minutes";

/// Writes `report.html`, and the same as Markdown with its figures in a folder beside it, into a
/// directory.
///
/// # Errors
/// A file cannot be written.
pub fn save(out: &Path, story: &Story) -> Result<(), FileError> {
    let folder = out.join(NAME);
    fs::create_dir_all(&folder)
        .map_err(|source| FileError::Write { path: folder.clone(), source })?;
    for shown in &story.figures {
        write(&folder, &format!("{}.svg", shown.figure.name), &shown.figure.file())?;
    }
    write(out, &format!("{NAME}.md"), &markdown(story))?;
    write(out, "report.html", &super::page::render(story))
}

fn markdown(story: &Story) -> String {
    let mut out = format!("# {TITLE}\n");
    let text = filled(TEXT, story);
    for part in parts(&text) {
        let _ = match part {
            Part::Heading(heading) => write!(out, "\n## {heading}\n"),
            Part::Text(text) => write!(out, "\n{text}\n"),
            Part::Figure(name) => {
                let shown = story.figures.iter().find(|shown| shown.figure.name == name);
                let Some(shown) = shown else { continue };
                let (caption, command) = (&shown.figure.caption, &shown.command);
                write!(out, "\n![{name}]({NAME}/{name}.svg)\n\n*{caption}* `{command}`\n")
            }
        };
    }
    out
}
