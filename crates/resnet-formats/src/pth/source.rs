//! A pickle's bytes, read once from front to back.

use crate::error::FormatError;
use std::io::BufRead;

/// At most so many bytes in one text or byte string.
const MAX_TEXT: u64 = 16 << 20;
/// At most so many in a module's or function's name.
const MAX_LINE: usize = 256;

pub(super) struct Source<R> {
    from: R,
    /// Bytes read.
    pub(super) at: u64,
    /// Bytes that are there still.
    left: u64,
}

impl<R: BufRead> Source<R> {
    /// The next `len` bytes of a reader.
    pub(super) fn new(from: R, len: u64) -> Source<R> {
        Source { from, at: 0, left: len }
    }

    fn take(&mut self, count: u64) -> Result<(), FormatError> {
        if count > self.left {
            return Err(FormatError::Truncated {
                field: "the pickle",
                expected: self.at.saturating_add(count),
                found: self.at + self.left,
            });
        }
        self.at += count;
        self.left -= count;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next `len` bytes. Memory is taken after it is known that they are there.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, FormatError> {
        if len > MAX_TEXT {
            return Err(FormatError::Limit {
                what: "bytes in one text of the pickle",
                limit: MAX_TEXT,
            });
        }
        self.take(len)?;
        let mut bytes = vec![0; len as usize];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The bytes up to the next line feed, without it.
    pub(super) fn line(&mut self) -> Result<String, FormatError> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if line.len() == MAX_LINE => {
                    return Err(FormatError::Limit {
                        what: "bytes in a name of the pickle",
                        limit: MAX_LINE as u64,
                    });
                }
                byte => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| FormatError::Pickle {
            at: self.at,
            expected: "a name in UTF-8",
            found: "other bytes".into(),
        })
    }
}
