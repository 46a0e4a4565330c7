//! Rows of a list, one after another: CSV (RFC 4180), the same with tabs or semicolons, and JSON
//! Lines. No row may be so long that it takes much memory, whatever a quotation mark is missing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv_core::ReadRecordResult;
use serde_json::Value;

use super::super::DataError;

/// Bytes of a row, and its columns.
const MOST_BYTES: usize = 1 << 18;
const MOST_COLUMNS: usize = 1 << 10;

/// A list that is being read.
pub(super) struct Rows {
    file: PathBuf,
    reader: BufReader<File>,
    syntax: Syntax,
    line: u64,
}

enum Syntax {
    Columns { core: Box<csv_core::Reader>, bytes: Vec<u8>, ends: Vec<usize> },
    Json { row: Vec<u8> },
}

/// A row: its fields as they stand, or by their names.
pub(super) enum Row<'a> {
    Columns(Vec<&'a [u8]>),
    Json(serde_json::Map<String, Value>),
}

impl Rows {
    pub(super) fn open(file: &Path) -> Result<Rows, DataError> {
        let failed = |error| DataError::io(file, error);
        if !file.metadata().map_err(failed)?.is_file() {
            let hint = "name a list";
            return Err(DataError::content(file, "a file", "something else", hint));
        }
        let mut reader = BufReader::with_capacity(1 << 16, File::open(file).map_err(failed)?);
        let start = reader.fill_buf().map_err(failed)?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            let hint = "save the list as UTF-8";
            return Err(DataError::content(file, "a list in UTF-8", "one in UTF-16", hint));
        }
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        let syntax = match ending.as_str() {
            "jsonl" | "ndjson" => Syntax::Json { row: Vec::new() },
            _ => {
                let first = start.split(|b| *b == b'\n').next().unwrap_or_default();
                let delimiter = delimiter(first, &ending);
                let core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
                let (bytes, ends) = (vec![0; MOST_BYTES], vec![0; MOST_COLUMNS]);
                Syntax::Columns { core: Box::new(core), bytes, ends }
            }
        };
        Ok(Rows { file: file.to_path_buf(), reader, syntax, line: 0 })
    }

    /// The next row, and the line that it begins in, from 1 on; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Row<'_>, u64)>, DataError> {
        let Rows { file, reader, syntax, line } = self;
        let failed = |error| DataError::io(file.as_path(), error);
        match syntax {
            Syntax::Json { row } => {
                loop {
                    row.clear();
                    *line += 1;
                    let most = MOST_BYTES as u64 + 1;
                    reader.by_ref().take(most).read_until(b'\n', row).map_err(failed)?;
                    if row.is_empty() {
                        return Ok(None);
                    }
                    if row.len() > MOST_BYTES {
                        return Err(too_long(file, *line, "is there a line break missing?"));
                    }
                    if !row.trim_ascii().is_empty() {
                        break;
                    }
                }
                let text = row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row);
                match serde_json::from_slice(text) {
                    Ok(Value::Object(fields)) => Ok(Some((Row::Json(fields), *line))),
                    Ok(_) => Err(no_object(file, *line, "another value")),
                    Err(error) => Err(no_object(file, *line, &error.to_string())),
                }
            }
            Syntax::Columns { core, bytes, ends } => {
                let (mut wrote, mut ended) = (0, 0);
                *line = core.line();
                loop {
                    let input = match reader.fill_buf() {
                        Ok(input) => input,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(failed(error)),
                    };
                    let (out, rest) = (&mut bytes[wrote..], &mut ends[ended..]);
                    let (result, read, written, more) = core.read_record(input, out, rest);
                    reader.consume(read);
                    wrote += written;
                    ended += more;
                    match result {
                        ReadRecordResult::InputEmpty => {}
                        ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                            let hint = "is there a quotation mark missing?";
                            return Err(too_long(file, *line, hint));
                        }
                        ReadRecordResult::Record => break,
                        ReadRecordResult::End => return Ok(None),
                    }
                }
                let start = |column: usize| if column == 0 { 0 } else { ends[column - 1] };
                let field = |column: usize| &bytes[start(column)..ends[column]];
                Ok(Some((Row::Columns((0..ended).map(field).collect()), *line)))
            }
        }
    }
}

/// What stands between columns, by the first line.
fn delimiter(first: &[u8], ending: &str) -> u8 {
    let has = |byte: u8| first.contains(&byte);
    match ending {
        "tsv" => b'\t',
        _ if has(b',') => b',',
        _ if has(b'\t') => b'\t',
        _ if has(b';') => b';',
        "txt" if has(b' ') => b' ',
        _ => b',',
    }
}

fn too_long(file: &Path, line: u64, hint: &str) -> DataError {
    let expected = format!("rows of at most {MOST_BYTES} bytes and {MOST_COLUMNS} columns");
    DataError::content(file, expected, format!("a longer one from line {line} on"), hint)
}

fn no_object(file: &Path, line: u64, found: &str) -> DataError {
    DataError::content(
        file,
        "a JSON object a line",
        format!("{found} in line {line}"),
        "write one object, such as {\"file_name\": \"a.jpg\", \"label\": \"cat\"}, in each line",
    )
}
