//! Parquet files: tables by columns, of which pictures and their labels are read by place.
//!
//! [`Footer::read`] tells columns and row groups; [`Footer::numbers`], [`Footer::texts`] and
//! [`Footer::spots`] go through a column of one group, the last without reading its values: a
//! [`Spot`] says where one lies, so that it can be read at random later, by [`unpack`] where its
//! page is compressed. Read are flat columns, also inside of structs, that are plain or by
//! dictionary, as they are or compressed by Snappy, Zstandard or gzip. [`Writer`] writes tables of
//! pictures.
//!
//! Nothing is trusted: pages lie inside their chunk and chunks inside the file, rows are no more
//! than bytes, and what a page unpacks to is bounded by what it is packed in.
//!
//! Source: the format's specification and its `parquet.thrift`
//! (<https://parquet.apache.org/docs/file-format/>).

mod column;
mod footer;
mod page;
mod runs;
mod thrift;
mod write;

use std::io;

pub use column::Spot;
pub use footer::{Column, Footer, Group, Kind};
pub use page::{Packing, unpack};
pub use write::{Row, Writer};

use crate::error::FormatError;

/// The first and the last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// The last bytes of one whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// Most bytes that a page may have once it is unpacked.
const MOST_UNPACKED: u64 = 1 << 30;

/// Bytes that are read by position.
pub trait ReadAt {
    /// How many there are.
    fn size(&self) -> u64;

    /// Fills `bytes` from the position `at` on.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] where there are fewer.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let found = start.checked_add(bytes.len()).and_then(|end| self.get(start..end));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// `count` bytes from `at` on. Memory is taken after it is known that they are there.
fn read(
    file: &dyn ReadAt,
    at: u64,
    count: u64,
    field: &'static str,
) -> Result<Vec<u8>, FormatError> {
    if at.checked_add(count).is_none_or(|end| end > file.size()) {
        let found = file.size().saturating_sub(at);
        return Err(FormatError::Truncated { field, expected: count, found });
    }
    let mut bytes = vec![0; count as usize];
    file.read_at(at, &mut bytes)?;
    Ok(bytes)
}

/// What is wrong where the specification leaves no choice.
fn damaged(place: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::Parquet {
        place: place.into(),
        expected: expected.into(),
        found: found.into(),
        advice: "the file is damaged or was not written whole; copy or write it again",
    }
}

/// What is allowed and not read.
fn unread(place: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::Parquet {
        place: place.into(),
        expected: expected.into(),
        found: found.into(),
        advice: "write the table again with pyarrow.parquet.write_table(table, file)",
    }
}
