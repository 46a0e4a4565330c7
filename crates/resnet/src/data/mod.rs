//! Pictures with labels: where they come from, how they are prepared, how they reach the network in
//! batches.
//!
//! A [`Dataset`] gives one [`Image`] at a time; [`Preprocess`] and [`Augment`] say what is done to
//! it, [`Transform`] does it, [`Loader`] makes batches ahead of the trainer. [`open`] finds the
//! reader by the rows of [`FORMATS`]: a format is one file beside this one and one row there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::suggest::nearest;
use resnet_engine::graph::Shape;

mod augment;
mod builtin;
pub mod check;
mod cifar;
mod error;
mod folder;
mod header;
mod idx;
mod loader;
mod memory;
mod picture;
mod preprocess;
mod resize;
mod subset;
mod target;
#[cfg(test)]
pub(crate) mod testing;

pub use augment::{Augment, CROPS, RandomResizedCrop, Transform};
pub use cifar::CIFAR10_CLASSES;
pub use error::{DataError, Warning};
pub use loader::{Batch, Epoch, Loader, LoaderOptions, OnBroken};
pub use memory::Memory;
pub use picture::{MAX_PIXELS, decode_picture, read_picture};
pub use preprocess::{Normalize, Preprocess};
pub use subset::{Subset, split, with_classes};
pub use target::Targets;

/// One decoded picture: rows from the top, pixels from the left, a pixel's channels together (HWC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub pixels: Vec<u8>,
}

/// Labelled pictures, read by index from any thread.
pub trait Dataset: Send + Sync {
    /// Number of pictures; at most `u32::MAX`.
    fn len(&self) -> usize;

    /// Whether there are no pictures.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class names, by label.
    fn classes(&self) -> &[String];

    /// The label of picture `index`, below `classes().len()`.
    fn label(&self, index: usize) -> u32;

    /// What to call picture `index`: its file, or a text such as `test 17`.
    fn name(&self, index: usize) -> String;

    /// Decodes picture `index` into `image`, whose memory is used again.
    ///
    /// # Errors
    /// The picture's file is missing or broken; data held in memory never fails.
    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError>;

    /// The shape of every picture, if all have the same.
    fn shape(&self) -> Option<Shape>;

    /// Channels of every picture: 1 or 3.
    fn channels(&self) -> usize;
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn classes(&self) -> &[String] {
        (**self).classes()
    }

    fn label(&self, index: usize) -> u32 {
        (**self).label(index)
    }

    fn name(&self, index: usize) -> String {
        (**self).name(index)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        (**self).read(index, image)
    }

    fn shape(&self) -> Option<Shape> {
        (**self).shape()
    }

    fn channels(&self) -> usize {
        (**self).channels()
    }
}

/// The parts of some data.
#[derive(Clone)]
pub struct Splits {
    /// What a network learns from. Class numbers are this split's.
    pub train: Arc<dyn Dataset>,
    /// A third split for choices made while training, if the data has three; see `test`.
    pub val: Option<Arc<dyn Dataset>>,
    /// What results are reported on: the official test pictures, or a folder's `test/` or, without
    /// one, its `val/`.
    pub test: Option<Arc<dyn Dataset>>,
    /// What the data calls `test`: `test`, `val`, ...
    pub test_name: String,
    /// What was skipped, what looks wrong.
    pub warnings: Vec<Warning>,
}

/// What to do about files that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadFiles {
    /// Leave them out, with a warning each.
    #[default]
    Skip,
    /// Fail, naming them.
    Refuse,
}

/// How to open data.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// What to do about stray and broken files.
    pub bad_files: BadFiles,
}

/// A kind of data: how it is named, recognised and opened.
pub struct Format {
    /// What stands before the colon, or alone if there is no folder to name.
    pub name: &'static str,
    /// Whether a folder follows the name.
    pub takes_folder: bool,
    /// One line for lists and help.
    pub about: &'static str,
    /// Whether a folder looks like this kind, by its entries' names alone.
    pub sniff: fn(&Path) -> bool,
    /// Opens it; the folder is empty text where none is taken.
    pub open: fn(&Path, &OpenOptions) -> Result<Splits, DataError>,
}

/// Every kind of data. A folder given without a name is of the first kind that recognises it.
pub const FORMATS: &[Format] =
    &[builtin::FORMAT, cifar::CIFAR10, cifar::CIFAR100, idx::FORMAT, folder::FORMAT];

/// Opens the data that `source` names: `builtin`, `NAME:DIR` with a name of [`FORMATS`], or a DIR
/// whose kind is recognised.
///
/// # Errors
/// The name or folder is unknown, a file is missing, cut off or of another kind, no pictures are
/// left, or all are of one class. Nothing larger than the data itself is allocated, whatever its
/// headers say.
pub fn open(source: &str, options: &OpenOptions) -> Result<Splits, DataError> {
    let (format, folder) = find(source)?;
    let splits = (format.open)(&folder, options)?;
    check_classes(source, splits.train.as_ref())?;
    Ok(splits)
}

fn find(source: &str) -> Result<(&'static Format, PathBuf), DataError> {
    let unknown = |hint: String| Err(DataError::Source { given: source.to_string(), hint });
    let (name, folder) = source.split_once(':').unwrap_or((source, ""));
    if let Some(format) = FORMATS.iter().find(|format| format.name == name) {
        return match (format.takes_folder, folder.is_empty()) {
            (true, true) if !source.contains(':') && Path::new(source).is_dir() => {
                recognise(source)
            }
            (true, true) => unknown(format!("name the folder too, as {name}:DIR")),
            (false, false) => unknown(format!("`{name}` takes no folder; write `{name}` alone")),
            _ => Ok((format, existing_folder(folder, format.takes_folder)?)),
        };
    }
    if Path::new(source).exists() {
        return recognise(source);
    }
    let nearest = nearest(name, FORMATS.iter().map(|format| format.name));
    match nearest {
        Some(known) if FORMATS.iter().any(|f| f.name == known && f.takes_folder) => {
            let folder = if folder.is_empty() { "DIR" } else { folder };
            unknown(format!("did you mean `{known}:{folder}`?"))
        }
        Some(known) => unknown(format!("did you mean `{known}`?")),
        None => unknown(format!("no such folder; {}", may_be_written())),
    }
}

fn recognise(source: &str) -> Result<(&'static Format, PathBuf), DataError> {
    let folder = existing_folder(source, true)?;
    match FORMATS.iter().find(|format| (format.sniff)(&folder)) {
        Some(format) => Ok((format, folder)),
        None => Err(DataError::content(
            &folder,
            "data of a known kind",
            describe(&folder),
            may_be_written(),
        )),
    }
}

fn existing_folder(text: &str, needed: bool) -> Result<PathBuf, DataError> {
    let folder = PathBuf::from(text);
    if !needed || folder.is_dir() {
        return Ok(folder);
    }
    Err(match folder.metadata() {
        Ok(_) => DataError::content(
            &folder,
            "a folder",
            "a file",
            "unpack an archive first, and name the folder that holds the files",
        ),
        Err(error) => DataError::io(folder, error),
    })
}

fn may_be_written() -> String {
    let names: Vec<String> = FORMATS
        .iter()
        .map(|format| match format.takes_folder {
            true => format!("{}:DIR", format.name),
            false => format.name.to_string(),
        })
        .collect();
    format!("data is one of {}", names.join(", "))
}

/// Checks that there is something to tell apart.
pub(crate) fn check_classes(source: &str, train: &dyn Dataset) -> Result<(), DataError> {
    if train.is_empty() {
        return Err(DataError::Loader(format!("{source}: there are no pictures")));
    }
    let first = train.label(0);
    if (1..train.len()).any(|index| train.label(index) != first) {
        return Ok(());
    }
    Err(DataError::OneClass {
        data: source.to_string(),
        class: train.classes()[first as usize].clone(),
        count: train.len(),
    })
}

/// What a folder holds, for an error: its first few entries.
fn describe(folder: &Path) -> String {
    let Ok(entries) = folder.read_dir() else {
        return "nothing readable".to_string();
    };
    let mut names: Vec<String> = entries
        .take(1000) // enough for a message, whatever the folder
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    match names.len() {
        0 => "an empty folder".to_string(),
        1..=4 => names.join(", "),
        _ => format!("{}, ...", names[..4].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::TempDir;
    use super::*;

    fn message(source: &str) -> String {
        match open(source, &OpenOptions::default()) {
            Ok(_) => panic!("{source} was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn wrong_sources_are_answered_with_what_to_try() {
        assert_eq!(message("buildin"), "unknown data `buildin`: did you mean `builtin`?");
        assert!(message("cifra10:/x").ends_with("did you mean `cifar10:/x`?"));
        assert!(message("cifar10").ends_with("name the folder too, as cifar10:DIR"));
        assert!(message("mnist:").ends_with("name the folder too, as mnist:DIR"));
        assert!(message("builtin:x").ends_with("write `builtin` alone"));
        assert!(
            message("no-such-thing-at-all")
                .contains("data is one of builtin, cifar10:DIR, cifar100:DIR")
        );
        assert!(message("folder:/no/such/folder").starts_with("/no/such/folder: cannot be read:"));
        assert!(message("").contains("data is one of"));
    }

    #[test]
    fn a_bare_folder_must_be_recognised() {
        let dir = TempDir::new("bare");
        assert!(message(dir.text()).contains("found an empty folder"));
        dir.write("notes.txt", b"x");
        assert!(message(dir.text()).contains("expected data of a known kind, found notes.txt"));
        let file = dir.path().join("notes.txt");
        assert!(message(file.to_str().unwrap()).contains("expected a folder, found a file"));
    }
}
