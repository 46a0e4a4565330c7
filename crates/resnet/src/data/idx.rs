//! idx files, plain or in gzip: MNIST (LeCun et al. 1998), Fashion-MNIST and others under the same
//! names.
//!
//! A file is a magic number (0x801 for labels, 0x803 for pictures), its dimensions as big-endian
//! 32-bit numbers, then one byte a label or a grey pixel. Class names are the lines of
//! `classes.txt` in the folder if there is one; else those of Fashion-MNIST if the folder's path
//! says `fashion`; else the numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DataError, Format, Memory, OpenOptions, Splits, describe};
use resnet_engine::graph::Shape;

pub(super) const FORMAT: Format = Format {
    name: "mnist",
    takes_folder: true,
    about: "idx files, plain or .gz, under the names of MNIST and Fashion-MNIST",
    sniff: |folder| {
        find(folder, "train", Kind::Images).is_some()
            || find(folder, "t10k", Kind::Images).is_some()
    },
    open,
};

/// The classes of Fashion-MNIST, by label.
pub(super) const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The largest ratio that deflate reaches: 258 bytes from 2 bits.
const DEFLATE_MOST: u64 = 1032;
/// Taken at once before the bytes are seen to exist; more grows with what is read.
const FIRST_ALLOCATION: u64 = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Images,
    Labels,
}

/// The pictures of one file.
pub(super) struct Images {
    file: PathBuf,
    shape: Shape,
    pixels: Vec<u8>,
}

/// The labels of one file.
pub(super) struct Labels {
    file: PathBuf,
    labels: Vec<u8>,
}

fn open(folder: &Path, _: &OpenOptions) -> Result<Splits, DataError> {
    let read = |split: &str| -> Result<(Images, Labels), DataError> {
        let images = expect(folder, split, Kind::Images)?;
        let labels = expect(folder, split, Kind::Labels)?;
        Ok((read_file(&images, read_images)?, read_file(&labels, read_labels)?))
    };
    let (images, labels) = read("train")?;
    let classes = class_names(folder, &labels)?;
    let train = dataset("train", images, labels, classes.clone())?;
    let mut splits = Splits {
        train: Arc::new(train),
        val: None,
        test: None,
        test_name: "test".to_string(),
        warnings: Vec::new(),
    };
    if [Kind::Images, Kind::Labels].iter().any(|&kind| find(folder, "t10k", kind).is_some()) {
        let (images, labels) = read("t10k")?;
        if Some(images.shape) != splits.train.shape() {
            let of_train = splits.train.shape().map(|shape| shape.to_string()).unwrap_or_default();
            return Err(DataError::content(
                &images.file,
                format!("pictures of {of_train}, as in training"),
                images.shape.to_string(),
                "use the test files that belong to the training files",
            ));
        }
        splits.test = Some(Arc::new(dataset("test", images, labels, classes)?));
    }
    Ok(splits)
}

/// The official name, the name with a dot that some copies have, and both in gzip.
fn names(split: &str, kind: Kind) -> [String; 4] {
    let (what, dimensions) = match kind {
        Kind::Images => ("images", 3),
        Kind::Labels => ("labels", 1),
    };
    let official = format!("{split}-{what}-idx{dimensions}-ubyte");
    let dotted = format!("{split}-{what}.idx{dimensions}-ubyte");
    [official.clone(), format!("{official}.gz"), dotted.clone(), format!("{dotted}.gz")]
}

fn find(folder: &Path, split: &str, kind: Kind) -> Option<PathBuf> {
    let paths = names(split, kind).map(|name| folder.join(name));
    paths.into_iter().find(|path| path.is_file())
}

fn expect(folder: &Path, split: &str, kind: Kind) -> Result<PathBuf, DataError> {
    find(folder, split, kind).ok_or_else(|| {
        DataError::content(
            folder,
            format!("the file {}, plain or .gz", names(split, kind)[0]),
            describe(folder),
            "name the folder that holds the idx files",
        )
    })
}

fn read_file<T>(
    file: &Path,
    read: impl FnOnce(&Path, Bytes<BufReader<File>>) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let opened = File::open(file).map_err(|error| DataError::io(file, error))?;
    let length = opened.metadata().map_err(|error| DataError::io(file, error))?.len();
    let reader = BufReader::with_capacity(1 << 16, opened);
    read(file, Bytes { reader, length })
}

/// Bytes of known length, packed or plain.
pub(super) struct Bytes<R> {
    reader: R,
    length: u64,
}

impl<'a> From<&'a [u8]> for Bytes<&'a [u8]> {
    fn from(bytes: &'a [u8]) -> Self {
        Bytes { reader: bytes, length: bytes.len() as u64 }
    }
}

/// Reads a file of pictures.
pub(super) fn read_images<'a, R: BufRead + 'a>(
    file: &Path,
    bytes: impl Into<Bytes<R>>,
) -> Result<Images, DataError> {
    let mut idx = Idx::open(file, bytes.into(), Kind::Images)?;
    let (height, width) = (idx.number()?, idx.number()?);
    let size = u64::from(height) * u64::from(width);
    if size == 0 || height.max(width) > 65_535 {
        return Err(
            idx.error("pictures of 1 to 65535 pixels a side", format!("{height} x {width}"))
        );
    }
    let shape = Shape::new(1, height as usize, width as usize);
    let pixels = idx.rest(size)?;
    Ok(Images { file: file.to_path_buf(), shape, pixels })
}

/// Reads a file of labels.
pub(super) fn read_labels<'a, R: BufRead + 'a>(
    file: &Path,
    bytes: impl Into<Bytes<R>>,
) -> Result<Labels, DataError> {
    let labels = Idx::open(file, bytes.into(), Kind::Labels)?.rest(1)?;
    Ok(Labels { file: file.to_path_buf(), labels })
}

/// An idx file behind its magic number and count.
struct Idx<'a, 'r> {
    file: &'a Path,
    reader: Box<dyn Read + 'r>,
    /// Bytes left at most; exact in a plain file.
    left: u64,
    packed: bool,
    count: u32,
}

impl<'a, 'r> Idx<'a, 'r> {
    fn open<R: BufRead + 'r>(
        file: &'a Path,
        bytes: Bytes<R>,
        kind: Kind,
    ) -> Result<Self, DataError> {
        let Bytes { mut reader, length } = bytes;
        let start = reader.fill_buf().map_err(|error| DataError::io(file, error))?;
        let packed = start.starts_with(&[0x1f, 0x8b]);
        let mut idx = Idx {
            file,
            reader: match packed {
                true => Box::new(flate2::bufread::GzDecoder::new(reader)),
                false => Box::new(reader),
            },
            left: if packed { length.saturating_mul(DEFLATE_MOST) } else { length },
            packed,
            count: 0,
        };
        let magic = idx.number()?;
        let (wanted, what) = match kind {
            Kind::Images => (0x803, "pictures"),
            Kind::Labels => (0x801, "labels"),
        };
        if magic != wanted {
            let found = match magic {
                0x801 => "0x801, which is labels".to_string(),
                0x803 => "0x803, which is pictures".to_string(),
                _ => format!("{magic:#x}"),
            };
            return Err(idx.error(format!("the magic number {wanted:#x} of idx {what}"), found));
        }
        idx.count = idx.number()?;
        if idx.count == 0 {
            return Err(idx.error(format!("at least one of its {what}"), "none"));
        }
        Ok(idx)
    }

    fn error(&self, expected: impl Into<Box<str>>, found: impl Into<Box<str>>) -> DataError {
        DataError::content(self.file, expected, found, "fetch or copy the file again")
    }

    fn failed(&self, error: io::Error) -> DataError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.error("a whole idx file", "its end too early"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if self.packed => {
                self.error("a sound gzip file", format!("damage: {error}"))
            }
            _ => DataError::io(self.file, error),
        }
    }

    fn number(&mut self) -> Result<u32, DataError> {
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        self.left = self.left.saturating_sub(4);
        Ok(u32::from_be_bytes(bytes))
    }

    /// The `count` entries of `size` bytes that must fill the file from here.
    fn rest(mut self, size: u64) -> Result<Vec<u8>, DataError> {
        let expected = || format!("{} entries of {size} bytes after the header", self.count);
        let wanted = u64::from(self.count).saturating_mul(size);
        if wanted > self.left || (!self.packed && wanted < self.left) {
            let at_most = if self.packed { "at most " } else { "" };
            return Err(self.error(expected(), format!("{at_most}{} bytes", self.left)));
        }
        let mut bytes = Vec::with_capacity(wanted.min(FIRST_ALLOCATION) as usize);
        let read = self.reader.by_ref().take(wanted + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(error))?;
        match (bytes.len() as u64).cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok(bytes),
            std::cmp::Ordering::Less => {
                Err(self.error(expected(), format!("{} bytes", bytes.len())))
            }
            std::cmp::Ordering::Greater => Err(self.error(expected(), "more bytes")),
        }
    }
}

/// Puts pictures and labels together.
pub(super) fn dataset(
    name: &str,
    images: Images,
    labels: Labels,
    classes: Vec<String>,
) -> Result<Memory, DataError> {
    let count = images.pixels.len() / images.shape.len();
    if count != labels.labels.len() {
        return Err(DataError::content(
            &labels.file,
            format!("{count} labels, one for each picture of {}", images.file.display()),
            labels.labels.len().to_string(),
            "use the labels that belong to the pictures",
        ));
    }
    if let Some(&label) = labels.labels.iter().find(|&&label| usize::from(label) >= classes.len()) {
        return Err(DataError::content(
            &labels.file,
            format!("labels below {}", classes.len()),
            label.to_string(),
            "use the labels that belong to the training labels, or complete classes.txt",
        ));
    }
    Memory::new(name, images.shape, images.pixels, labels.labels, classes)
}

fn class_names(folder: &Path, train: &Labels) -> Result<Vec<String>, DataError> {
    let count = 1 + usize::from(train.labels.iter().copied().max().unwrap_or(0));
    let file = folder.join("classes.txt");
    if file.is_file() {
        let names = read_lines(&file)?;
        return match names.len() >= count {
            true => Ok(names),
            false => Err(DataError::content(
                &file,
                format!("a class name on each of {count} lines"),
                format!("{} lines", names.len()),
                "complete it, or remove it to have numbers as names",
            )),
        };
    }
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    if count == FASHION.len() && path.to_string_lossy().to_lowercase().contains("fashion") {
        return Ok(FASHION.map(String::from).to_vec());
    }
    Ok((0..count).map(|label| label.to_string()).collect())
}

/// The lines of a small text file that are not blank.
pub(super) fn read_lines(file: &Path) -> Result<Vec<String>, DataError> {
    const MOST: u64 = 1 << 20;
    let opened = File::open(file).map_err(|error| DataError::io(file, error))?;
    let mut text = String::new();
    let read = opened.take(MOST + 1).read_to_string(&mut text);
    read.map_err(|error| DataError::io(file, error))?;
    if text.len() as u64 > MOST {
        return Err(DataError::content(
            file,
            "a list of names",
            "more than a mebibyte",
            "put one class name on a line",
        ));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(String::from).collect())
}

#[cfg(test)]
mod tests;
