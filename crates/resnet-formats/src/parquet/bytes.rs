//! Bytes that are read by position, and what is wrong with them.

use std::io;

use crate::error::FormatError;

/// The first and the last bytes of a file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// The last bytes of one whose footer is encrypted.
pub(super) const ENCRYPTED: &[u8; 4] = b"PARE";
/// Most bytes that a page may have once it is unpacked.
pub(super) const MOST_UNPACKED: u64 = 1 << 30;

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
pub(super) fn read(
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
pub(super) fn damaged(place: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::Parquet {
        place: place.into(),
        expected: expected.into(),
        found: found.into(),
        advice: "the file is damaged or was not written whole; copy or write it again",
    }
}

/// What is allowed and not read.
pub(super) fn unread(place: &str, expected: &str, found: impl Into<String>) -> FormatError {
    FormatError::Parquet {
        place: place.into(),
        expected: expected.into(),
        found: found.into(),
        advice: "write the table again with pyarrow.parquet.write_table(table, file)",
    }
}
