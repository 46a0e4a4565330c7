//! The members of a tar file and where their bytes stand: ustar (POSIX.1-1988), pax (POSIX.1-2001),
//! and GNU's long names.
//!
//! Only headers are read, by position, so a file of any size is listed in little time. A crate for
//! tar reads a stream, and takes names and sizes as they come; here each is checked against the
//! file's length first, and every error names the member.

use std::collections::HashMap;
use std::path::Path;

use super::super::DataError;
use super::super::store::Blob;

/// A block: headers are one, and members begin at a multiple of it.
const BLOCK: u64 = 512;
/// Bytes of the longest name, and of the longest extended header.
const MOST_NAME: u64 = 1 << 15;
const MOST_EXTENDED: u64 = 1 << 20;

/// A file in a tar file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) at: u64,
    pub(super) length: u64,
}

/// What is in a tar file.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) files: Vec<Member>,
    /// Members that are no files, and why that matters.
    pub(super) strays: Vec<(Vec<u8>, &'static str)>,
    /// Whether its end is marked, as it is unless it was cut off between two members.
    pub(super) ends: bool,
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    length: Option<u64>,
    sparse: bool,
}

/// What a plain header says of its member.
pub(in crate::data) struct Header {
    pub(in crate::data) name: Vec<u8>,
    pub(in crate::data) kind: u8,
    /// Less than 2^62.
    pub(in crate::data) length: u64,
}

/// The header in a block, if it is one.
pub(in crate::data) fn header(block: &[u8; BLOCK as usize]) -> Option<Header> {
    let length = number(&block[124..136]).filter(|&length| length < 1 << 62)?;
    is_header(block).then(|| Header { name: name_of(block), kind: block[156], length })
}

/// Lists a tar file.
///
/// # Errors
/// It is no tar file, is cut off, or damaged.
pub(super) fn members(blob: &dyn Blob, file: &Path) -> Result<Members, DataError> {
    let mut found = Members::default();
    let mut links = Vec::new();
    let mut extended = Extended::default();
    let mut at = 0;
    while at < blob.len() {
        let place = |name: &[u8]| match name.is_empty() {
            true => format!("the header at byte {at}"),
            false => format!("the member `{}` at byte {at}", shown(name)),
        };
        let wrong = |expected: &str, found: String| {
            let hint = "the file is damaged or cut off: copy or download it again";
            DataError::content(file, expected.to_string(), found, hint)
        };
        let mut header = [0; BLOCK as usize];
        if blob.len() - at < BLOCK {
            return Err(wrong("a whole tar file", format!("{}, which is cut off", place(&[]))));
        }
        blob.browse_at(at, &mut header).map_err(|error| DataError::io(file, error))?;
        if header.iter().all(|&byte| byte == 0) {
            found.ends = true;
            break;
        }
        if !is_header(&header) {
            return match at {
                0 => Err(wrong("a tar file", "another".into())),
                _ => Err(wrong("a tar file", format!("{}, whose checksum is wrong", place(&[])))),
            };
        }
        let kind = header[156];
        let own = name_of(&header);
        let name = match kind {
            b'x' | b'g' | b'L' | b'K' => own.clone(),
            _ => extended.name.take().unwrap_or_else(|| own.clone()),
        };
        let declared = match kind {
            b'x' | b'g' | b'L' | b'K' => number(&header[124..136]),
            _ => extended.length.take().or_else(|| number(&header[124..136])),
        };
        let Some(length) = declared else {
            return Err(wrong("a size", format!("none that can be read in {}", place(&name))));
        };
        let data = at + BLOCK;
        let left = blob.len() - data;
        // Links and folders may declare a size that nothing stands for.
        let length = if matches!(kind, b'1'..=b'6') { 0 } else { length };
        if length > left {
            let found = format!("{}, with {left} of its {length} bytes", place(&name));
            return Err(wrong("a whole tar file", found));
        }
        let padded = length.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        let read = |most: u64| -> Result<Vec<u8>, DataError> {
            if length > most {
                return Err(wrong(
                    &format!("at most {most} bytes of name or attributes"),
                    format!("{length} in {}", place(&own)),
                ));
            }
            let mut bytes = vec![0; length as usize];
            blob.browse_at(data, &mut bytes).map_err(|error| DataError::io(file, error))?;
            Ok(bytes)
        };
        match kind {
            b'x' => {
                let records = read(MOST_EXTENDED)?;
                if pax(&records, &mut extended).is_none() {
                    return Err(wrong("attributes", format!("unreadable ones in {}", place(&own))));
                }
            }
            b'L' => extended.name = Some(until_nul(&read(MOST_NAME)?).to_vec()),
            b'K' => extended.link = Some(until_nul(&read(MOST_NAME)?).to_vec()),
            b'g' => {}
            _ => {
                let Extended { link, sparse, .. } = std::mem::take(&mut extended);
                if name.is_empty() || name.len() as u64 > MOST_NAME {
                    return Err(wrong("a name", format!("none in {}", place(&[]))));
                }
                match kind {
                    _ if sparse => found.strays.push((name, "is a sparse file")),
                    // A name that ends so is a folder's, in the oldest files.
                    0 | b'0' | b'7' if name.ends_with(b"/") => {}
                    0 | b'0' | b'7' => found.files.push(Member { name, at: data, length }),
                    b'1' => links.push((
                        name,
                        link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
                    )),
                    b'2' => found.strays.push((name, "is a link, which says nothing by itself")),
                    b'5' => {}
                    b'S' => found.strays.push((name, "is a sparse file")),
                    _ => found.strays.push((name, "is no file")),
                }
            }
        }
        at = data.saturating_add(padded).min(blob.len());
    }
    resolve(links, &mut found);
    Ok(found)
}

/// Further names of files: they are read where the first stands.
fn resolve(links: Vec<(Vec<u8>, Vec<u8>)>, found: &mut Members) {
    if links.is_empty() {
        return;
    }
    let places: HashMap<&[u8], (u64, u64)> =
        found.files.iter().map(|m| (m.name.as_slice(), (m.at, m.length))).collect();
    let mut more = Vec::new();
    for (name, to) in links {
        match places.get(to.as_slice()) {
            Some(&(at, length)) => more.push(Member { name, at, length }),
            None => found.strays.push((name, "is a link to what is not in its file")),
        }
    }
    found.files.extend(more);
}

/// A name for people.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}

/// Whether a block's checksum is right, with bytes that have signs or have none.
fn is_header(header: &[u8; BLOCK as usize]) -> bool {
    let blanked = |at: usize| if (148..156).contains(&at) { b' ' } else { header[at] };
    let sum: i64 = (0..header.len()).map(|at| i64::from(blanked(at))).sum();
    let signed: i64 = (0..header.len()).map(|at| i64::from(blanked(at) as i8)).sum();
    let wanted = number(&header[148..156]).and_then(|sum| i64::try_from(sum).ok());
    wanted.is_some_and(|wanted| wanted == sum || wanted == signed)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn name_of(header: &[u8; BLOCK as usize]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    match &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => [prefix, b"/", name].concat(),
        false => name.to_vec(),
    }
}

/// A number in octal digits, or in GNU's base 256 where those do not reach.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let plain = high[0] == 0x80 && high[1..].iter().all(|&byte| byte == 0);
        return plain.then(|| low.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
    }
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0u64, |sum, &digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads records `LENGTH KEY=VALUE\n`, each of LENGTH bytes.
fn pax(mut records: &[u8], extended: &mut Extended) -> Option<()> {
    while !records.is_empty() && records[0] != 0 {
        let blank = records.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
        records = &records[length..];
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => extended.name = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => extended.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            _ if key.starts_with(b"GNU.sparse") => extended.sparse = true,
            _ => {}
        }
    }
    Some(())
}
