//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in their binary version and in that for Python,
//! unpacked or in the official archives.
//!
//! A binary record is its label bytes (CIFAR-10: the class; CIFAR-100: the coarse class, then the
//! fine one, which is used), then the red, green and blue planes of 32 x 32 pixels. Files have
//! their official names and sizes; the folder may also be the one above, as the archives unpack.
//! The version for Python holds the same planes in pickles, of which nothing is executed.

mod archive;
mod pickle;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DataError, Format, Memory, OpenOptions, Splits, class_names, describe};
use resnet_engine::graph::Shape;

pub(super) const CIFAR10: Format = Format {
    name: "cifar10",
    takes_folder: true,
    about: "CIFAR-10: the folder of its binary or Python version, or the archive of one",
    sniff: |place| TEN.find(place).is_some(),
    open: |folder, _: &OpenOptions| open(&TEN, folder),
};

pub(super) const CIFAR100: Format = Format {
    name: "cifar100",
    takes_folder: true,
    about: "CIFAR-100: the folder of its binary or Python version, or the archive of one; the 100 fine classes",
    sniff: |place| HUNDRED.find(place).is_some(),
    open: |folder, _: &OpenOptions| open(&HUNDRED, folder),
};

const SHAPE: Shape = Shape::new(3, 32, 32);

/// What tells the two sets apart.
struct Layout {
    /// Each file of training records with its number of records.
    train: &'static [(&'static str, usize)],
    test: (&'static str, usize),
    /// Label bytes before the planes; the last one is used.
    label_bytes: usize,
    classes: &'static [&'static str],
    /// The file with the class names, if it is there.
    names: &'static str,
    /// The folders in the official archives: of the binary version, and of that for Python.
    archives: [&'static str; 2],
    /// A file that only the version for Python has.
    python: &'static str,
    /// What its labels are called there.
    key: &'static str,
}

/// CIFAR-10's classes, by label.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const TEN: Layout = Layout {
    train: &[
        ("data_batch_1.bin", 10_000),
        ("data_batch_2.bin", 10_000),
        ("data_batch_3.bin", 10_000),
        ("data_batch_4.bin", 10_000),
        ("data_batch_5.bin", 10_000),
    ],
    test: ("test_batch.bin", 10_000),
    label_bytes: 1,
    classes: &CIFAR10_CLASSES,
    names: "batches.meta.txt",
    archives: ["cifar-10-batches-bin", "cifar-10-batches-py"],
    python: "batches.meta",
    key: "labels",
};

const HUNDRED: Layout = Layout {
    train: &[("train.bin", 50_000)],
    test: ("test.bin", 10_000),
    label_bytes: 2,
    classes: &FINE,
    names: "fine_label_names.txt",
    archives: ["cifar-100-binary", "cifar-100-python"],
    python: "meta",
    key: "fine_labels",
};

#[rustfmt::skip]
const FINE: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

impl Layout {
    fn record(&self) -> usize {
        self.label_bytes + SHAPE.len()
    }

    /// What holds the files: the place itself, an archive's folder inside it, or an archive.
    fn find(&self, given: &Path) -> Option<Held> {
        if given.is_file() {
            let first = archive::first(given)?;
            let folder = first.trim_start_matches("./").split('/').next()?;
            let at = self.archives.iter().position(|known| *known == folder)?;
            let version = [Version::Binary, Version::Python][at];
            return Some(Held { place: given.to_path_buf(), version, files: None });
        }
        let version_of = |folder: &Path| {
            let mut files = self.train.iter().chain([&self.test]);
            let has = |name: &str| folder.join(name).is_file();
            if files.any(|(name, _)| has(name)) {
                return Some(Version::Binary);
            }
            (has(self.python) && has(plain(self.train[0].0))).then_some(Version::Python)
        };
        let inside = self.archives.iter().map(|name| given.join(name));
        std::iter::once(given.to_path_buf()).chain(inside).find_map(|place| {
            let version = version_of(&place)?;
            Some(Held { place, version, files: None })
        })
    }
}

/// A file's name in the version for Python.
fn plain(name: &str) -> &str {
    name.strip_suffix(".bin").unwrap_or(name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Binary,
    Python,
}

/// Where the files are.
struct Held {
    place: PathBuf,
    version: Version,
    /// The content of an archive.
    files: Option<HashMap<String, Vec<u8>>>,
}

impl Held {
    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    fn has(&self, name: &str) -> bool {
        match &self.files {
            Some(files) => files.contains_key(name),
            None => self.path(name).is_file(),
        }
    }

    /// The bytes of a file, at most `most`.
    fn bytes(&self, name: &str, most: u64) -> Result<Cow<'_, [u8]>, DataError> {
        let file = self.path(name);
        match &self.files {
            Some(files) => match files.get(name) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Err(DataError::io(file, ErrorKind::NotFound.into())),
            },
            None => {
                let opened = File::open(&file).map_err(|error| DataError::io(&file, error))?;
                let mut bytes = Vec::new();
                let read = opened.take(most + 1).read_to_end(&mut bytes);
                read.map_err(|error| DataError::io(&file, error))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Refuses a file of the binary version that is not as long as its records.
    fn check_length(&self, name: &str, wanted: u64, count: usize) -> Result<(), DataError> {
        match self.files.as_ref().and_then(|files| files.get(name)) {
            Some(bytes) => same_length(&self.path(name), bytes.len() as u64, wanted, count),
            None if self.files.is_some() => {
                let hint = "fetch the archive again";
                Err(DataError::content(&self.place, format!("{name} in it"), "none", hint))
            }
            None => check_length(&self.path(name), wanted, count),
        }
    }
}

fn open(layout: &Layout, given: &Path) -> Result<Splits, DataError> {
    let Some(mut held) = layout.find(given) else {
        let expected = format!("{} and its companions", layout.train[0].0);
        let found = if given.is_dir() { describe(given) } else { "another file".into() };
        let hint = "name the folder that holds the files, or an official archive";
        return Err(DataError::content(given, expected, found, hint));
    };
    if held.place.is_file() {
        let names = layout.train.iter().chain([&layout.test]).map(|(name, _)| *name);
        let names: Vec<&str> = names.flat_map(|name| [name, plain(name)]).collect();
        let wanted = |name: &str| names.contains(&name) || name == layout.names;
        held.files = Some(archive::files(&held.place, &wanted)?);
    }
    let classes = class_names(layout, &held)?;
    let train = read(layout, &held, "train", layout.train, &classes)?;
    let test = read(layout, &held, "test", &[layout.test], &classes)?;
    Ok(Splits {
        train: Arc::new(train),
        val: None,
        test: Some(Arc::new(test)),
        test_name: "test".to_string(),
        warnings: Vec::new(),
    })
}

fn class_names(layout: &Layout, held: &Held) -> Result<Vec<String>, DataError> {
    if !held.has(layout.names) {
        return Ok(layout.classes.iter().map(|&name| name.to_string()).collect());
    }
    let file = held.path(layout.names);
    let names = class_names::parse(&file, &held.bytes(layout.names, class_names::MOST)?)?;
    if names.len() != layout.classes.len() {
        return Err(DataError::content(
            &file,
            format!("{} class names", layout.classes.len()),
            names.len().to_string(),
            "fetch the file again, or remove it to have the official names",
        ));
    }
    Ok(names)
}

fn read(
    layout: &Layout,
    held: &Held,
    name: &str,
    files: &[(&str, usize)],
    classes: &[String],
) -> Result<Memory, DataError> {
    let count: usize = files.iter().map(|&(_, count)| count).sum();
    if held.version == Version::Binary {
        for &(file, count) in files {
            held.check_length(file, (count * layout.record()) as u64, count)?;
        }
    }
    let mut pixels = Vec::with_capacity(count * SHAPE.len());
    let mut labels = Vec::with_capacity(count);
    for &(file, count) in files {
        let file = if held.version == Version::Python { plain(file) } else { file };
        let path = held.path(file);
        // Names of files take a few hundred bytes a picture at most.
        let bytes = held.bytes(file, (count * (layout.record() + 512)) as u64 + (1 << 16))?;
        let mut add = |index: usize, label: u8, planes: &[u8]| {
            if usize::from(label) >= classes.len() {
                return Err(DataError::content(
                    &path,
                    format!("labels below {}", classes.len()),
                    format!("{label} in record {index}"),
                    "fetch or copy the file again",
                ));
            }
            labels.push(label);
            let (red, rest) = planes.split_at(SHAPE.h * SHAPE.w);
            let (green, blue) = rest.split_at(SHAPE.h * SHAPE.w);
            for ((&r, &g), &b) in red.iter().zip(green).zip(blue) {
                pixels.extend_from_slice(&[r, g, b]);
            }
            Ok(())
        };
        if held.version == Version::Binary {
            for (index, record) in bytes.chunks_exact(layout.record()).enumerate() {
                let (label, planes) = record.split_at(layout.label_bytes);
                add(index, label[layout.label_bytes - 1], planes)?;
            }
            continue;
        }
        let wrong = |found: String| {
            let expected = format!("a pickle of {count} pictures with their labels");
            DataError::content(&path, expected, found, "fetch or copy the file again")
        };
        let batch = pickle::batch(&bytes, layout.key).map_err(wrong)?;
        if batch.labels.len() != count {
            return Err(wrong(format!("one of {}", batch.labels.len())));
        }
        let pictures = batch.planes.chunks_exact(SHAPE.len()).zip(batch.labels).enumerate();
        for (index, (planes, label)) in pictures {
            add(index, label, planes)?;
        }
    }
    Memory::new(name, SHAPE, pixels, labels, classes.to_vec())
}

fn check_length(file: &Path, wanted: u64, count: usize) -> Result<(), DataError> {
    let length = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = file.parent().unwrap_or(file);
            return Err(DataError::content(
                file,
                "this file beside its companions",
                describe(folder),
                "unpack the archive again",
            ));
        }
        Err(error) => return Err(DataError::io(file, error)),
    };
    same_length(file, length, wanted, count)
}

fn same_length(file: &Path, length: u64, wanted: u64, count: usize) -> Result<(), DataError> {
    if length == wanted {
        return Ok(());
    }
    Err(DataError::content(
        file,
        format!("{wanted} bytes ({count} records of {})", wanted / count as u64),
        format!("{length} bytes"),
        "fetch or copy the file again",
    ))
}

#[cfg(test)]
mod tests;
