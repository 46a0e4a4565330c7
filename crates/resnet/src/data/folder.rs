//! A folder a class, of pictures of any format that is read.
//!
//! The folder holds `train/` and a second split, such as `val/` or `test/` (`role` has the names),
//! each with a folder a class; or the class folders themselves, as a single split. Classes are the
//! folders of the training split, sorted by name, and the other splits are numbered by these. A
//! class may have folders inside, and links to folders elsewhere. Names that begin with a dot are
//! passed over.
//!
//! Opening reads the header of every file; pictures are decoded when they are asked for. Formats
//! are told by content. A few GIFs among many other pictures are taken for placeholders ("image not
//! found"), as web pages leave them behind, and are bad files.

mod layout;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{Class, Entries, Listed, Listing};
use super::error::loses_only_itself;
use super::pictures::{self, Kind};
use super::store::{Files, Place, Stamp, bytes_of};
use super::walk::{entries, walk};
use super::{DataError, Format, Warning};
use layout::{Layout, Split};

pub(super) const FORMAT: Format = Format {
    name: "folder",
    takes_folder: true,
    about: "a folder a class of pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM), in train/ and val/ or in a single split",
    sniff: |folder| entries(folder).is_ok_and(|entries| !entries.folders.is_empty()),
    open: |folder, options| pictures::open(&KIND, folder, options),
};

pub(super) const KIND: Kind = Kind {
    name: FORMAT.name,
    list,
    store: |source| Arc::new(Files::new(source.root, source.indexed)),
};

fn list(folder: &Path) -> Result<Listing, DataError> {
    let mut watched = Watched { root: folder, found: Vec::new() };
    watched.root()?;
    let mut layout = Layout::of(folder)?;
    let unused = std::mem::take(&mut layout.unused);
    let parts = layout
        .splits()
        .map(|split| list_split(&layout, split, &mut watched))
        .collect::<Result<_, DataError>>()?;
    Ok(Listing {
        root: folder.to_path_buf(),
        parts,
        watched: watched.found,
        unused,
        ..Listing::default()
    })
}

/// Folders whose content counts.
struct Watched<'a> {
    root: &'a Path,
    found: Vec<(PathBuf, Stamp)>,
}

impl Watched<'_> {
    fn root(&mut self) -> Result<(), DataError> {
        let stamp = Stamp::listing(self.root).map_err(|error| DataError::io(self.root, error))?;
        self.found.push((PathBuf::new(), stamp));
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> Result<(), DataError> {
        let stamp = Stamp::of(folder).map_err(|error| DataError::io(folder, error))?;
        self.found.push((under(self.root, folder), stamp));
        Ok(())
    }
}

/// A path from the data's folder on.
fn under(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_path_buf()
}

/// The files of a split's class folders.
fn list_split(layout: &Layout, split: &Split, watched: &mut Watched) -> Result<Listed, DataError> {
    if split.folder != layout.root {
        watched.add(&split.folder)?;
    }
    let beside = entries(&split.folder)?;
    let mut strays = beside.dangling;
    for file in beside.files {
        strays.push(Warning::file(file, "lies beside the class folders"));
    }
    let mut files = Entries::default();
    for (class, label) in split.classes.iter().zip(0..) {
        match walk(&class.folder, Some(&layout.root)) {
            Ok(inside) => {
                strays.extend(inside.lost);
                strays.extend(inside.passed);
                let folders = inside.folders.into_iter();
                watched.found.extend(folders.map(|(at, stamp)| (under(&layout.root, &at), stamp)));
                for file in inside.files {
                    let name = file.strip_prefix(&layout.root).unwrap_or(&file);
                    files.push(bytes_of(name), label, Place::default());
                }
            }
            Err(DataError::Io { file, source }) if loses_only_itself(&source) => {
                strays.push(Warning::file(file, format!("cannot be read: {source}")));
            }
            Err(error) => return Err(error),
        }
    }
    let class =
        |class: &layout::Class| Class { name: class.name.clone(), place: class.folder.clone() };
    Ok(Listed {
        role: split.role,
        name: split.name.clone(),
        place: split.folder.clone(),
        classes: split.classes.iter().map(class).collect(),
        entries: files,
        strays,
    })
}

#[cfg(test)]
mod tests;
