//! The values of a column, group by group.

use super::bytes::{ReadAt, damaged, read, unread};
use super::footer::{Chunk, Column, Footer, Kind};
use super::page::{Form, Packing, Page};
use super::runs::Runs;
use crate::error::FormatError;

const PLAIN: i64 = 0;
const BY_DICTIONARY: [i64; 2] = [2, 8];

/// Where the bytes of a value lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Of a stored value its first byte in the file; else where its page's header stands.
    pub at: u64,
    /// Its first byte in what the page unpacks to; 0 for a stored one.
    pub inside: u64,
    /// How many there are.
    pub length: u32,
    /// How its page is compressed.
    pub packing: Packing,
}

/// What there is of a page's values.
enum Values {
    /// They lie in the file from here on; only lengths are read.
    Stored {
        start: u64,
        end: u64,
    },
    Memory {
        bytes: Vec<u8>,
        start: usize,
    },
}

impl Footer {
    /// A column of whole numbers, in one group. `each` is given one row after another; nothing
    /// where there is no value.
    ///
    /// # Errors
    /// The column is of another kind, not flat, written in a way that is not read, or damaged.
    pub fn numbers(
        &self,
        file: &dyn ReadAt,
        group: usize,
        column: usize,
        each: &mut dyn FnMut(Option<i64>),
    ) -> Result<(), FormatError> {
        let (about, chunk, rows) = self.find(group, column)?;
        let width = match about.kind {
            Kind::Int32 => 4,
            Kind::Int64 => 8,
            _ => return Err(unread(&shown(about), "whole numbers", "other values")),
        };
        let number = |bytes: &[u8]| match bytes.len() {
            4 => i64::from(i32::from_le_bytes(bytes.try_into().unwrap_or_default())),
            _ => i64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        };
        let split = |values: &Values| {
            let Values::Memory { bytes, start } = values else { return Vec::new() };
            bytes[*start..].chunks_exact(width).map(number).collect()
        };
        walk(file, about, chunk, rows, false, &mut |values, _| Ok(split(values)), &mut |value| {
            each(value.copied());
        })
    }

    /// The same for a column of bytes; `each` is given a row's bytes.
    ///
    /// # Errors
    /// As for [`numbers`](Footer::numbers).
    pub fn texts(
        &self,
        file: &dyn ReadAt,
        group: usize,
        column: usize,
        each: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), FormatError> {
        let (about, chunk, rows) = self.find(group, column)?;
        bytes_only(about)?;
        let split = |values: &Values, count| {
            let Values::Memory { bytes, .. } = values else { return Ok(Vec::new()) };
            let texts = lengths(file, values, count)?;
            let text =
                |(start, length): (u64, u32)| bytes[start as usize..][..length as usize].to_vec();
            Ok(texts.into_iter().map(text).collect::<Vec<Vec<u8>>>())
        };
        walk(
            file,
            about,
            chunk,
            rows,
            false,
            &mut |values, page| split(values, page.values),
            &mut |value| {
                each(value.map(Vec::as_slice));
            },
        )
    }

    /// The same for where a row's bytes lie. What is not compressed is not read.
    ///
    /// # Errors
    /// As for [`numbers`](Footer::numbers).
    pub fn spots(
        &self,
        file: &dyn ReadAt,
        group: usize,
        column: usize,
        each: &mut dyn FnMut(Option<Spot>),
    ) -> Result<(), FormatError> {
        let (about, chunk, rows) = self.find(group, column)?;
        bytes_only(about)?;
        let mut split = |values: &Values, page: &Paged| {
            let spot = |(start, length)| match values {
                Values::Stored { .. } => {
                    Spot { at: start, inside: 0, length, packing: Packing::Stored }
                }
                Values::Memory { .. } => {
                    Spot { at: page.at, inside: start, length, packing: page.packing }
                }
            };
            let found = lengths(file, values, page.values)?;
            Ok(found.into_iter().map(spot).collect())
        };
        walk(file, about, chunk, rows, true, &mut split, &mut |value| each(value.copied()))
    }

    fn find(&self, group: usize, column: usize) -> Result<(&Column, &Chunk, u64), FormatError> {
        let about = self.columns.get(column);
        let group = self.groups.get(group);
        let (Some(about), Some(group)) = (about, group) else {
            return Err(damaged("the footer", "a column of a row group", "none"));
        };
        let Some(chunk) = group.chunks.get(column) else {
            return Err(damaged("the footer", "a column in every row group", "none"));
        };
        if about.repeated {
            return Err(unread(&shown(about), "one value a row", "a list"));
        }
        if chunk.elsewhere {
            return Err(unread(&shown(about), "its values in this file", "those in another"));
        }
        if chunk.encrypted {
            return Err(unread(&shown(about), "its values", "encrypted ones"));
        }
        chunk.packing.check()?;
        Ok((about, chunk, group.rows))
    }
}

fn bytes_only(column: &Column) -> Result<(), FormatError> {
    match column.kind {
        Kind::Bytes => Ok(()),
        _ => Err(unread(&shown(column), "bytes", "other values")),
    }
}

fn shown(column: &Column) -> String {
    format!("column `{}`", crate::error::shorten(&column.path.join(".")))
}

/// What a page's values need to know of it.
struct Paged {
    at: u64,
    values: u64,
    packing: Packing,
}

/// Takes a page's values apart.
type Split<'a, T> = &'a mut dyn FnMut(&Values, &Paged) -> Result<Vec<T>, FormatError>;
/// Is given a row's value.
type Each<'a, T> = &'a mut dyn FnMut(Option<&T>);

/// Goes through a chunk page by page; what is `in_place` is not read where it need not be.
fn walk<T>(
    file: &dyn ReadAt,
    column: &Column,
    chunk: &Chunk,
    rows: u64,
    in_place: bool,
    split: Split<T>,
    each: Each<T>,
) -> Result<(), FormatError> {
    let end = chunk.start + chunk.length;
    let (mut at, mut left) = (chunk.start, rows);
    let mut dictionary: Vec<T> = Vec::new();
    let place = shown(column);
    while left > 0 {
        if at >= end {
            return Err(damaged(&place, &format!("{rows} rows"), (rows - left).to_string()));
        }
        let page = Page::read(file, at, end, chunk.packing)?;
        let plain = page.encoding == PLAIN;
        if page.form != Form::Other && !plain && !BY_DICTIONARY.contains(&page.encoding) {
            return Err(encoded(&place, page.encoding));
        }
        let stay = in_place && page.packing == Packing::Stored;
        let paged = |values| Paged { at, values, packing: page.packing };
        match page.form {
            Form::Other => {}
            Form::Dictionary => {
                let values = match stay {
                    true => Values::Stored { start: page.body, end: page.body + page.packed },
                    false => Values::Memory { bytes: page.unpack(file)?, start: 0 },
                };
                dictionary = split(&values, &paged(page.values))?;
            }
            Form::One | Form::Two { .. } => {
                if page.values > left {
                    let found = format!("{} more in one page", page.values);
                    return Err(damaged(&place, &format!("{left} rows more"), found));
                }
                left -= page.values;
                let (levels, values) = open(file, column, &page, stay && plain)?;
                let levels = Levels::new(&levels, column.optional, &place);
                match plain {
                    true => plainly(levels, page.values, |n| split(&values, &paged(n)), each)?,
                    false => by_number(levels, page.values, &values, &dictionary, each)?,
                }
            }
        }
        at = page.body + page.packed;
    }
    Ok(())
}

/// Which rows have a value.
struct Levels<'a> {
    runs: Runs<'a>,
    most: u32,
    place: &'a str,
}

impl<'a> Levels<'a> {
    fn new(bytes: &'a [u8], most: u32, place: &'a str) -> Levels<'a> {
        Levels { runs: Runs::new(bytes, 32 - most.leading_zeros()), most, place }
    }

    fn next(&mut self) -> Result<bool, FormatError> {
        match self.most {
            0 => Ok(true),
            most => Ok(self.runs.next().ok_or_else(|| self.few("a level"))? == most),
        }
    }

    fn few(&self, what: &str) -> FormatError {
        damaged(self.place, &format!("{what} for each row"), "too few")
    }
}

fn plainly<T>(
    mut levels: Levels,
    rows: u64,
    split: impl FnOnce(u64) -> Result<Vec<T>, FormatError>,
    each: Each<T>,
) -> Result<(), FormatError> {
    let there = (0..rows).map(|_| levels.next()).collect::<Result<Vec<bool>, _>>()?;
    let found = split(there.iter().filter(|there| **there).count() as u64)?;
    let mut found = found.iter();
    for there in there {
        match there {
            true => each(Some(found.next().ok_or_else(|| levels.few("a value"))?)),
            false => each(None),
        }
    }
    Ok(())
}

fn by_number<T>(
    mut levels: Levels,
    rows: u64,
    values: &Values,
    dictionary: &[T],
    each: Each<T>,
) -> Result<(), FormatError> {
    let Values::Memory { bytes, start } = values else { return Err(levels.few("a number")) };
    // Without any value there is no width either.
    let (width, numbers) = bytes[*start..].split_first().unwrap_or((&0, &[]));
    if *width > 32 {
        return Err(damaged(levels.place, "numbers of at most 32 bits", width.to_string()));
    }
    let mut numbers = Runs::new(numbers, u32::from(*width));
    for _ in 0..rows {
        if !levels.next()? {
            each(None);
            continue;
        }
        let number = numbers.next().ok_or_else(|| levels.few("a number"))?;
        let value = dictionary.get(number as usize).ok_or_else(|| {
            let expected = format!("a number below {}", dictionary.len());
            damaged(levels.place, &expected, number.to_string())
        })?;
        each(Some(value));
    }
    Ok(())
}

fn encoded(place: &str, encoding: i64) -> FormatError {
    let found = match encoding {
        3 => "runs".to_string(),
        5..=7 => "differences (DELTA)".to_string(),
        9 => "split bytes".to_string(),
        other => format!("encoding {other}"),
    };
    unread(place, "plain values or a dictionary", found)
}

/// A page's levels, which say what is missing, and its values.
fn open(
    file: &dyn ReadAt,
    column: &Column,
    page: &Page,
    stay: bool,
) -> Result<(Vec<u8>, Values), FormatError> {
    let short = || damaged(&shown(column), "levels inside of their page", "more");
    if let Form::Two { levels } = page.form {
        let before = read(file, page.body, levels, "levels")?;
        let values = match stay {
            true => Values::Stored { start: page.body + levels, end: page.body + page.packed },
            false => Values::Memory { bytes: page.unpack(file)?, start: 0 },
        };
        return Ok((before, values));
    }
    let known = column.optional > 0;
    if stay {
        let (start, end) = (page.body, page.body + page.packed);
        if !known {
            return Ok((Vec::new(), Values::Stored { start, end }));
        }
        if page.packed < 4 {
            return Err(short());
        }
        let length = read(file, start, 4, "levels")?;
        let length = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        if length > page.packed - 4 {
            return Err(short());
        }
        let levels = read(file, start + 4, length, "levels")?;
        return Ok((levels, Values::Stored { start: start + 4 + length, end }));
    }
    let bytes = page.unpack(file)?;
    if !known {
        return Ok((Vec::new(), Values::Memory { bytes, start: 0 }));
    }
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let levels = rest.get(..length).ok_or_else(short)?.to_vec();
    Ok((levels, Values::Memory { bytes, start: 4 + length }))
}

/// Where each of `count` values with a length before it begins, and its length.
fn lengths(file: &dyn ReadAt, values: &Values, count: u64) -> Result<Vec<(u64, u32)>, FormatError> {
    let (mut at, end) = match values {
        Values::Stored { start, end } => (*start, *end),
        Values::Memory { bytes, start } => (*start as u64, bytes.len() as u64),
    };
    let mut found = Vec::new();
    for _ in 0..count {
        let mut length = [0; 4];
        let cut = |left: u64| damaged("a page", "values inside of it", format!("{left} bytes"));
        if end.saturating_sub(at) < 4 {
            return Err(cut(end.saturating_sub(at)));
        }
        match values {
            Values::Stored { .. } => file.read_at(at, &mut length)?,
            Values::Memory { bytes, .. } => length.copy_from_slice(&bytes[at as usize..][..4]),
        }
        let length = u32::from_le_bytes(length);
        at += 4;
        if u64::from(length) > end - at {
            return Err(cut(length.into()));
        }
        found.push((at, length));
        at += u64::from(length);
    }
    Ok(found)
}
