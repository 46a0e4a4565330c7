//! The files of a split, and what their headers say.

use std::path::PathBuf;

use image::ImageFormat;

use super::super::error::loses_only_itself;
use super::super::header::{Fault, Header};
use super::super::picture::read_header;
use super::super::walk::{entries, walk};
use super::super::{DataError, Warning};
use super::layout::{Layout, Split};
use crate::base::threads;

/// GIFs are placeholders if fewer than one picture in this many is a GIF.
const PLACEHOLDERS: usize = 50;

/// The files of a split's class folders with their labels, sorted.
pub(super) fn list_split(
    layout: &Layout,
    split: &Split,
    classes: &[String],
    bad: &mut Vec<Warning>,
) -> Result<Vec<(PathBuf, u32)>, DataError> {
    let beside = entries(&split.folder)?;
    bad.extend(beside.dangling);
    for file in beside.files {
        bad.push(Warning::file(file, "lies beside the class folders"));
    }
    let mut files = Vec::new();
    for class in &split.classes {
        let label = classes.iter().position(|known| *known == class.name);
        let label = label.unwrap_or_default() as u32;
        match walk(&class.folder, Some(&layout.root)) {
            Ok(inside) => {
                bad.extend(inside.lost);
                bad.extend(inside.passed);
                files.extend(inside.files.into_iter().map(|file| (file, label)));
            }
            Err(DataError::Io { file, source }) if loses_only_itself(&source) => {
                bad.push(Warning::file(file, format!("cannot be read: {source}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The number of GIFs and of other pictures, if the GIFs are so few that they are placeholders.
pub(super) fn holds_placeholders(headers: &[Result<Header, String>]) -> Option<(usize, usize)> {
    let readable = || headers.iter().flatten();
    let gifs = readable().filter(|h| h.format == ImageFormat::Gif).count();
    let others = readable().count() - gifs;
    (gifs > 0 && gifs * PLACEHOLDERS < others).then_some((gifs, others))
}

/// Headers of `files`, in order, or why one of them cannot be used; read by a few threads, since on
/// a slow disk waiting is most of the work.
///
/// # Errors
/// The system failed: no files can be told from this.
pub(super) fn read_headers(
    files: &[(PathBuf, u32)],
) -> Result<Vec<Result<Header, String>>, DataError> {
    let read = |(): &mut (), (file, _): &(PathBuf, u32)| match read_header(file) {
        Ok(header) => Ok(Ok(header)),
        Err(Fault::Io(error)) if !loses_only_itself(&error) => Err(DataError::io(file, error)),
        Err(fault) => Ok(Err(fault.text())),
    };
    threads::map_with(files, threads::cores().clamp(2, 8), || (), read).into_iter().collect()
}
