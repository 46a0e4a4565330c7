//! Pictures that lie in larger files, many in each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::header::{self, Fault, Header};
use super::super::{max_pixels, remote};
use super::{Blob, Entry, Place, Reader, Stamp, Store, open, path_of};

/// Most files of a pool that are open at once; systems allow some hundreds.
const MOST_OPEN: usize = 64;

/// Files of which a few are open, those that were read last.
pub(in crate::data) struct Pool {
    files: Vec<(PathBuf, Option<Stamp>)>,
    open: Mutex<Vec<(u32, Arc<dyn Blob>)>>,
}

impl Pool {
    /// Files with what they were when they were indexed; one that changed since is refused.
    pub(in crate::data) fn new(files: Vec<(PathBuf, Option<Stamp>)>) -> Pool {
        Pool { files, open: Mutex::default() }
    }

    /// The path of a file.
    pub(in crate::data) fn path(&self, file: u32) -> &Path {
        self.files.get(file as usize).map_or(Path::new(""), |(path, _)| path)
    }

    /// A file, opened if it is not.
    ///
    /// # Errors
    /// There is none of this number, the system refuses it, or it is no longer what it was.
    pub(in crate::data) fn get(&self, file: u32) -> Result<Arc<dyn Blob>, Fault> {
        let Some((path, stamp)) = self.files.get(file as usize) else {
            return Err(Fault::Reason(format!("lies in shard {file}, which is not known")));
        };
        let kept = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let at = open.iter().position(|(number, _)| *number == file);
            at.map(|at| {
                let found = open.remove(at);
                open.push(found.clone());
                found.1
            })
        };
        let opened = match kept {
            Some(kept) => kept,
            None => {
                // A pipe would wait for ever when opened.
                if !remote::is_remote(path) && !path.metadata()?.is_file() {
                    return Err(Fault::Reason("is not a file".to_string()));
                }
                let opened = open(path, *stamp)?;
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                if open.len() >= MOST_OPEN {
                    open.remove(0);
                }
                open.push((file, opened.clone()));
                opened
            }
        };
        let same = match stamp {
            Some(stamp) => opened.stamp()? == *stamp,
            None => true,
        };
        if same { Ok(opened) } else { Err(Fault::Changed) }
    }
}

/// Pictures that lie in shards as they are, from `at` on.
pub(in crate::data) struct Shards {
    pool: Pool,
}

impl Shards {
    /// Pictures in the files of `pool`.
    pub(in crate::data) fn new(pool: Pool) -> Shards {
        Shards { pool }
    }
}

/// What became of a shard that ends before a picture of it does.
pub(in crate::data) fn cut(error: io::Error, place: Place) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Reason(format!(
            "is cut off: its shard ends before byte {}",
            place.at.saturating_add(place.length.into())
        )),
        _ => error.into(),
    }
}

impl Store for Shards {
    fn name(&self, entry: &Entry) -> PathBuf {
        self.pool.path(entry.place.shard).join(path_of(entry.name))
    }

    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let place = entry.place;
        let shard = self.pool.get(place.shard)?;
        header::check_length(place.length.into())?;
        if place.at.checked_add(place.length.into()).is_none_or(|end| end > shard.len()) {
            return Err(cut(io::ErrorKind::UnexpectedEof.into(), place));
        }
        bytes.clear();
        bytes.resize(place.length as usize, 0);
        shard.read_at(place.at, bytes).map_err(|error| cut(error, place))
    }

    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        let place = entry.place;
        let shard = self.pool.get(place.shard)?;
        let length = u64::from(place.length);
        let header = header::read(Reader::new(&*shard, place.at, length), length, max_pixels())?;
        Ok((header, place))
    }
}
