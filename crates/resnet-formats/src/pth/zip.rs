//! The part of the zip format that `torch.save` uses: stored entries, and zip64.
//!
//! Source: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5. A general zip crate would inflate, and would
//! pick one of two entries that contradict each other; here both are errors, so no entry is larger
//! than the file and all readers see the same content.

use crate::error::{FormatError, shorten};
use crate::strangers;
use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

/// Largest directory accepted, in bytes: a million entries.
const MAX_DIRECTORY: u64 = 64 << 20;
const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;
const CENTRAL: usize = 46;
const LOCAL: usize = 30;
const MAX_COMMENT: u64 = 0xffff;

pub(super) const DAMAGED: &str = "the file is damaged: copy or download it again";
const RESAVE: &str = "open it with PyTorch and write it again with torch.save";

/// A file inside the zip file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) at: u64,
    /// How many there are.
    pub(super) bytes: u64,
    /// Their checksum; 0 when PyTorch was told not to make one.
    pub(super) crc: u32,
}

/// The error for a field of an entry.
pub(super) fn wrong(
    entry: &str,
    field: &'static str,
    expected: impl ToString,
    found: impl ToString,
    advice: &'static str,
) -> FormatError {
    FormatError::Zip {
        entry: shorten(entry),
        field,
        expected: expected.to_string(),
        found: found.to_string(),
        advice,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn read_at(from: &mut (impl Read + Seek), at: u64, bytes: &mut [u8]) -> Result<(), FormatError> {
    from.seek(SeekFrom::Start(at))?;
    Ok(from.read_exact(bytes)?)
}

/// Every entry of a zip file of `len` bytes, in the order of its directory. They do not overlap,
/// and lie before the directory.
pub(super) fn entries(from: &mut (impl Read + Seek), len: u64) -> Result<Vec<Entry>, FormatError> {
    let directory = directory(from, len)?;
    let mut bytes = vec![0; directory.bytes as usize];
    read_at(from, directory.at, &mut bytes)?;

    let mut entries: Vec<Entry> = Vec::new();
    let mut extents = Vec::new();
    let mut names = HashSet::new();
    let mut rest = bytes.as_slice();
    for _ in 0..directory.entries {
        let (mut entry, header_at, length) = central(rest)?;
        rest = &rest[length..];
        if !names.insert(entry.name.clone()) {
            return Err(wrong(&entry.name, "name", "one of each name", "two", RESAVE));
        }
        let name = entry.name.as_str();
        let mut local = [0; LOCAL];
        if header_at.saturating_add(LOCAL as u64) > directory.at {
            let expected = format!("an offset before the directory at {}", directory.at);
            return Err(wrong(name, "offset", expected, header_at, DAMAGED));
        }
        read_at(from, header_at, &mut local)?;
        let mut local_name = vec![0; name.len()];
        if u32_at(&local, 0) != 0x0403_4b50 || usize::from(u16_at(&local, 26)) != name.len() {
            return Err(wrong(name, "local header", "one of that name", "another", DAMAGED));
        }
        let extra: u64 = u16_at(&local, 28).into();
        entry.at = header_at + LOCAL as u64 + name.len() as u64 + extra;
        let end = entry.at.checked_add(entry.bytes);
        let Some(end) = end.filter(|&end| end <= directory.at) else {
            let room = directory.at.saturating_sub(entry.at);
            let expected = format!("at most the {room} bytes up to the directory");
            return Err(wrong(name, "size", expected, entry.bytes, DAMAGED));
        };
        from.read_exact(&mut local_name)?;
        if local_name != name.as_bytes() {
            return Err(wrong(name, "local header", "one of that name", "another", DAMAGED));
        }
        extents.push((header_at, end, entries.len()));
        entries.push(entry);
    }
    if !rest.is_empty() {
        let found = format!("{} bytes more", rest.len());
        return Err(wrong("directory", "size", "what the entries take", found, DAMAGED));
    }
    extents.sort_unstable();
    for pair in extents.windows(2) {
        if pair[1].0 < pair[0].1 {
            let expected = format!("an offset of {} or more, where another ends", pair[0].1);
            let name = &entries[pair[1].2].name;
            return Err(wrong(name, "offset", expected, pair[1].0, DAMAGED));
        }
    }
    Ok(entries)
}

struct Directory {
    at: u64,
    bytes: u64,
    entries: u64,
}

/// Finds the directory from the record at the file's end.
fn directory(from: &mut (impl Read + Seek), len: u64) -> Result<Directory, FormatError> {
    let tail_len = len.min(MAX_COMMENT + (END + LOCATOR) as u64);
    let mut tail = vec![0; tail_len as usize];
    read_at(from, len - tail_len, &mut tail)?;
    // The record is the one whose comment ends where the file does.
    let end = (0..=tail.len().saturating_sub(END)).rev().find(|&at| {
        tail.len() >= at + END
            && u32_at(&tail, at) == 0x0605_4b50
            && at + END + usize::from(u16_at(&tail, at + 20)) == tail.len()
    });
    let Some(end) = end else {
        return Err(FormatError::Content {
            expected: "a zip file with a directory at its end",
            found: "none".into(),
            advice: "the file is cut short: copy or download it again",
        });
    };
    let mut end_at = len - tail_len + end as u64;
    let record = &tail[end..];
    let mut directory = Directory {
        at: u32_at(record, 16).into(),
        bytes: u32_at(record, 12).into(),
        entries: u16_at(record, 10).into(),
    };
    let mut disks = u16_at(record, 4) != 0 || u16_at(record, 6) != 0;
    let zip64 = directory.at == 0xffff_ffff
        || directory.bytes == 0xffff_ffff
        || directory.entries == 0xffff;
    if zip64 && end >= LOCATOR && u32_at(&tail, end - LOCATOR) == 0x0706_4b50 {
        let at = u64_at(&tail, end - LOCATOR + 8);
        let last = (end_at - LOCATOR as u64).checked_sub(END64 as u64);
        if last.is_none_or(|last| at > last) {
            let expected = "an offset before the locator";
            return Err(wrong("zip64 record", "offset", expected, at, DAMAGED));
        }
        let mut record = [0; END64];
        read_at(from, at, &mut record)?;
        if u32_at(&record, 0) != 0x0606_4b50 {
            let found = format!("{:08x}", u32_at(&record, 0));
            return Err(wrong("zip64 record", "signature", "06064b50", found, DAMAGED));
        }
        disks = u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0;
        directory = Directory {
            at: u64_at(&record, 48),
            bytes: u64_at(&record, 40),
            entries: u64_at(&record, 32),
        };
        end_at = at;
    }
    if disks {
        return Err(wrong("directory", "disk", "a single file", "several", RESAVE));
    }
    let directory_end = directory.at.checked_add(directory.bytes);
    if directory_end.is_none_or(|directory_end| directory_end > end_at) {
        let expected = format!("an end of at most {end_at}");
        let found = format!("{} bytes from {}", directory.bytes, directory.at);
        return Err(wrong("directory", "size", expected, found, DAMAGED));
    }
    if directory.bytes > MAX_DIRECTORY {
        return Err(FormatError::Limit {
            what: "bytes in the zip file's directory",
            limit: MAX_DIRECTORY,
        });
    }
    Ok(directory)
}

/// The first entry of a directory, where its local header stands, and how long its record is.
fn central(bytes: &[u8]) -> Result<(Entry, u64, usize), FormatError> {
    let short = || wrong("directory", "size", "what the entries take", "less", DAMAGED);
    if bytes.len() < CENTRAL {
        return Err(short());
    }
    if u32_at(bytes, 0) != 0x0201_4b50 {
        let found = format!("{:08x}", u32_at(bytes, 0));
        return Err(wrong("directory", "signature", "02014b50", found, DAMAGED));
    }
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(bytes, at)));
    let length = CENTRAL + name_len + extra_len + comment_len;
    if bytes.len() < length {
        return Err(short());
    }
    let name = &bytes[CENTRAL..CENTRAL + name_len];
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(wrong("directory", "name", "UTF-8", "other bytes", RESAVE));
    };
    if let Some(stranger) = strangers::archive(name) {
        return Err(stranger);
    }
    if u16_at(bytes, 8) & 1 != 0 {
        return Err(wrong(name, "encryption", "none", "some", RESAVE));
    }
    let method = u16_at(bytes, 10);
    if method != 0 {
        let found = match method {
            8 => "8, deflate".into(),
            other => other.to_string(),
        };
        return Err(wrong(name, "compression", "0, none, as torch.save writes", found, RESAVE));
    }
    let (crc, packed, unpacked, at) =
        (u32_at(bytes, 16), u32_at(bytes, 20), u32_at(bytes, 24), u32_at(bytes, 42));
    // Numbers that 32 bits do not hold stand in an extra field, in this order.
    let mut large = zip64_field(&bytes[CENTRAL + name_len..][..extra_len]);
    let mut number = |short: u32| -> Option<u64> {
        if short != u32::MAX {
            return Some(short.into());
        }
        let (first, rest) = large.split_first_chunk::<8>()?;
        large = rest;
        Some(u64::from_le_bytes(*first))
    };
    let numbers = (number(unpacked), number(packed), number(at));
    let (Some(unpacked), Some(packed), Some(at)) = numbers else {
        let expected = "a zip64 field with the large numbers";
        return Err(wrong(name, "extra field", expected, "none", DAMAGED));
    };
    if packed != unpacked {
        let expected = format!("{packed}, its size in the file");
        return Err(wrong(name, "size", expected, unpacked, DAMAGED));
    }
    let entry = Entry { name: name.to_owned(), at: 0, bytes: unpacked, crc };
    Ok((entry, at, length))
}

/// The content of the zip64 field among extra fields; empty if there is none.
fn zip64_field(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(content) = extra[4..].get(..len) else {
            break;
        };
        if id == 1 {
            return content;
        }
        extra = &extra[4 + len..];
    }
    &[]
}
