//! Pictures that are files of their own.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::super::header::{self, Fault, Header};
use super::super::max_pixels;
use super::{Entry, Place, Stamp, Store, path_of};

/// The files of a folder; a place's length and extra number are the file's size and time.
pub(in crate::data) struct Files {
    root: PathBuf,
    indexed: bool,
}

impl Files {
    /// Files named from `root` on. Where they were `indexed`, they are refused once they changed.
    pub(in crate::data) fn new(root: PathBuf, indexed: bool) -> Files {
        Files { root, indexed }
    }

    fn open(&self, entry: &Entry) -> Result<(File, Stamp), Fault> {
        let file = self.name(entry);
        // A pipe would wait for ever when opened, so what is not a plain file is refused by its
        // metadata.
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Fault::Reason("is not a file".to_string()));
        }
        let stamp = Stamp::from(&metadata);
        let place = entry.place;
        if self.indexed && (place.length, place.extra) != (shortened(stamp.length), stamp.changed) {
            return Err(Fault::Changed);
        }
        Ok((File::open(file)?, stamp))
    }
}

fn shortened(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Store for Files {
    fn name(&self, entry: &Entry) -> PathBuf {
        self.root.join(path_of(entry.name))
    }

    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let (opened, Stamp { length, .. }) = self.open(entry)?;
        header::check_length(length)?;
        bytes.clear();
        bytes.reserve(length as usize);
        opened.take(length).read_to_end(bytes)?;
        Ok(())
    }

    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        let (opened, stamp) = self.open(entry)?;
        let header = header::read(opened, stamp.length, max_pixels())?;
        let place = Place { length: shortened(stamp.length), extra: stamp.changed, ..entry.place };
        Ok((header, place))
    }
}
