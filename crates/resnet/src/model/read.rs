//! Files of weights as named arrays, by what they begin with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use resnet_formats::{Array, FormatError, Tensors, pth, safetensors};

use super::error::ModelError;
use crate::base::files::FileError;

/// Largest model file that is opened, in bytes.
pub const MOST_BYTES: u64 = 8 << 30;

/// What a file of weights turned out to be.
pub(super) enum Found {
    /// A safetensors file whose header was read; its numbers are still in it.
    Stream(safetensors::Stream<File>),
    /// All of a PyTorch file, and what it holds besides.
    Whole(Tensors, Vec<String>),
}

/// Tensors of a safetensors or PyTorch file under the names they have there, and what a PyTorch
/// file holds besides.
pub(super) fn read(path: &Path) -> Result<(Tensors, Vec<String>), ModelError> {
    match find(path)? {
        Found::Stream(mut stream) => {
            let metadata = std::mem::take(&mut stream.metadata);
            Ok((Tensors { entries: rest(path, stream)?, metadata }, Vec::new()))
        }
        Found::Whole(tensors, ignored) => Ok((tensors, ignored)),
    }
}

/// The tensors of a stream.
pub(super) fn rest(
    path: &Path,
    stream: safetensors::Stream<File>,
) -> Result<BTreeMap<String, Array>, ModelError> {
    stream.collect::<Result<_, _>>().map_err(|error| failed(path, error))
}

/// Opens a file of weights and reads as much as has to be read to know what it says it holds.
pub(super) fn find(path: &Path) -> Result<Found, ModelError> {
    open(path, |mut from, len| {
        let mut start = Vec::new();
        from.by_ref().take(9).read_to_end(&mut start)?;
        from.rewind()?;
        // The ninth byte of a safetensors file opens its header.
        if start.get(8) == Some(&b'{') {
            return Ok(Found::Stream(safetensors::Stream::open(from, len)?));
        }
        let pickled = start.starts_with(b"PK") || start.first() == Some(&0x80);
        if !pickled && path.extension().is_some_and(|e| e == "safetensors") {
            return Ok(Found::Stream(safetensors::Stream::open(from, len)?));
        }
        let found = pth::read_from(from)?;
        let ignored = found.ignored.into_iter();
        let ignored = ignored.map(|(name, what)| format!("{name}: {what}"));
        Ok(Found::Whole(found.tensors, ignored.collect()))
    })
}

/// Opens a file of weights and reads it as a stream.
fn open<T>(
    path: &Path,
    read: impl FnOnce(File, u64) -> Result<T, FormatError>,
) -> Result<T, ModelError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // A pipe would be read to its end before anything is known about it, and a directory is no
    // file.
    if !metadata.is_file() {
        let kind = if metadata.is_dir() {
            std::io::ErrorKind::IsADirectory
        } else {
            std::io::ErrorKind::InvalidInput
        };
        return Err(failed(kind.into()).into());
    }
    if metadata.len() > MOST_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: MOST_BYTES }.into());
    }
    let file = File::open(path).map_err(failed)?;
    read(file, metadata.len()).map_err(|error| self::failed(path, error))
}

/// The error of reading a file.
pub(super) fn failed(path: &Path, error: FormatError) -> ModelError {
    let path = path.to_owned();
    match error {
        FormatError::Io(source) => ModelError::File(FileError::Read { path, source }),
        error => ModelError::Format { path, error },
    }
}
