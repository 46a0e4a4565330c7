//! Bytes that are read by position, from any thread at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::stamp::Stamp;

/// A file, or what takes the place of one.
pub(in crate::data) trait Blob: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Fills `bytes` from the position `at` on.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] where there are fewer.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// What it is now, as far as is known without reading.
    ///
    /// # Errors
    /// The system's.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Whether each read waits for a network, so that few large ones go before many small ones.
    fn is_far(&self) -> bool {
        false
    }

    /// Reads as [`Blob::read_at`] does where what is near will be wanted too.
    ///
    /// # Errors
    /// As there.
    fn browse_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_at(at, bytes)
    }
}

/// A file that is open.
pub(in crate::data) struct OpenFile {
    file: File,
    length: u64,
}

impl OpenFile {
    /// Of a file that was just opened.
    pub(in crate::data) fn new(file: File) -> io::Result<OpenFile> {
        let length = file.metadata()?.len();
        Ok(OpenFile { file, length })
    }
}

impl Blob for OpenFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::from(&self.file.metadata()?))
    }

    #[cfg(unix)]
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, at)
    }

    #[cfg(windows)]
    fn read_at(&self, mut at: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, bytes, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    bytes = &mut bytes[read..];
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A part of a blob, read one byte after another.
pub(in crate::data) struct Reader<'a> {
    blob: &'a dyn Blob,
    start: u64,
    end: u64,
    at: u64,
}

impl<'a> Reader<'a> {
    /// The `length` bytes from `start` on, or what there is of them.
    pub(in crate::data) fn new(blob: &'a dyn Blob, start: u64, length: u64) -> Reader<'a> {
        let end = start.saturating_add(length).min(blob.len());
        Reader { blob, start: start.min(end), end, at: start.min(end) }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.blob.browse_at(self.at, &mut bytes[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => self.start.checked_add(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        match at.filter(|&at| at >= self.start) {
            Some(at) => {
                self.at = at;
                Ok(at - self.start)
            }
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}
