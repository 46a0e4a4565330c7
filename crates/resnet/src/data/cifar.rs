//! CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009).
//!
//! A record is its label bytes (CIFAR-10: the class; CIFAR-100: the coarse class, then the fine
//! one, which is used), then the red, green and blue planes of 32 x 32 pixels. Files have their
//! official names and sizes; the folder may also be the one above, as the archives unpack.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::idx::read_lines;
use super::{DataError, Format, Memory, OpenOptions, Splits, describe};
use resnet_engine::graph::Shape;

pub(super) const CIFAR10: Format = Format {
    name: "cifar10",
    takes_folder: true,
    about: "CIFAR-10, binary version: data_batch_1.bin to data_batch_5.bin, test_batch.bin",
    sniff: |folder| TEN.folder(folder).is_some(),
    open: |folder, _: &OpenOptions| open(&TEN, folder),
};

pub(super) const CIFAR100: Format = Format {
    name: "cifar100",
    takes_folder: true,
    about: "CIFAR-100, binary version: train.bin, test.bin; the 100 fine classes",
    sniff: |folder| HUNDRED.folder(folder).is_some(),
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
    /// The folder in the official archive.
    archive: &'static str,
    /// A file of the version for Python, to recognise it.
    python: &'static str,
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
    archive: "cifar-10-batches-bin",
    python: "data_batch_1",
};

const HUNDRED: Layout = Layout {
    train: &[("train.bin", 50_000)],
    test: ("test.bin", 10_000),
    label_bytes: 2,
    classes: &FINE,
    names: "fine_label_names.txt",
    archive: "cifar-100-binary",
    python: "train",
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

    /// The folder that holds the files: the one given, or the archive's inside it.
    fn folder(&self, given: &Path) -> Option<PathBuf> {
        let holds = |folder: &Path| {
            let mut files = self.train.iter().chain([&self.test]);
            files.any(|(name, _)| folder.join(name).is_file())
        };
        let inside = given.join(self.archive);
        if holds(given) { Some(given.to_path_buf()) } else { holds(&inside).then_some(inside) }
    }
}

fn open(layout: &Layout, given: &Path) -> Result<Splits, DataError> {
    let Some(folder) = layout.folder(given) else {
        let hint = match given.join(layout.python).is_file() {
            true => "this is the version for Python; fetch the binary version",
            false => "name the folder that holds the .bin files",
        };
        let expected = format!("{} and its companions", layout.train[0].0);
        return Err(DataError::content(given, expected, describe(given), hint));
    };
    let classes = class_names(layout, &folder)?;
    let train = read(layout, &folder, "train", layout.train, &classes)?;
    let test = read(layout, &folder, "test", &[layout.test], &classes)?;
    Ok(Splits {
        train: Arc::new(train),
        val: None,
        test: Some(Arc::new(test)),
        test_name: "test".to_string(),
        warnings: Vec::new(),
    })
}

fn class_names(layout: &Layout, folder: &Path) -> Result<Vec<String>, DataError> {
    let file = folder.join(layout.names);
    if !file.is_file() {
        return Ok(layout.classes.iter().map(|&name| name.to_string()).collect());
    }
    let names = read_lines(&file)?;
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
    folder: &Path,
    name: &str,
    files: &[(&str, usize)],
    classes: &[String],
) -> Result<Memory, DataError> {
    let count: usize = files.iter().map(|&(_, count)| count).sum();
    for &(file, count) in files {
        check_length(&folder.join(file), (count * layout.record()) as u64, count)?;
    }
    let mut pixels = Vec::with_capacity(count * SHAPE.len());
    let mut labels = Vec::with_capacity(count);
    let mut record = vec![0; layout.record()];
    for &(file, count) in files {
        let file = folder.join(file);
        let opened = File::open(&file).map_err(|error| DataError::io(&file, error))?;
        let mut reader = std::io::BufReader::with_capacity(1 << 16, opened);
        for index in 0..count {
            reader.read_exact(&mut record).map_err(|error| DataError::io(&file, error))?;
            let (label, planes) = record.split_at(layout.label_bytes);
            let label = label[layout.label_bytes - 1];
            if usize::from(label) >= classes.len() {
                return Err(DataError::content(
                    &file,
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
