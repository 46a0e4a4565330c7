//! CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009).
//!
//! A record is its label bytes (CIFAR-10: the class; CIFAR-100: the coarse class, then the fine one, which is used), then the
//! red, green and blue planes of 32 x 32 pixels. Files have their official names and sizes; the folder may also be the one
//! above, as the archives unpack.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::idx::read_lines;
use super::{DataError, Format, Memory, OpenOptions, Splits, describe};
use crate::graph::Shape;

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
    classes: &[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
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
        if holds(given) {
            Some(given.to_path_buf())
        } else {
            holds(&inside).then_some(inside)
        }
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
            reader
                .read_exact(&mut record)
                .map_err(|error| DataError::io(&file, error))?;
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
mod tests {
    use super::super::testing::{TempDir, shared};
    use super::*;
    use crate::data::Image;

    const SMALL: Layout = Layout {
        train: &[("data_batch_1.bin", 2), ("data_batch_2.bin", 1)],
        test: ("test_batch.bin", 1),
        ..TEN
    };

    fn record(labels: &[u8], planes: [u8; 3]) -> Vec<u8> {
        let mut bytes = labels.to_vec();
        for plane in planes {
            bytes.extend_from_slice(&[plane; 1024]);
        }
        *bytes.last_mut().unwrap() = 99;
        bytes
    }

    fn write_small(dir: &TempDir) -> Vec<u8> {
        let first = [record(&[3], [1, 2, 3]), record(&[9], [4, 5, 6])].concat();
        dir.write("data_batch_1.bin", &first);
        dir.write("data_batch_2.bin", &record(&[0], [7, 8, 9]));
        dir.write("test_batch.bin", &record(&[1], [10, 11, 12]));
        first
    }

    fn message(result: Result<Splits, DataError>) -> String {
        result.err().expect("opened").to_string()
    }

    #[test]
    fn planes_become_pixels() {
        let dir = TempDir::new("cifar");
        write_small(&dir);
        let splits = open(&SMALL, dir.path()).unwrap();
        let mut image = Image::default();
        splits.train.read(1, &mut image).unwrap();
        assert_eq!((image.width, image.height, image.channels), (32, 32, 3));
        assert_eq!(image.pixels[..3], [4, 5, 6]);
        assert_eq!(image.pixels[3069..], [4, 5, 99]);
        let labels: Vec<u32> = (0..3).map(|i| splits.train.label(i)).collect();
        assert_eq!(labels, [3, 9, 0]);
        assert_eq!(splits.train.classes()[3], "cat");
        assert_eq!(splits.test.unwrap().len(), 1);
    }

    #[test]
    fn hundred_uses_the_fine_label() {
        let layout = Layout {
            train: &[("train.bin", 1)],
            test: ("test.bin", 1),
            ..HUNDRED
        };
        let dir = TempDir::new("cifar100");
        dir.write("cifar-100-binary/train.bin", &record(&[4, 30], [1, 2, 3]));
        dir.write("cifar-100-binary/test.bin", &record(&[11, 98], [1, 2, 3]));
        let splits = open(&layout, dir.path()).unwrap();
        assert_eq!(splits.train.classes()[splits.train.label(0) as usize], "dolphin");
        assert_eq!(splits.test.unwrap().label(0), 98);
    }

    #[test]
    fn names_come_from_the_folder() {
        let dir = TempDir::new("cifar-names");
        write_small(&dir);
        dir.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
        assert_eq!(open(&SMALL, dir.path()).unwrap().train.classes()[9], "j");
        dir.write("batches.meta.txt", b"a\nb\n");
        let text = message(open(&SMALL, dir.path()));
        assert!(text.contains("batches.meta.txt: expected 10 class names, found 2"), "{text}");
    }

    #[test]
    fn every_truncation_is_refused() {
        let dir = TempDir::new("cifar-cut");
        let whole = write_small(&dir);
        for length in (0..whole.len()).step_by(97).chain([3072, 3073, 3074, 6145]) {
            dir.write("data_batch_1.bin", &whole[..length]);
            let text = message(open(&SMALL, dir.path()));
            let expected = format!("expected 6146 bytes (2 records of 3073), found {length} bytes");
            assert!(text.contains(&expected), "{text}");
        }
        dir.write("data_batch_1.bin", &[whole.as_slice(), &[0]].concat());
        assert!(message(open(&SMALL, dir.path())).contains("found 6147 bytes"));
    }

    #[test]
    fn wrong_content_is_named() {
        let dir = TempDir::new("cifar-wrong");
        assert!(message(open(&SMALL, dir.path())).contains("found an empty folder"));
        dir.write("data_batch_1", b"pickle");
        assert!(message(open(&SMALL, dir.path())).contains("version for Python"));
        write_small(&dir);
        dir.write("test_batch.bin", &record(&[10], [1, 2, 3]));
        assert!(message(open(&SMALL, dir.path())).contains("expected labels below 10, found 10 in record 0"));
        std::fs::remove_file(dir.path().join("data_batch_2.bin")).unwrap();
        assert!(message(open(&SMALL, dir.path())).contains("data_batch_2.bin: expected this file"));
    }

    /// The lossless sheets hold the official pictures; the first test picture is a cat.
    #[test]
    fn real_pictures_through_the_binary_layout() {
        let Some(folder) = shared("cifar-10") else { return };
        let mut sheet = Image::default();
        crate::data::read_picture(&folder.join("test_batch.webp"), &mut sheet).unwrap();
        let labels = std::fs::read(folder.join("test_batch.labels")).unwrap();
        let mut bytes = Vec::new();
        for index in 0..100 {
            bytes.push(labels[index]);
            for channel in 0..3 {
                for pixel in 0..1024 {
                    let (y, x) = (pixel / 32, index * 32 + pixel % 32);
                    bytes.push(sheet.pixels[(y * 3200 + x) * 3 + channel]);
                }
            }
        }
        let layout = Layout {
            train: &[("test_batch.bin", 100)],
            test: ("test_batch.bin", 100),
            ..TEN
        };
        let dir = TempDir::new("cifar-real");
        dir.write("test_batch.bin", &bytes);
        std::fs::copy(folder.join("batches.meta.txt"), dir.path().join("batches.meta.txt")).unwrap();
        let train = open(&layout, dir.path()).unwrap().train;
        assert_eq!(train.classes()[train.label(0) as usize], "cat");
        let mut image = Image::default();
        train.read(0, &mut image).unwrap();
        assert_eq!(image.pixels[..3], sheet.pixels[..3]);
        assert_eq!(image.pixels[32 * 3..32 * 3 + 3], sheet.pixels[3200 * 3..3200 * 3 + 3]);
    }
}
