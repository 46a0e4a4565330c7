//! The bytes of pictures in Parquet files.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use resnet_formats::FormatError;
use resnet_formats::parquet::{Packing, unpack};

use super::super::header::{self, Fault, Header};
use super::super::max_pixels;
use super::super::store::{Entry, Place, Pool, Shards, Stamp, Store};
use super::Bytes;

/// Bytes of unpacked pages that are kept.
const MOST_KEPT: usize = 128 << 20;
/// And their number.
const MOST_PAGES: usize = 256;

/// Pictures that lie as they are from `at` on, or, where `extra` says how they are compressed, in
/// the page whose header stands there.
pub(super) struct Pictures {
    stored: Shards,
    pool: Pool,
    kept: Mutex<Vec<Kept>>,
}

/// A page, by its shard and place.
struct Kept {
    key: (u32, u64),
    page: Arc<Mutex<Option<Page>>>,
    bytes: usize,
}

type Page = Arc<Vec<u8>>;

impl Pictures {
    /// Pictures in these files, which are refused once they are not what they were.
    pub(super) fn new(files: Vec<(PathBuf, Option<Stamp>)>) -> Pictures {
        let stored = Shards::new(Pool::new(files.clone()));
        Pictures { stored, pool: Pool::new(files), kept: Mutex::default() }
    }

    /// The page of a place, which one thread unpacks while others wait for it.
    fn page(&self, place: Place, packing: Packing) -> Result<Page, Fault> {
        let key = (place.shard, place.at);
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            match kept.iter().position(|kept| kept.key == key) {
                Some(at) => {
                    let found = kept.remove(at);
                    let page = found.page.clone();
                    kept.push(found);
                    page
                }
                None => {
                    let page = Arc::new(Mutex::new(None));
                    kept.push(Kept { key, page: page.clone(), bytes: 0 });
                    page
                }
            }
        };
        // Asked for a page that is kept as well: its file may not be what it was.
        let shard = self.pool.get(place.shard)?;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = slot.as_ref() {
            return Ok(page.clone());
        }
        let unpacked = unpack(&Bytes(&*shard), place.at, packing).map_err(fault)?;
        let page = Arc::new(unpacked);
        *slot = Some(page.clone());
        self.forget(key, page.len());
        Ok(page)
    }

    /// Drops the pages that were not read for the longest time, once a new one takes its memory.
    fn forget(&self, key: (u32, u64), bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(new) = kept.iter_mut().find(|kept| kept.key == key) {
            new.bytes = bytes;
        }
        let mut all: usize = kept.iter().map(|kept| kept.bytes).sum();
        while kept.len() > MOST_PAGES || all > MOST_KEPT && kept.len() > 1 {
            all -= kept.remove(0).bytes;
        }
    }

    /// What `use_it` makes of a picture's bytes, of which there are as many as its place says.
    fn with<R>(&self, place: Place, use_it: impl FnOnce(&[u8]) -> R) -> Result<R, Fault> {
        header::check_length(place.length.into())?;
        let page = self.page(place, packing(place))?;
        let start = (place.extra & ((1 << 56) - 1)) as usize;
        match page.get(start..).and_then(|rest| rest.get(..place.length as usize)) {
            Some(bytes) => Ok(use_it(bytes)),
            None => Err(Fault::Reason("is cut off: its page ends before it does".into())),
        }
    }
}

fn packing(place: Place) -> Packing {
    Packing::of((place.extra >> 56) as i64)
}

fn fault(error: FormatError) -> Fault {
    match error {
        FormatError::Io(error) => Fault::Io(error),
        error => Fault::Reason(format!("cannot be read: {error}")),
    }
}

impl Store for Pictures {
    fn name(&self, entry: &Entry) -> PathBuf {
        self.stored.name(entry)
    }

    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        if packing(entry.place) == Packing::Stored {
            return self.stored.fetch(entry, bytes);
        }
        self.with(entry.place, |picture| {
            bytes.clear();
            bytes.extend_from_slice(picture);
        })
    }

    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        let place = entry.place;
        if packing(place) == Packing::Stored {
            return self.stored.header(entry);
        }
        let read =
            |bytes: &[u8]| header::read(Cursor::new(bytes), bytes.len() as u64, max_pixels());
        Ok((self.with(place, read)??, place))
    }
}
