//! An object as a blob.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::error::WasChanged;
use super::super::store::blob::Blob;
use super::super::store::stamp::Stamp;
use super::address;
use super::client::{Answer, Client, Failed, NO_RANGES};
use super::route::Route;

/// Bytes that are read at once where many that are near each other will be wanted.
const BLOCK: u64 = 4 << 20;
/// Blocks that are kept, of all objects.
const BLOCKS: usize = 16;
type Blocks = VecDeque<(u64, u64, Arc<Vec<u8>>)>;
/// By object and number.
static READ: Mutex<Blocks> = Mutex::new(VecDeque::new());

pub(super) fn failed(failed: Failed) -> io::Error {
    match failed {
        Failed::Refused { text, .. } | Failed::Other(text) => io::Error::other(text),
        Failed::NoRanges => io::Error::other(NO_RANGES),
        Failed::Changed => io::Error::other(WasChanged),
    }
}

/// The route of an address, with the variables of this process.
pub(super) fn route(place: &Path) -> io::Result<Route> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // An error of kinds that mean one lost file would pass for a damaged picture.
    Route::of(&address::text(place), &set).map_err(|error| io::Error::other(error.to_string()))
}

/// What an address names; nothing is held open.
pub(in crate::data) struct Object<'c> {
    client: &'c Client,
    route: Route,
    is: Answer,
    number: u64,
    moved: Mutex<Option<String>>,
    /// Held while a block is read, so that it is read once.
    reading: Mutex<()>,
}

impl Object<'static> {
    /// The object at an address: what it was when it was indexed, or what it is now.
    pub(super) fn open(place: &Path, stamp: Option<Stamp>) -> io::Result<Object<'static>> {
        Object::of(Client::shared(), route(place)?, stamp)
    }
}

impl<'c> Object<'c> {
    pub(super) fn of(
        client: &'c Client,
        route: Route,
        stamp: Option<Stamp>,
    ) -> io::Result<Object<'c>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let is = match stamp {
            // The first read tells if this is so no longer.
            Some(Stamp { length, changed }) => Answer { length, version: changed },
            None => client.ask(&route).map_err(failed)?,
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (moved, reading) = (Mutex::default(), Mutex::default());
        Ok(Object { client, route, is, number, moved, reading })
    }

    fn block(&self, number: u64) -> io::Result<Arc<Vec<u8>>> {
        let kept = || {
            let read = READ.lock().unwrap_or_else(PoisonError::into_inner);
            let of =
                |(object, block, _): &&(u64, u64, _)| (*object, *block) == (self.number, number);
            read.iter().find(of).map(|(_, _, bytes)| bytes.clone())
        };
        if let Some(bytes) = kept() {
            return Ok(bytes);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept() {
            return Ok(bytes);
        }
        let at = number * BLOCK;
        let mut bytes = vec![0; BLOCK.min(self.is.length - at) as usize];
        self.read_at(at, &mut bytes)?;
        let bytes = Arc::new(bytes);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= BLOCKS {
            read.pop_front();
        }
        read.push_back((self.number, number, bytes.clone()));
        Ok(bytes)
    }

    fn ends(&self, at: u64, length: usize) -> io::Result<()> {
        match at.checked_add(length as u64).is_some_and(|end| end <= self.is.length) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|(object, ..)| *object != self.number);
    }
}

impl Blob for Object<'_> {
    fn len(&self) -> u64 {
        self.is.length
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp { length: self.is.length, changed: self.is.version })
    }

    fn is_far(&self) -> bool {
        true
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.ends(at, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = self.client.read(&self.route, &self.is, at, bytes, &mut moved);
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = moved;
        read.map_err(failed)
    }

    fn browse_at(&self, mut at: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        self.ends(at, bytes.len())?;
        while !bytes.is_empty() {
            let block = self.block(at / BLOCK)?;
            let from = (at % BLOCK) as usize;
            let some = bytes.len().min(block.len() - from);
            let (now, later) = bytes.split_at_mut(some);
            now.copy_from_slice(&block[from..from + some]);
            at += some as u64;
            bytes = later;
        }
        Ok(())
    }
}
