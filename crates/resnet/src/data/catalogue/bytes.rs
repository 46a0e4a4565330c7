//! Numbers and texts as bytes, little endian, with every length checked before memory is taken.

use std::path::{Path, PathBuf};

use super::super::store::{bytes_of, path_of};

/// Bytes that are being written.
#[derive(Default)]
pub(super) struct Writing(pub(super) Vec<u8>);

impl Writing {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    pub(super) fn path(&mut self, path: &Path) {
        self.bytes(bytes_of(path));
    }

    /// A list, each item by `write`.
    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Writing, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| write(self, item));
    }
}

/// Bytes that are being read; nothing is returned where there are too few.
pub(super) struct Reading<'a>(pub(super) &'a [u8]);

impl<'a> Reading<'a> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        Some(std::str::from_utf8(self.bytes()?).ok()?.to_string())
    }

    pub(super) fn path(&mut self) -> Option<PathBuf> {
        Some(path_of(self.bytes()?).into_owned())
    }

    /// A list, each item by `read`; an item takes eight bytes at least.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Reading<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        if count > self.0.len() / 8 {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }
}
