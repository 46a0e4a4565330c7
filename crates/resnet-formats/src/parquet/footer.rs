//! What the end of a file says: columns, and where each row group has them.

use super::bytes::{ENCRYPTED, MAGIC, ReadAt, damaged, read};
use super::page::Packing;
use super::thrift::Reader;
use crate::error::{FormatError, shorten};

/// Bytes of the longest footer that is read: a million chunks of columns.
const MOST: u64 = 64 << 20;
/// Columns, and structs that hold them.
const MOST_COLUMNS: usize = 10_000;
const MOST_DEPTH: usize = 16;
/// Bytes of the name of a column or a struct.
const MOST_NAME: usize = 256;
/// Row groups, columns of all of them, and texts.
const MOST_PARTS: u64 = 1 << 20;
const PLACE: &str = "the footer";

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Footer {
    /// Columns that hold values, those inside of structs too.
    pub columns: Vec<Column>,
    /// The rows, in pieces.
    pub groups: Vec<Group>,
    /// Texts by name, such as `huggingface`.
    pub metadata: Vec<(String, String)>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, after those of the structs that it is in.
    pub path: Vec<String>,
    /// How its values are stored.
    pub kind: Kind,
    /// Whether its bytes are declared to be text.
    pub text: bool,
    /// Whether a row may have several values, as of a list.
    pub repeated: bool,
    /// How many of the path's parts may be missing.
    pub(super) optional: u32,
}

/// How the values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers of 4 bytes.
    Int32,
    /// Whole numbers of 8 bytes.
    Int64,
    /// Bytes of any number.
    Bytes,
    /// What is not read.
    Other,
}

/// A piece of the rows.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// How many there are.
    pub rows: u64,
    /// What there is of each column.
    pub(super) chunks: Vec<Chunk>,
}

/// A column's part of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunk {
    pub(super) packing: Packing,
    pub(super) start: u64,
    pub(super) length: u64,
    /// Whether its bytes are in another file.
    pub(super) elsewhere: bool,
    pub(super) encrypted: bool,
}

impl Footer {
    /// Reads the end of a file.
    ///
    /// # Errors
    /// The file is no Parquet file, cut off, damaged or encrypted.
    pub fn read(file: &dyn ReadAt) -> Result<Footer, FormatError> {
        let size = file.size();
        if size < 12 {
            let (expected, found) = (12, size);
            return Err(FormatError::Truncated { field: "a Parquet file", expected, found });
        }
        let end = read(file, size - 8, 8, "the end")?;
        let (length, magic) = end.split_at(4);
        if magic == ENCRYPTED {
            return Err(FormatError::Content {
                expected: "a Parquet file",
                found: "one that is encrypted".into(),
                advice: "write it without encryption",
            });
        }
        if magic != MAGIC {
            let found = format!("`{}`", shorten(&String::from_utf8_lossy(magic)));
            return Err(damaged("the last bytes", "`PAR1`", found));
        }
        let length = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        if length > MOST.min(size - 12) {
            let most = format!("at most {} bytes", MOST.min(size - 12));
            return Err(damaged(PLACE, &most, length.to_string()));
        }
        let footer = Footer::parse(&read(file, size - 8 - length, length, PLACE)?)?;
        footer.check(size)?;
        Ok(footer)
    }

    fn parse(bytes: &[u8]) -> Result<Footer, FormatError> {
        let mut from = Reader::new(bytes, PLACE);
        let mut footer = Footer::default();
        let (mut last, mut parts) = (0, 0);
        while let Some((id, kind)) = from.field(&mut last)? {
            match id {
                2 => footer.columns = schema(&mut from, kind)?,
                4 => {
                    for _ in 0..from.structures(kind)? {
                        count(&mut parts)?;
                        footer.groups.push(group(&mut from, &mut parts)?);
                    }
                }
                5 => {
                    for _ in 0..from.structures(kind)? {
                        count(&mut parts)?;
                        footer.metadata.push(pair(&mut from)?);
                    }
                }
                _ => from.skip(kind)?,
            }
        }
        Ok(footer)
    }

    fn check(&self, size: u64) -> Result<(), FormatError> {
        let mut rows = 0u64;
        // A row of a small picture has bytes; of a few all may be empty.
        let most = size.min((size / 8).max(1 << 20));
        for (number, group) in self.groups.iter().enumerate() {
            let place = format!("row group {number}");
            if group.chunks.len() != self.columns.len() {
                let expected = format!("{} columns", self.columns.len());
                return Err(damaged(&place, &expected, group.chunks.len().to_string()));
            }
            rows = rows.saturating_add(group.rows);
            if rows > most {
                let expected = format!("at most {most} rows in {size} bytes");
                return Err(damaged(&place, &expected, rows.to_string()));
            }
            for chunk in group.chunks.iter().filter(|c| !c.elsewhere && !c.encrypted) {
                if chunk.start.checked_add(chunk.length).is_none_or(|end| end > size) {
                    let expected = format!("columns inside the file's {size} bytes");
                    let found = format!("{} bytes from byte {} on", chunk.length, chunk.start);
                    return Err(damaged(&place, &expected, found));
                }
            }
        }
        Ok(())
    }
}

/// An entry of the schema, which lists a tree from its root on, each before what is in it.
#[derive(Default)]
struct Element {
    name: String,
    kind: Option<i64>,
    repetition: i64,
    children: u64,
    text: bool,
}

fn schema(from: &mut Reader, kind: u8) -> Result<Vec<Column>, FormatError> {
    let length = from.structures(kind)?;
    if length > MOST_COLUMNS {
        let limit = MOST_COLUMNS as u64;
        return Err(FormatError::Limit { what: "columns", limit });
    }
    let mut elements = Vec::new();
    for _ in 0..length {
        elements.push(element(from)?);
    }
    let mut columns = Vec::new();
    // Structs that are open: what is left in each, and what they are for a column inside.
    let mut open: Vec<(u64, bool, bool, String)> = Vec::new();
    for (at, element) in elements.into_iter().enumerate() {
        if at == 0 {
            open.push((element.children, false, false, String::new()));
            continue;
        }
        while open.last().is_some_and(|(left, ..)| *left == 0) {
            open.pop();
        }
        let Some((left, ..)) = open.last_mut() else {
            return Err(from.wrong("columns inside the table", "one more"));
        };
        *left -= 1;
        let (optional, repeated) = (element.repetition != 0, element.repetition == 2);
        if element.children > 0 {
            if open.len() >= MOST_DEPTH {
                return Err(from.wrong(&format!("at most {MOST_DEPTH} levels"), "more"));
            }
            open.push((element.children, optional, repeated, element.name));
            continue;
        }
        let around = &open[1..];
        let mut path: Vec<String> = around.iter().map(|(.., name)| name.clone()).collect();
        path.push(element.name);
        let optional = usize::from(optional) + around.iter().filter(|(_, o, ..)| *o).count();
        columns.push(Column {
            path,
            kind: match element.kind {
                Some(1) => Kind::Int32,
                Some(2) => Kind::Int64,
                Some(6) => Kind::Bytes,
                _ => Kind::Other,
            },
            text: element.text,
            repeated: repeated || around.iter().any(|(_, _, repeated, _)| *repeated),
            optional: optional as u32,
        });
    }
    Ok(columns)
}

fn element(from: &mut Reader) -> Result<Element, FormatError> {
    let mut found = Element::default();
    let mut last = 0;
    while let Some((id, kind)) = from.field(&mut last)? {
        match id {
            1 => found.kind = Some(from.integer(kind)?),
            3 => found.repetition = from.integer(kind)?,
            4 => {
                found.name = from.text(kind)?;
                if found.name.len() > MOST_NAME {
                    let limit = MOST_NAME as u64;
                    return Err(FormatError::Limit { what: "bytes of a column's name", limit });
                }
            }
            5 => found.children = from.count(kind)?,
            // UTF8, ENUM and JSON are texts.
            6 => found.text |= matches!(from.integer(kind)?, 0 | 4 | 19),
            10 => {
                from.structure(kind)?;
                let mut last = 0;
                while let Some((id, kind)) = from.field(&mut last)? {
                    found.text |= matches!(id, 1 | 4 | 12);
                    from.skip(kind)?;
                }
            }
            _ => from.skip(kind)?,
        }
    }
    Ok(found)
}

/// Counts a part of a footer: a byte of the file may stand for one, which takes more in memory.
fn count(parts: &mut u64) -> Result<(), FormatError> {
    *parts += 1;
    match *parts <= MOST_PARTS {
        true => Ok(()),
        false => {
            Err(FormatError::Limit { what: "row groups, columns and texts", limit: MOST_PARTS })
        }
    }
}

fn group(from: &mut Reader, parts: &mut u64) -> Result<Group, FormatError> {
    let mut found = Group::default();
    let mut last = 0;
    while let Some((id, kind)) = from.field(&mut last)? {
        match id {
            1 => {
                for _ in 0..from.structures(kind)? {
                    count(parts)?;
                    found.chunks.push(chunk(from)?);
                }
            }
            3 => found.rows = from.count(kind)?,
            _ => from.skip(kind)?,
        }
    }
    Ok(found)
}

fn chunk(from: &mut Reader) -> Result<Chunk, FormatError> {
    let mut found = Chunk::default();
    let mut last = 0;
    while let Some((id, kind)) = from.field(&mut last)? {
        match id {
            1 => found.elsewhere = !from.binary(kind)?.is_empty(),
            3 => about(from, kind, &mut found)?,
            8 | 9 => {
                found.encrypted = true;
                from.skip(kind)?;
            }
            _ => from.skip(kind)?,
        }
    }
    Ok(found)
}

fn about(from: &mut Reader, kind: u8, found: &mut Chunk) -> Result<(), FormatError> {
    from.structure(kind)?;
    let (mut data, mut dictionary) = (0, None);
    let mut last = 0;
    while let Some((id, kind)) = from.field(&mut last)? {
        match id {
            4 => found.packing = Packing::of(from.integer(kind)?),
            7 => found.length = from.count(kind)?,
            9 => data = from.count(kind)?,
            11 => dictionary = Some(from.count(kind)?),
            _ => from.skip(kind)?,
        }
    }
    // Some writers say 0 for a dictionary that is not there.
    found.start = dictionary.filter(|&at| at > 0).map_or(data, |at| at.min(data));
    Ok(())
}

fn pair(from: &mut Reader) -> Result<(String, String), FormatError> {
    let (mut name, mut value) = (String::new(), String::new());
    let mut last = 0;
    while let Some((id, kind)) = from.field(&mut last)? {
        match id {
            1 => name = from.text(kind)?,
            2 => value = from.text(kind)?,
            _ => from.skip(kind)?,
        }
    }
    Ok((name, value))
}
