//! Pages: the pieces in which a column is written, each with a header and compressed by itself.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::bytes::{MOST_UNPACKED, ReadAt, damaged, read, unread};
use super::thrift::{Reader, TRUE};
use crate::error::FormatError;

/// Bytes of the longest header: one with the least and the greatest value of its page.
const MOST_HEADER: u64 = 8 << 20;
/// What a byte may unpack to; deflate's most is 1,032.
const MOST_RATIO: u64 = 1100;
/// A page of so many bytes may unpack from any number.
const FREE: u64 = 16 << 20;

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    #[default]
    Stored,
    /// By Snappy.
    Snappy,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
    /// In a way that is not read, by its number.
    Other(u8),
}

impl Packing {
    /// That of a number of the specification.
    pub fn of(number: i64) -> Packing {
        match number {
            0 => Packing::Stored,
            1 => Packing::Snappy,
            2 => Packing::Gzip,
            6 => Packing::Zstd,
            other => Packing::Other(u8::try_from(other).unwrap_or(u8::MAX)),
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Packing::Stored => 0,
            Packing::Snappy => 1,
            Packing::Gzip => 2,
            Packing::Zstd => 6,
            Packing::Other(number) => number,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Stored => "nothing",
            Packing::Snappy => "Snappy",
            Packing::Gzip => "gzip",
            Packing::Zstd => "Zstandard",
            Packing::Other(3) => "LZO",
            Packing::Other(4) => "Brotli",
            Packing::Other(5 | 7) => "LZ4",
            Packing::Other(_) => "a method that is not known",
        }
    }

    pub(super) fn check(self) -> Result<(), FormatError> {
        match self {
            Packing::Other(_) => {
                Err(unread("a column", "Snappy, Zstandard, gzip or no compression", self.name()))
            }
            _ => Ok(()),
        }
    }
}

/// What a page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    Dictionary,
    /// Levels and values are compressed together.
    One,
    /// Levels stand before what is compressed.
    Two {
        levels: u64,
    },
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page {
    pub(super) form: Form,
    pub(super) values: u64,
    pub(super) encoding: i64,
    /// Where what follows the header begins.
    pub(super) body: u64,
    /// Its bytes, and those that it unpacks to, levels counted.
    pub(super) packed: u64,
    unpacked: u64,
    pub(super) packing: Packing,
}

impl Page {
    /// The page whose header stands at `at`; it ends by `end`.
    pub(super) fn read(
        file: &dyn ReadAt,
        at: u64,
        end: u64,
        packing: Packing,
    ) -> Result<Page, FormatError> {
        let left = end.min(file.size()).saturating_sub(at);
        let mut length = 256.min(left);
        let mut page = loop {
            match Page::parse(&read(file, at, length, "a page")?, packing) {
                Err(FormatError::Truncated { .. }) if length < left.min(MOST_HEADER) => {
                    length = (length * 8).min(left).min(MOST_HEADER);
                }
                other => break other?,
            }
        };
        page.body += at;
        if page.packed > end.saturating_sub(page.body) {
            let expected = format!("at most {} bytes", end.saturating_sub(page.body));
            return Err(damaged("a page", &expected, page.packed.to_string()));
        }
        Ok(page)
    }

    fn parse(bytes: &[u8], packing: Packing) -> Result<Page, FormatError> {
        let mut from = Reader::new(bytes, "the header of a page");
        let mut page = Page { packing, ..Page::default() };
        let mut number = -1;
        let mut last = 0;
        while let Some((id, kind)) = from.field(&mut last)? {
            match id {
                1 => number = from.integer(kind)?,
                2 => page.unpacked = from.count(kind)?,
                3 => page.packed = from.count(kind)?,
                5 | 7 | 8 => page.about(&mut from, kind, id)?,
                _ => from.skip(kind)?,
            }
        }
        let fits = match page.form {
            Form::One => number == 0,
            Form::Dictionary => number == 2,
            Form::Two { levels } => number == 3 && levels <= page.packed.min(page.unpacked),
            Form::Other => number == 1,
        };
        if !fits {
            return Err(from.wrong("a page of a known form", format!("form {number}")));
        }
        page.body = from.at as u64;
        Ok(page)
    }

    fn about(&mut self, from: &mut Reader, kind: u8, form: i16) -> Result<(), FormatError> {
        from.structure(kind)?;
        let mut levels = 0u64;
        let mut last = 0;
        while let Some((id, kind)) = from.field(&mut last)? {
            match (form, id) {
                (_, 1) => self.values = from.count(kind)?,
                (5 | 7, 2) | (8, 4) => self.encoding = from.integer(kind)?,
                (8, 5 | 6) => levels = levels.saturating_add(from.count(kind)?),
                (8, 7) if kind != TRUE => self.packing = Packing::Stored,
                _ => from.skip(kind)?,
            }
        }
        self.form = match form {
            5 => Form::One,
            7 => Form::Dictionary,
            _ => Form::Two { levels },
        };
        Ok(())
    }

    /// Bytes before what is compressed.
    pub(super) fn before(&self) -> u64 {
        match self.form {
            Form::Two { levels } => levels,
            _ => 0,
        }
    }

    /// What was compressed, unpacked.
    pub(super) fn unpack(&self, file: &dyn ReadAt) -> Result<Vec<u8>, FormatError> {
        let (packed, unpacked) = (self.packed - self.before(), self.unpacked - self.before());
        let most = packed.saturating_mul(MOST_RATIO).clamp(FREE, MOST_UNPACKED);
        if unpacked > most {
            let expected = format!("at most {most} bytes in {packed} packed ones");
            return Err(damaged("a page", &expected, unpacked.to_string()));
        }
        let body = read(file, self.body + self.before(), packed, "a page")?;
        let bytes = match self.packing {
            Packing::Stored => Ok(body),
            Packing::Snappy => snappy(&body, unpacked),
            Packing::Gzip => bounded(flate2::read::MultiGzDecoder::new(body.as_slice()), unpacked),
            // An empty page has no frame.
            Packing::Zstd if body.is_empty() => Ok(body),
            Packing::Zstd => zstd(&body, unpacked),
            Packing::Other(_) => return self.packing.check().map(|()| Vec::new()),
        };
        let name = self.packing.name();
        let bytes = bytes.map_err(|why| damaged("a page", &format!("data by {name}"), why))?;
        match bytes.len() as u64 == unpacked {
            true => Ok(bytes),
            false => {
                let found = bytes.len().to_string();
                Err(damaged("a page", &format!("{unpacked} bytes once unpacked"), found))
            }
        }
    }
}

/// What a page with a header at `at` unpacks to, its levels left out where they stand before.
///
/// # Errors
/// There is no page, or it is damaged.
pub fn unpack(file: &dyn ReadAt, at: u64, packing: Packing) -> Result<Vec<u8>, FormatError> {
    Page::read(file, at, file.size(), packing)?.unpack(file)
}

fn snappy(bytes: &[u8], wanted: u64) -> Result<Vec<u8>, String> {
    let said = snap::raw::decompress_len(bytes).map_err(|error| error.to_string())?;
    // Its longest copy stands for 64 bytes in 3.
    if said as u64 != wanted || said > 22 * bytes.len() {
        return Err(format!("{} bytes for {said}", bytes.len()));
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(|error| error.to_string())
}

fn zstd(bytes: &[u8], wanted: u64) -> Result<Vec<u8>, String> {
    // Its memory grows with what it gives. That it never panics is not known.
    let all = catch_unwind(AssertUnwindSafe(|| {
        let mut left = bytes;
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut left).map_err(|e| e.to_string())?;
        bounded(decoder, wanted)
    }));
    all.unwrap_or_else(|_| Err("what its decoder fails at".into()))
}

/// What a decoder gives, up to a byte more than is wanted.
fn bounded(from: impl Read, wanted: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(wanted + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
