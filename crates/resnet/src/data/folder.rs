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
mod scan;
mod sizes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ImageFormat;

use super::header::Header;
use super::picture::{read_picture, read_picture_part};
use super::walk::entries;
use super::{
    Area, BadFiles, DataError, Dataset, Format, Image, OpenOptions, Part, Splits, Warning, describe,
};
use crate::base::suggest::nearest;
use crate::base::text;
use layout::{Class, Layout, Split};
use resnet_engine::graph::Shape;
use scan::{holds_placeholders, list_split, read_headers};
use sizes::Sizes;

pub(super) const FORMAT: Format = Format {
    name: "folder",
    takes_folder: true,
    about: "a folder a class of pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM), in train/ and val/ or in a single split",
    sniff: |folder| entries(folder).is_ok_and(|entries| !entries.folders.is_empty()),
    open,
};

/// One split.
struct Folder {
    classes: Arc<[String]>,
    /// Sorted by class, then by path, so that nothing depends on the order of the file system.
    files: Vec<(PathBuf, u32)>,
    sizes: Sizes,
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.files[index].1
    }

    fn name(&self, index: usize) -> String {
        text::path(&self.files[index].0).to_string()
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        read_picture(&self.files[index].0, image)
    }

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, DataError> {
        read_picture_part(&self.files[index].0, wanted, image)
    }

    fn shape(&self) -> Option<Shape> {
        self.sizes.shape()
    }

    fn sizes(&self) -> Option<String> {
        self.sizes.range()
    }

    fn channels(&self) -> usize {
        3
    }
}

/// What lies in some data, usable or not.
pub(super) struct Surveyed {
    /// The splits, training first.
    pub(super) splits: Vec<Survey>,
    /// Folders that are no part of it, and why.
    pub(super) unused: Vec<Warning>,
}

/// What lies in a split.
pub(super) struct Survey {
    /// Its name; `all` for data with one.
    pub(super) split: String,
    /// Its class folders.
    pub(super) classes: Vec<String>,
    pub(super) files: Vec<Found>,
    /// Files and folders that are passed over, and why.
    pub(super) strays: Vec<Warning>,
}

/// A file in a class folder.
pub(super) struct Found {
    pub(super) file: PathBuf,
    /// Index of its class.
    pub(super) class: usize,
    /// Its width and height, and whether it is taken for a placeholder; or why it cannot be used.
    pub(super) header: Result<((usize, usize), bool), String>,
}

/// Lists every split that [`open`] uses, without refusing any picture.
pub(super) fn survey(folder: &Path) -> Result<Surveyed, DataError> {
    let layout = Layout::of(folder)?;
    let survey = |split: &Split| {
        let classes = names(&split.classes);
        let mut strays = Vec::new();
        let files = list_split(&layout, split, &classes, &mut strays)?;
        let headers = read_headers(&files)?;
        let placeholders = holds_placeholders(&headers);
        let found = |((file, class), header): ((PathBuf, u32), Result<Header, String>)| Found {
            file,
            class: class as usize,
            header: header.map(|h| {
                let size = (h.width as usize, h.height as usize);
                (size, h.format == ImageFormat::Gif && placeholders.is_some())
            }),
        };
        Ok(Survey {
            split: if split.name.is_empty() { "all".into() } else { split.name.clone() },
            classes: classes.to_vec(),
            files: files.into_iter().zip(headers).map(found).collect(),
            strays,
        })
    };
    let splits = layout.splits().map(survey).collect::<Result<_, DataError>>()?;
    Ok(Surveyed { splits, unused: layout.unused })
}

fn open(folder: &Path, options: &OpenOptions) -> Result<Splits, DataError> {
    let mut layout = Layout::of(folder)?;
    let classes = names(&layout.train.classes);
    let (mut bad, mut warnings) = (Vec::new(), std::mem::take(&mut layout.unused));
    let train = scan_training(&layout, &classes, &mut bad)?;
    warnings.extend(train.sizes.warning(&layout.train.folder, None));
    let mut other = |split: &Option<Split>| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(split) = split else { return Ok(None) };
        check_known(split, &layout.train, &classes)?;
        let data = scan(&layout, split, &classes, &mut bad)?;
        if data.files.is_empty() {
            return Err(empty(&split.folder, &bad));
        }
        for (label, class) in classes.iter().enumerate() {
            if !data.holds(label) {
                let train = &layout.train.name;
                let message = format!("has no pictures of class `{class}`, which is in {train}/");
                warnings.push(Warning::file(&split.folder, message));
            }
        }
        warnings.extend(data.sizes.warning(&split.folder, Some(&train.sizes)));
        Ok(Some(Arc::new(data)))
    };
    let (val, test) = (other(&layout.val)?, other(&layout.test)?);
    report_bad(bad, options, &mut warnings)?;
    let name = |split: &Option<Split>| split.as_ref().map(|split| split.name.clone());
    let (val, test, test_name) = match test {
        Some(_) => (val, test, name(&layout.test)),
        None => (None, val, name(&layout.val)),
    };
    let test_name = test_name.unwrap_or_else(|| "test".to_string());
    Ok(Splits { train: Arc::new(train), val, test, test_name, warnings })
}

fn names(classes: &[Class]) -> Arc<[String]> {
    classes.iter().map(|class| class.name.clone()).collect()
}

/// Files that cannot be used become warnings, or an error if none may be left out.
fn report_bad(
    bad: Vec<Warning>,
    options: &OpenOptions,
    warnings: &mut Vec<Warning>,
) -> Result<(), DataError> {
    match options.bad_files {
        BadFiles::Refuse if !bad.is_empty() => {
            let shown = bad.iter().take(5).map(|Warning { file, message }| match file {
                Some(file) => format!("{} {message}", text::path(file)),
                None => message.clone(),
            });
            let more = if bad.len() > 5 { "; ..." } else { "" };
            let list = format!("{}{more}", shown.collect::<Vec<_>>().join("; "));
            Err(DataError::BadFiles { count: bad.len(), list })
        }
        _ => {
            warnings.extend(bad.into_iter().map(|Warning { file, message }| Warning {
                file,
                message: format!("{message}; skipped"),
            }));
            Ok(())
        }
    }
}

impl Folder {
    fn holds(&self, label: usize) -> bool {
        let label = label as u32;
        self.files.binary_search_by_key(&label, |&(_, label)| label).is_ok()
    }
}

fn check_known(split: &Split, train: &Split, classes: &[String]) -> Result<(), DataError> {
    let mut found = split.classes.iter().map(|class| &class.name);
    let Some(class) = found.find(|class| !classes.contains(class)) else {
        return Ok(());
    };
    let hint = match nearest(class, classes.iter().map(String::as_str)) {
        Some(near) => format!("rename it, if `{near}` is meant"),
        None => "add training pictures of it, or remove the folder".to_string(),
    };
    Err(DataError::UnknownClass {
        place: text::path(&split.folder).to_string().into(),
        class: class.as_str().into(),
        known: classes.len(),
        of: format!("{}/", train.name).into(),
        hint: hint.into(),
    })
}

/// Reads the headers of a split's files; `classes` number the labels.
fn scan(
    layout: &Layout,
    split: &Split,
    classes: &Arc<[String]>,
    bad: &mut Vec<Warning>,
) -> Result<Folder, DataError> {
    let files = list_split(layout, split, classes, bad)?;
    let headers = read_headers(&files)?;
    let placeholders = holds_placeholders(&headers);
    let mut sizes = Sizes::default();
    let mut kept = Vec::with_capacity(files.len());
    for ((file, label), header) in files.into_iter().zip(headers) {
        let reason = match (header, placeholders) {
            (Err(reason), _) => reason,
            (Ok(header), Some((gifs, others))) if header.format == ImageFormat::Gif => {
                format!(
                    "is a GIF, one of {gifs} among {others} other pictures, so it is taken for a placeholder; convert it to PNG to use it"
                )
            }
            (Ok(header), _) => {
                sizes.add(&header);
                kept.push((file, label));
                continue;
            }
        };
        bad.push(Warning::file(file, reason));
    }
    Ok(Folder { classes: classes.clone(), files: kept, sizes })
}

/// The training split: each of its classes must have a picture.
fn scan_training(
    layout: &Layout,
    classes: &Arc<[String]>,
    bad: &mut Vec<Warning>,
) -> Result<Folder, DataError> {
    let folder = scan(layout, &layout.train, classes, bad)?;
    let of_label = layout.train.classes.iter().enumerate();
    match of_label.into_iter().find(|&(label, _)| !folder.holds(label)) {
        Some((_, class)) => Err(empty(&class.folder, bad)),
        None => Ok(folder),
    }
}

fn empty(folder: &Path, bad: &[Warning]) -> DataError {
    let of_folder =
        |warning: &&Warning| warning.file.as_ref().is_some_and(|file| file.starts_with(folder));
    let found = match bad.iter().find(of_folder) {
        Some(Warning { file: Some(file), message }) => {
            format!("only files that cannot be used ({} {message})", text::path(file))
        }
        _ => describe(folder),
    };
    DataError::content(folder, "pictures", found, "add pictures, or remove the folder")
}

#[cfg(test)]
mod tests;
