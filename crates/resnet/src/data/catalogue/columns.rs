//! Names and places of a part's pictures: in memory, or in the file of an index.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::store::{Blob, Entry, OpenFile, Place};
use super::Entries;

/// Bytes of a row of an index.
pub(super) const ROW: usize = 36;
/// Rows that are read at once where pictures are asked for one after another.
const AHEAD: usize = 1024;
/// Bytes of the longest name, and of the names of as many rows.
const MOST_NAME: usize = 1 << 16;
const MOST_AHEAD: u64 = 1 << 20;

/// Names and places.
pub(in crate::data) enum Columns {
    Memory(Entries),
    File(Indexed),
}

impl Columns {
    /// What `use_it` makes of picture `index`.
    ///
    /// # Errors
    /// The index file cannot be read.
    pub(in crate::data) fn with<R>(
        &self,
        index: usize,
        use_it: impl FnOnce(&Entry) -> R,
    ) -> io::Result<R> {
        match self {
            Columns::Memory(entries) => Ok(use_it(&entries.get(index))),
            Columns::File(file) => file.with(index, use_it),
        }
    }

    /// Bytes of all names.
    pub(super) fn name_bytes(&self) -> u64 {
        match self {
            Columns::Memory(entries) => {
                (0..entries.len()).map(|index| entries.get(index).name.len() as u64).sum()
            }
            Columns::File(file) => file.name_bytes,
        }
    }
}

/// A part's rows and names in an index file.
pub(in crate::data) struct Indexed {
    file: Arc<OpenFile>,
    rows_at: u64,
    count: usize,
    name_bytes: u64,
    /// The picture that was asked for last.
    last: AtomicUsize,
    ahead: Mutex<Ahead>,
}

/// Rows from `first` on, and their names from `start` on.
#[derive(Default)]
struct Ahead {
    first: usize,
    rows: Vec<u8>,
    start: u64,
    names: Vec<u8>,
}

impl Indexed {
    /// The `count` rows at `rows_at`, behind which are the names.
    pub(super) fn new(file: Arc<OpenFile>, rows_at: u64, count: usize, name_bytes: u64) -> Indexed {
        let last = AtomicUsize::new(usize::MAX - 1);
        Indexed { file, rows_at, count, name_bytes, last, ahead: Mutex::default() }
    }

    fn names_at(&self) -> u64 {
        self.rows_at + (self.count * ROW) as u64
    }

    fn with<R>(&self, index: usize, use_it: impl FnOnce(&Entry) -> R) -> io::Result<R> {
        assert!(index < self.count, "picture {index} of {}", self.count);
        let follows = self.last.swap(index, Ordering::Relaxed) + 1 == index;
        if follows
            && let Ok(mut ahead) = self.ahead.try_lock()
            && self.fill(&mut ahead, index)?
        {
            let at = (index - ahead.first) * ROW;
            let (start, length, place) = row(&ahead.rows[at..at + ROW]);
            let name = usize::try_from(start.wrapping_sub(ahead.start)).ok();
            let name = name.and_then(|at| ahead.names.get(at..)?.get(..length as usize));
            if let Some(name) = name {
                return Ok(use_it(&Entry { name, place }));
            }
        }
        let mut bytes = [0; ROW];
        self.file.read_at(self.rows_at + (index * ROW) as u64, &mut bytes)?;
        let (start, length, place) = row(&bytes);
        let end = start.checked_add(length.into()).filter(|&end| end <= self.name_bytes);
        if end.is_none() || length as usize > MOST_NAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; length as usize];
        self.file.read_at(self.names_at() + start, &mut name)?;
        Ok(use_it(&Entry { name: &name, place }))
    }

    /// Has the rows from `index` on at hand, and says whether they are.
    fn fill(&self, ahead: &mut Ahead, index: usize) -> io::Result<bool> {
        let held = ahead.first..ahead.first + ahead.rows.len() / ROW;
        if held.contains(&index) {
            return Ok(true);
        }
        let count = AHEAD.min(self.count - index);
        ahead.rows.clear();
        ahead.rows.resize(count * ROW, 0);
        ahead.first = index;
        // Of what was not read nothing is held.
        let held = self.file.read_at(self.rows_at + (index * ROW) as u64, &mut ahead.rows);
        held.inspect_err(|_| ahead.rows.clear())?;
        let (start, ..) = row(&ahead.rows[..ROW]);
        let (last, length, _) = row(&ahead.rows[(count - 1) * ROW..]);
        let end = last.saturating_add(length.into());
        if start > end || end > self.name_bytes || end - start > MOST_AHEAD {
            ahead.rows.clear();
            return Ok(false);
        }
        ahead.names.clear();
        ahead.names.resize((end - start) as usize, 0);
        ahead.start = start;
        let held = self.file.read_at(self.names_at() + start, &mut ahead.names);
        held.inspect_err(|_| ahead.rows.clear())?;
        Ok(true)
    }
}

/// A row: where its name begins, its length, its place.
fn row(bytes: &[u8]) -> (u64, u32, Place) {
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let place = Place { shard: short(12), at: long(16), length: short(24), extra: long(28) };
    (long(0), short(8), place)
}

/// Writes what [`row`] reads.
pub(super) fn write_row(bytes: &mut [u8; ROW], start: u64, entry: &Entry) {
    let Place { shard, at, length, extra } = entry.place;
    bytes[..8].copy_from_slice(&start.to_le_bytes());
    bytes[8..12].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&shard.to_le_bytes());
    bytes[16..24].copy_from_slice(&at.to_le_bytes());
    bytes[24..28].copy_from_slice(&length.to_le_bytes());
    bytes[28..].copy_from_slice(&extra.to_le_bytes());
}
