//! The directory of a zip file (PKWARE's APPNOTE.TXT, sections 4.3 and 4.5), read through a small
//! buffer: what it declares takes no memory.
//!
//! `resnet-formats` reads the zip files of PyTorch, whose strictness (nothing packed, no name
//! twice) is part of what it promises; archives that people make are of all sorts.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::super::DataError;
use super::super::store::{Blob, Reader};

const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;
const CENTRAL: usize = 46;
/// Bytes of the longest comment behind the directory.
const MOST_COMMENT: u64 = 0xffff;
const HINT: &str = "the file is damaged or cut off: copy or download it again";

/// A file in a zip file, as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    /// Where its local header stands.
    pub(super) at: u64,
    /// Bytes in the zip file, and of the file.
    pub(super) packed: u64,
    pub(super) length: u64,
    /// How it is packed: 0, not at all; 8, deflate.
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) encrypted: bool,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn wrong(file: &Path, expected: &str, found: impl Into<Box<str>>) -> DataError {
    DataError::content(file, expected, found, HINT)
}

/// Gives every file of a zip file to `each`, in the order of its directory.
///
/// # Errors
/// It is no zip file, is cut off, or its directory is damaged.
pub(super) fn members(
    blob: &dyn Blob,
    file: &Path,
    each: &mut dyn FnMut(Member),
) -> Result<(), DataError> {
    let Directory { at, bytes, entries } = directory(blob, file)?;
    if entries > bytes / CENTRAL as u64 {
        let found = format!("{entries} in {bytes} bytes");
        return Err(wrong(file, "members that its directory has room for", found));
    }
    let mut from = BufReader::with_capacity(1 << 16, Reader::new(blob, at, bytes));
    let (mut number, mut packed) = (0, 0_u64);
    // Programs without zip64 write the number of members modulo 65,536.
    loop {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let found = format!("one that ends in member {number} of {entries}");
                wrong(file, "a whole directory", found)
            }
            _ => DataError::io(file, error),
        };
        let mut record = [0; CENTRAL];
        match from.read_exact(&mut record) {
            Err(error) if number >= entries && error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(());
            }
            read => read.map_err(failed)?,
        }
        if u32_at(&record, 0) != 0x0201_4b50 {
            if number >= entries {
                return Ok(());
            }
            let found = format!("something else at member {number} of {entries}");
            return Err(wrong(file, "a directory", found));
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(&record, at)));
        let mut rest = vec![0; name + extra + comment];
        from.read_exact(&mut rest).map_err(failed)?;
        let (name, rest) = rest.split_at(name);
        let member = member(&record, name, &rest[..extra]);
        let shown = String::from_utf8_lossy(name).chars().take(200).collect::<String>();
        let Some(member) = member else {
            let found = format!("none of the member `{shown}`");
            return Err(wrong(file, "a zip64 field with the large numbers", found));
        };
        if member.at.checked_add(member.packed).is_none_or(|end| end > at) {
            let found = format!("`{shown}`: {} bytes from {}", member.packed, member.at);
            return Err(wrong(file, "members before its directory", found));
        }
        packed = packed.saturating_add(member.packed);
        if packed > at {
            return Err(wrong(file, "members that lie beside each other", format!("`{shown}`")));
        }
        if !name.ends_with(b"/") && !name.is_empty() {
            each(member);
        }
        number += 1;
    }
}

/// The member of a record of the directory; none where a number is missing.
fn member(record: &[u8; CENTRAL], name: &[u8], extra: &[u8]) -> Option<Member> {
    // Numbers that 32 bits do not hold stand in an extra field, in this order.
    let mut large = zip64(extra);
    let mut number = |at: usize| -> Option<u64> {
        let short = u32_at(record, at);
        if short != u32::MAX {
            return Some(short.into());
        }
        let (first, rest) = large.split_first_chunk::<8>()?;
        large = rest;
        Some(u64::from_le_bytes(*first))
    };
    let (length, packed, at) = (number(24)?, number(20)?, number(42)?);
    // Some programs of Windows write its separators.
    let turned = name.contains(&b'\\') && !name.contains(&b'/');
    let name = name.iter().map(|&b| if turned && b == b'\\' { b'/' } else { b }).collect();
    let (method, crc) = (u16_at(record, 10), u32_at(record, 16));
    let encrypted = u16_at(record, 8) & 1 != 0;
    Some(Member { name, at, packed, length, method, crc, encrypted })
}

/// The content of the zip64 field among extra fields; empty if there is none.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(content) = extra[4..].get(..length) else { break };
        if id == 1 {
            return content;
        }
        extra = &extra[4 + length..];
    }
    &[]
}

struct Directory {
    at: u64,
    bytes: u64,
    entries: u64,
}

/// Finds the directory by the record at the file's end.
fn directory(blob: &dyn Blob, file: &Path) -> Result<Directory, DataError> {
    let failed = |error| DataError::io(file, error);
    let length = blob.len().min(MOST_COMMENT + (END + LOCATOR) as u64);
    let mut tail = vec![0; length as usize];
    let tail_at = blob.len() - length;
    blob.read_at(tail_at, &mut tail).map_err(failed)?;
    // The record is the one whose comment ends where the file does.
    let end = (0..=tail.len().saturating_sub(END)).rev().find(|&at| {
        tail.len() >= at + END
            && u32_at(&tail, at) == 0x0605_4b50
            && at + END + usize::from(u16_at(&tail, at + 20)) == tail.len()
    });
    let Some(end) = end else {
        return Err(wrong(file, "a zip file with a directory at its end", "none"));
    };
    let record = &tail[end..];
    let mut end_at = tail_at + end as u64;
    let mut found = Directory {
        at: u32_at(record, 16).into(),
        bytes: u32_at(record, 12).into(),
        entries: u16_at(record, 10).into(),
    };
    let mut several = u16_at(record, 4) != 0 || u16_at(record, 6) != 0;
    let large = found.at == 0xffff_ffff || found.bytes == 0xffff_ffff || found.entries == 0xffff;
    if large && end >= LOCATOR && u32_at(&tail, end - LOCATOR) == 0x0706_4b50 {
        let at = u64_at(&tail, end - LOCATOR + 8);
        let last = (end_at - LOCATOR as u64).checked_sub(END64 as u64);
        let mut record = [0; END64];
        if last.is_some_and(|last| at <= last) {
            blob.read_at(at, &mut record).map_err(failed)?;
        }
        if u32_at(&record, 0) != 0x0606_4b50 {
            return Err(wrong(file, "a zip64 record where it is said to be", "none"));
        }
        several = u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0;
        found = Directory {
            at: u64_at(&record, 48),
            bytes: u64_at(&record, 40),
            entries: u64_at(&record, 32),
        };
        end_at = at;
    }
    if several {
        let hint = "join the parts first, with `zip -s 0 FILE -O WHOLE.zip`";
        return Err(DataError::content(file, "a single zip file", "one of several parts", hint));
    }
    match found.at.checked_add(found.bytes).is_some_and(|end| end <= end_at) {
        true => Ok(found),
        false => {
            let text = format!("{} bytes from {}", found.bytes, found.at);
            Err(wrong(file, &format!("a directory that ends before byte {end_at}"), text))
        }
    }
}
