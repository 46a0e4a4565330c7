//! A folder a class, of pictures of any format that is read.
//!
//! The folder holds `train/` and a second split (`val/`, `valid/`, `validation/` or `test/`), each
//! with a folder a class; or the class folders themselves, as a single split. Classes are the
//! folders of the training split, sorted by name, and the other splits are numbered by these. A
//! class may have folders inside. Names that begin with a dot are passed over.
//!
//! Opening reads the header of every file; pictures are decoded when they are asked for. Formats
//! are told by content. A few GIFs among many other pictures are taken for placeholders ("image not
//! found"), as web pages leave them behind, and are bad files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ImageFormat;

use super::header::Header;
use super::picture::{read_header, read_picture};
use super::{BadFiles, DataError, Dataset, Format, Image, OpenOptions, Splits, Warning, describe};
use crate::base::suggest::nearest;
use resnet_engine::graph::Shape;

pub(super) const FORMAT: Format = Format {
    name: "folder",
    takes_folder: true,
    about: "a folder a class of pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM), in train/ and val/ or in a single split",
    sniff: |folder| list(folder).is_ok_and(|entries| !entries.folders.is_empty()),
    open,
};

/// Names of the split that choices are made on, in order of preference.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];
/// GIFs are placeholders if fewer than one picture in this many is a GIF.
const PLACEHOLDERS: usize = 50;
/// Folders inside folders of a class.
const MAX_DEPTH: usize = 32;

/// One split.
struct Folder {
    classes: Arc<[String]>,
    /// Sorted by class, then by path, so that nothing depends on the order of the file system.
    files: Vec<(PathBuf, u32)>,
    shape: Option<Shape>,
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
        self.files[index].0.display().to_string()
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        read_picture(&self.files[index].0, image)
    }

    fn shape(&self) -> Option<Shape> {
        self.shape
    }

    fn channels(&self) -> usize {
        3
    }
}

/// What lies in a split, usable or not.
pub(super) struct Survey {
    /// Its name; `all` for data with one.
    pub(super) split: String,
    /// Its class folders.
    pub(super) classes: Vec<String>,
    pub(super) files: Vec<Found>,
    /// Files and folders that are passed over, and why.
    pub(super) strays: Vec<Bad>,
}

/// A file in a class folder.
pub(super) struct Found {
    pub(super) file: PathBuf,
    /// Index of its class.
    pub(super) class: usize,
    /// Its width and height, and whether it is taken for a placeholder; or why it cannot be used.
    pub(super) header: Result<((usize, usize), bool), String>,
}

/// Lists every split, the training pictures first, without refusing any of it.
pub(super) fn survey(folder: &Path) -> Result<Vec<Survey>, DataError> {
    let splits = ["train"].into_iter().chain(VALIDATION).chain(["test"]);
    let mut places: Vec<(String, PathBuf)> = splits
        .map(|name| (name.to_string(), folder.join(name)))
        .filter(|(_, place)| place.is_dir())
        .collect();
    if places.first().is_none_or(|(name, _)| name != "train") {
        places = vec![("all".to_string(), folder.to_path_buf())];
    }
    let survey = |(split, place): (String, PathBuf)| {
        let classes = class_names(&place, folder)?;
        let mut strays = Vec::new();
        let files = list_split(&place, &classes, &classes, &mut strays)?;
        let headers = read_headers(&files);
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
            split,
            classes: classes.to_vec(),
            files: files.into_iter().zip(headers).map(found).collect(),
            strays,
        })
    };
    places.into_iter().map(survey).collect()
}

fn open(folder: &Path, options: &OpenOptions) -> Result<Splits, DataError> {
    let has = |name: &str| folder.join(name).is_dir();
    let val = VALIDATION.into_iter().find(|name| has(name));
    let test = has("test").then_some("test");
    if has("train") {
        return open_splits(folder, val, test, options);
    }
    if let Some(split) = val.or(test).filter(|split| holds_folders(&folder.join(split))) {
        return Err(DataError::content(
            folder,
            format!("train/ beside {split}/"),
            describe(folder),
            "labels are numbered by train/; to use one split alone, name its folder",
        ));
    }
    let classes = class_names(folder, folder)?;
    // `Train/` and `Val/` would pass for two classes.
    let mut splits = ["train", "test"].into_iter().chain(VALIDATION);
    if let Some(split) = splits.find(|split| classes.iter().any(|c| c.to_lowercase() == *split)) {
        return Err(DataError::content(
            folder,
            format!("{split}/ in lower case, or classes of other names"),
            describe(folder),
            "rename the folder",
        ));
    }
    let mut bad = Vec::new();
    let train = scan_training(folder, &classes, &mut bad)?;
    let mut warnings = Vec::new();
    report_bad(bad, options, &mut warnings)?;
    Ok(Splits {
        train: Arc::new(train),
        val: None,
        test: None,
        test_name: "test".to_string(),
        warnings,
    })
}

fn open_splits(
    folder: &Path,
    val: Option<&str>,
    test: Option<&str>,
    options: &OpenOptions,
) -> Result<Splits, DataError> {
    let train = folder.join("train");
    let classes = class_names(&train, folder)?;
    let mut bad = Vec::new();
    let mut warnings = Vec::new();
    let train = scan_training(&train, &classes, &mut bad)?;
    let mut scan_other = |name: Option<&str>| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(name) = name else { return Ok(None) };
        let split = folder.join(name);
        let found = class_names(&split, folder)?;
        check_known(&split, &found, &classes)?;
        let data = scan(&split, &found, &classes, &mut bad)?;
        if data.files.is_empty() {
            return Err(empty(&split, &bad));
        }
        for (label, class) in classes.iter().enumerate() {
            if !data.holds(label) {
                let message = format!("has no pictures of class `{class}`, which is in train/");
                warnings.push(Warning::file(&split, message));
            }
        }
        Ok(Some(Arc::new(data)))
    };
    let (val_data, test_data) = (scan_other(val)?, scan_other(test)?);
    for name in
        VALIDATION.into_iter().filter(|&name| Some(name) != val && folder.join(name).is_dir())
    {
        let message = format!("is not used, as there is {}/ too", val.unwrap_or_default());
        warnings.push(Warning::file(folder.join(name), message));
    }
    report_bad(bad, options, &mut warnings)?;
    let (val_data, test_data, test_name) = match test {
        Some(name) => (val_data, test_data, name),
        None => (None, val_data, val.unwrap_or("test")),
    };
    Ok(Splits {
        train: Arc::new(train),
        val: val_data,
        test: test_data,
        test_name: test_name.to_string(),
        warnings,
    })
}

/// Files that cannot be used become warnings, or an error if none may be left out.
fn report_bad(
    bad: Vec<Bad>,
    options: &OpenOptions,
    warnings: &mut Vec<Warning>,
) -> Result<(), DataError> {
    match options.bad_files {
        BadFiles::Refuse if !bad.is_empty() => {
            let shown: Vec<String> = bad
                .iter()
                .take(5)
                .map(|(file, reason)| format!("{} {reason}", file.display()))
                .collect();
            let more = if bad.len() > 5 { "; ..." } else { "" };
            Err(DataError::BadFiles {
                count: bad.len(),
                list: format!("{}{more}", shown.join("; ")),
            })
        }
        _ => {
            let skipped = bad
                .into_iter()
                .map(|(file, reason)| Warning::file(file, format!("{reason}; skipped")));
            warnings.extend(skipped);
            Ok(())
        }
    }
}

/// A file and the reason why it cannot be used.
pub(super) type Bad = (PathBuf, String);

impl Folder {
    fn holds(&self, label: usize) -> bool {
        let label = label as u32;
        self.files.binary_search_by_key(&label, |&(_, label)| label).is_ok()
    }
}

/// What a folder holds, sorted, without names that begin with a dot.
#[derive(Default)]
struct Entries {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

fn list(folder: &Path) -> Result<Entries, DataError> {
    let failed = |error| DataError::io(folder, error);
    let mut entries = Entries::default();
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match path.is_dir() {
            true => entries.folders.push(path),
            false => entries.files.push(path),
        }
    }
    entries.folders.sort_unstable();
    entries.files.sort_unstable();
    Ok(entries)
}

fn holds_folders(folder: &Path) -> bool {
    list(folder).is_ok_and(|entries| !entries.folders.is_empty())
}

/// The names of a split's class folders.
fn class_names(split: &Path, root: &Path) -> Result<Arc<[String]>, DataError> {
    let folders = list(split)?.folders;
    if folders.is_empty() {
        return Err(DataError::content(
            split,
            "a folder for each class",
            describe(split),
            "put the pictures of each class into a folder with the class's name",
        ));
    }
    if let [only] = folders.as_slice()
        && split == root
        && only.join("train").is_dir()
    {
        return Err(DataError::content(
            split,
            "train/ or class folders",
            format!("{}, which has train/", only.display()),
            "name that folder",
        ));
    }
    let name = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        name.to_str().map(String::from).ok_or_else(|| {
            let found = name.to_string_lossy();
            DataError::content(folder, "a class name in UTF-8", found, "rename the folder")
        })
    };
    folders.iter().map(name).collect()
}

fn check_known(split: &Path, found: &[String], classes: &[String]) -> Result<(), DataError> {
    let Some(class) = found.iter().find(|class| !classes.contains(class)) else {
        return Ok(());
    };
    let hint = match nearest(class, classes.iter().map(String::as_str)) {
        Some(near) => format!("rename it, if `{near}` is meant"),
        None => "add training pictures of it, or remove the folder".to_string(),
    };
    Err(DataError::UnknownClass {
        place: split.display().to_string().into(),
        class: class.as_str().into(),
        known: classes.len(),
        of: "train/".into(),
        hint: hint.into(),
    })
}

/// Reads the headers of a split's files; `found` are its class folders, `classes` those that number
/// the labels.
fn scan(
    split: &Path,
    found: &[String],
    classes: &Arc<[String]>,
    bad: &mut Vec<Bad>,
) -> Result<Folder, DataError> {
    let files = list_split(split, found, classes, bad)?;
    let headers = read_headers(&files);
    let placeholders = holds_placeholders(&headers);
    let mut size = None;
    let mut same_size = true;
    let mut kept = Vec::with_capacity(files.len());
    for ((file, label), header) in files.into_iter().zip(headers) {
        let reason = match (header, placeholders) {
            (Err(reason), _) => reason,
            (Ok(header), Some((gifs, others))) if header.format == ImageFormat::Gif => {
                format!(
                    "is a GIF, one of {gifs} among {others} other pictures, so it is taken for a placeholder; convert it to PNG to use it"
                )
            }
            (Ok(Header { width, height, may_turn, .. }), _) => {
                same_size &= *size.get_or_insert((width, height)) == (width, height)
                    && !(may_turn && width != height);
                kept.push((file, label));
                continue;
            }
        };
        bad.push((file, reason));
    }
    let shape = size.filter(|_| same_size);
    Ok(Folder {
        classes: classes.clone(),
        files: kept,
        shape: shape.map(|(width, height)| Shape::new(3, height as usize, width as usize)),
    })
}

/// The files of a split's class folders with their labels, sorted.
fn list_split(
    split: &Path,
    found: &[String],
    classes: &[String],
    bad: &mut Vec<Bad>,
) -> Result<Vec<(PathBuf, u32)>, DataError> {
    for file in list(split)?.files {
        bad.push((file, "lies beside the class folders".to_string()));
    }
    let mut files = Vec::new();
    for class in found {
        let label = classes.iter().position(|known| known == class).unwrap_or_default() as u32;
        let mut inside = Vec::new();
        walk(&split.join(class), 0, &mut inside, bad)?;
        inside.sort_unstable();
        files.extend(inside.into_iter().map(|file| (file, label)));
    }
    Ok(files)
}

/// The number of GIFs and of other pictures, if the GIFs are so few that they are placeholders.
fn holds_placeholders(headers: &[Result<Header, String>]) -> Option<(usize, usize)> {
    let readable = || headers.iter().flatten();
    let gifs = readable().filter(|h| h.format == ImageFormat::Gif).count();
    let others = readable().count() - gifs;
    (gifs > 0 && gifs * PLACEHOLDERS < others).then_some((gifs, others))
}

/// The training split: each of its classes must have a picture.
fn scan_training(
    split: &Path,
    classes: &Arc<[String]>,
    bad: &mut Vec<Bad>,
) -> Result<Folder, DataError> {
    let folder = scan(split, classes, classes, bad)?;
    match classes.iter().enumerate().find(|&(label, _)| !folder.holds(label)) {
        Some((_, class)) => Err(empty(&split.join(class), bad)),
        None => Ok(folder),
    }
}

fn empty(folder: &Path, bad: &[Bad]) -> DataError {
    let found = match bad.iter().find(|(file, _)| file.starts_with(folder)) {
        Some((file, reason)) => {
            format!("only files that cannot be used ({} {reason})", file.display())
        }
        None => describe(folder),
    };
    DataError::content(folder, "pictures", found, "add pictures, or remove the folder")
}

fn walk(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    bad: &mut Vec<Bad>,
) -> Result<(), DataError> {
    let entries = list(folder)?;
    files.extend(entries.files);
    for inside in entries.folders {
        // A link may lead back up; the walk would not end.
        let link = fs::symlink_metadata(&inside).is_ok_and(|metadata| metadata.is_symlink());
        if link || depth == MAX_DEPTH {
            let reason = if link { "is a link to a folder" } else { "lies too deep" };
            bad.push((inside, reason.to_string()));
        } else {
            walk(&inside, depth + 1, files, bad)?;
        }
    }
    Ok(())
}

/// Headers of `files`, in order, read by a few threads: on a slow disk, waiting is most of the
/// work.
fn read_headers(files: &[(PathBuf, u32)]) -> Vec<Result<Header, String>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(2, 8);
    let part = files.len().div_ceil(threads).max(64);
    std::thread::scope(|scope| {
        let read = |part: &[(PathBuf, u32)]| -> Vec<_> {
            part.iter().map(|(file, _)| read_header(file)).collect()
        };
        let parts: Vec<_> =
            files.chunks(part).map(|part| scope.spawn(move || read(part))).collect();
        let joined = parts.into_iter().map(|part| part.join());
        joined
            .flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests;
