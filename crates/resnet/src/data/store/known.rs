//! Headers that were read while their pictures were listed.

use std::collections::HashMap;
use std::path::PathBuf;

use super::super::header::{Fault, Header};
use super::{Entry, Place, Store};

/// Headers by the shard and the position of their pictures.
pub(in crate::data) type Headers = HashMap<(u32, u64), Header>;

/// A store that need not be asked for some headers.
pub(in crate::data) struct Known<'a> {
    store: &'a dyn Store,
    headers: Headers,
}

impl<'a> Known<'a> {
    /// The store with what is known.
    pub(in crate::data) fn new(store: &'a dyn Store, headers: Headers) -> Known<'a> {
        Known { store, headers }
    }
}

impl Store for Known<'_> {
    fn name(&self, entry: &Entry) -> PathBuf {
        self.store.name(entry)
    }

    fn fetch(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        self.store.fetch(entry, bytes)
    }

    fn header(&self, entry: &Entry) -> Result<(Header, Place), Fault> {
        let place = entry.place;
        match self.headers.get(&(place.shard, place.at)) {
            Some(header) => Ok((*header, place)),
            None => self.store.header(entry),
        }
    }
}
