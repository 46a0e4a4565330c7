//! Thrift's compact protocol, as far as Parquet's footers and page headers use it.
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use super::bytes::damaged;
use crate::error::FormatError;

/// Deepest nesting of what is passed over.
const MOST_DEPTH: usize = 32;

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Bytes that hold a structure.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    place: &'static str,
}

/// A field's number and kind.
pub(super) type Field = (i16, u8);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], place: &'static str) -> Reader<'a> {
        Reader { bytes, at: 0, place }
    }

    /// Checks that so many bytes are there.
    fn check(&self, count: u64) -> Result<(), FormatError> {
        let found = self.bytes.len() as u64;
        let expected = count.saturating_add(self.at as u64);
        match expected > found {
            true => Err(FormatError::Truncated { field: self.place, expected, found }),
            false => Ok(()),
        }
    }

    pub(super) fn wrong(&self, expected: &str, found: impl Into<String>) -> FormatError {
        damaged(self.place, expected, found)
    }

    fn byte(&mut self) -> Result<u8, FormatError> {
        self.check(1)?;
        let byte = self.bytes[self.at];
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number of at most 10 bytes", "more"))
    }

    fn zigzag(&mut self) -> Result<i64, FormatError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The structure's next field; none at its end. `last` is the number of the one before.
    pub(super) fn field(&mut self, last: &mut i16) -> Result<Option<Field>, FormatError> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let id = match byte >> 4 {
            0 => self.zigzag()? as i16,
            step => last.wrapping_add(i16::from(step)),
        };
        *last = id;
        Ok(Some((id, byte & 0x0f)))
    }

    /// A whole number, of a field of this kind.
    pub(super) fn integer(&mut self, kind: u8) -> Result<i64, FormatError> {
        match kind {
            4..=I64 => self.zigzag(),
            _ => Err(self.wrong("a whole number", format!("a value of kind {kind}"))),
        }
    }

    /// A number of things, which is never below 0.
    pub(super) fn count(&mut self, kind: u8) -> Result<u64, FormatError> {
        let value = self.integer(kind)?;
        u64::try_from(value).map_err(|_| self.wrong("a number from 0 on", value.to_string()))
    }

    pub(super) fn binary(&mut self, kind: u8) -> Result<&'a [u8], FormatError> {
        if kind != BINARY {
            return Err(self.wrong("a text", format!("a value of kind {kind}")));
        }
        let length = self.varint()?;
        self.check(length)?;
        let start = self.at;
        self.at += length as usize;
        Ok(&self.bytes[start..self.at])
    }

    pub(super) fn text(&mut self, kind: u8) -> Result<String, FormatError> {
        Ok(String::from_utf8_lossy(self.binary(kind)?).into_owned())
    }

    /// The length of a list and the kind of what is in it, each of at least one byte.
    pub(super) fn list(&mut self, kind: u8) -> Result<(usize, u8), FormatError> {
        if kind != LIST && kind != LIST + 1 {
            return Err(self.wrong("a list", format!("a value of kind {kind}")));
        }
        let byte = self.byte()?;
        let length = match byte >> 4 {
            15 => self.varint()?,
            few => u64::from(few),
        };
        self.check(length)?;
        Ok((length as usize, byte & 0x0f))
    }

    /// The length of a list of structures.
    pub(super) fn structures(&mut self, kind: u8) -> Result<usize, FormatError> {
        match self.list(kind)? {
            (0, _) => Ok(0),
            (length, STRUCT) => Ok(length),
            (_, kind) => Err(self.wrong("structures", format!("values of kind {kind}"))),
        }
    }

    /// Checks that a field holds a structure, which is read next.
    pub(super) fn structure(&self, kind: u8) -> Result<(), FormatError> {
        match kind {
            STRUCT => Ok(()),
            _ => Err(self.wrong("a structure", format!("a value of kind {kind}"))),
        }
    }

    pub(super) fn skip(&mut self, kind: u8) -> Result<(), FormatError> {
        self.pass(kind, false, 0)
    }

    fn pass(&mut self, kind: u8, in_list: bool, depth: usize) -> Result<(), FormatError> {
        if depth > MOST_DEPTH {
            return Err(self.wrong(&format!("at most {MOST_DEPTH} levels"), "more"));
        }
        match kind {
            TRUE | FALSE if !in_list => {}
            1..=3 => {
                self.byte()?;
            }
            4..=6 => {
                self.varint()?;
            }
            7 => (0..8).try_for_each(|_| self.byte().map(|_| ()))?,
            BINARY => {
                self.binary(kind)?;
            }
            LIST | 10 => {
                let (length, kind) = self.list(kind)?;
                (0..length).try_for_each(|_| self.pass(kind, true, depth + 1))?;
            }
            11 => {
                let length = self.varint()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                for _ in 0..length {
                    self.pass(kinds >> 4, true, depth + 1)?;
                    self.pass(kinds & 0x0f, true, depth + 1)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.pass(kind, false, depth + 1)?;
                }
            }
            other => return Err(self.wrong("a known kind of value", other.to_string())),
        }
        Ok(())
    }
}

/// Structures, written.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// The number of the last field of each structure that is open.
    last: Vec<i16>,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63) as u64);
    }

    fn field(&mut self, id: i16, kind: u8) {
        let last = self.last.last_mut().expect("fields stand in structures");
        let step = id - std::mem::replace(last, id);
        debug_assert!((1..16).contains(&step), "fields are written in order");
        self.bytes.push((step as u8) << 4 | kind);
    }

    /// A structure of its own, or one in a list.
    pub(super) fn structure(&mut self, fill: impl FnOnce(&mut Writer)) {
        self.last.push(0);
        fill(self);
        self.last.pop();
        self.bytes.push(0);
    }

    pub(super) fn inner(&mut self, id: i16, fill: impl FnOnce(&mut Writer)) {
        self.field(id, STRUCT);
        self.structure(fill);
    }

    pub(super) fn i32(&mut self, id: i16, value: i32) {
        self.field(id, I32);
        self.zigzag(value.into());
    }

    pub(super) fn i64(&mut self, id: i16, value: i64) {
        self.field(id, I64);
        self.zigzag(value);
    }

    pub(super) fn text(&mut self, id: i16, text: &str) {
        self.field(id, BINARY);
        self.element(text);
    }

    /// A text in a list.
    pub(super) fn element(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A number in a list.
    pub(super) fn number(&mut self, value: i32) {
        self.zigzag(value.into());
    }

    /// A list, of which `length` elements of this kind are written next.
    pub(super) fn list(&mut self, id: i16, length: usize, kind: u8) {
        self.field(id, LIST);
        match length {
            0..15 => self.bytes.push((length as u8) << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.varint(length as u64);
            }
        }
    }
}
