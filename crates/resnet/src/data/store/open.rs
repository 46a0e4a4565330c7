//! Files and objects by their paths and addresses.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::remote;
use super::blob::{Blob, OpenFile};
use super::stamp::Stamp;

/// Opens the file at a path or the object at an address, which with its `stamp` is not asked.
///
/// # Errors
/// The system's.
pub(in crate::data) fn open(path: &Path, stamp: Option<Stamp>) -> io::Result<Arc<dyn Blob>> {
    match remote::is_remote(path) {
        true => remote::open(path, stamp),
        false => Ok(Arc::new(OpenFile::new(File::open(path)?)?)),
    }
}

/// What a file, folder or object is now.
///
/// # Errors
/// The system's.
pub(in crate::data) fn stamp_of(path: &Path) -> io::Result<Stamp> {
    if remote::is_remote(path) { remote::stamp(path) } else { Stamp::of(path) }
}

/// What tells a folder's names from others.
///
/// # Errors
/// The system's.
pub(in crate::data) fn listing_of(folder: &Path) -> io::Result<Stamp> {
    if remote::is_remote(folder) { remote::stamp(folder) } else { Stamp::listing(folder) }
}
