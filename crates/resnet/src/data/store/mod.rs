//! Where the bytes of pictures lie: in files of their own, or many in one file.
//!
//! A catalogue says which pictures there are, each with its [`Place`]; a [`Store`] gives the bytes
//! of a place, from any thread. [`Files`] and [`Shards`] serve every format whose pictures lie in
//! files as they are; a format that packs them further has a store of its own.

pub(super) mod blob;
mod files;
mod known;
mod open;
mod shards;
pub(super) mod stamp;

use std::borrow::Cow;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::header::{self, Fault, Header};
use super::max_pixels;
pub(super) use blob::{Blob, OpenFile, Reader};
pub(super) use files::Files;
pub(super) use known::{Headers, Known};
pub(super) use open::{listing_of, open, stamp_of};
pub(super) use shards::{Pool, Shards};
pub(super) use stamp::Stamp;

/// Where a picture's bytes are. What the numbers mean is a matter of the store alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the catalogue's shards; 0 where each picture is a file.
    pub(super) shard: u32,
    /// Where its first byte stands in the shard, or what else finds it there.
    pub(super) at: u64,
    /// Bytes of the picture as its format has them; [`u32::MAX`] for more.
    pub(super) length: u32,
    /// What else its store has to know: when a file was changed, how a picture is packed.
    pub(super) extra: u64,
}

/// A picture of a catalogue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Its path: from the folder of the data, or inside its shard.
    pub(super) name: &'a [u8],
    pub(super) place: Place,
}

/// The bytes of a catalogue's pictures.
pub(super) trait Store: Send + Sync {
    /// What to call a picture: its file, or the path of its shard and its name inside.
    fn name(&self, entry: &Entry) -> PathBuf;

    /// Puts the bytes of a picture file into `bytes`, in place of what is there. More memory than
    /// the place's length and a constant is never taken.
    ///
    /// # Errors
    /// The file is gone, damaged, or not what it was when it was indexed.
    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault>;

    /// The header of a picture, and its place completed by what was found on the way.
    ///
    /// # Errors
    /// As for its bytes, or these are no picture that is read.
    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        let mut bytes = Vec::new();
        self.fetch(entry, &mut bytes)?;
        let header = header::read(Cursor::new(&bytes), bytes.len() as u64, max_pixels())?;
        Ok((header, entry.place))
    }
}

/// A path as bytes, which [`path_of`] makes a path again.
pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// The path of some bytes.
pub(super) fn path_of(bytes: &[u8]) -> Cow<'_, Path> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Cow::Borrowed(Path::new(std::ffi::OsStr::from_bytes(bytes)))
    }
    #[cfg(not(unix))]
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(Path::new(text)),
        Cow::Owned(text) => Cow::Owned(PathBuf::from(text)),
    }
}
