//! What a column of a list says of each picture, beside path, label and split.

use std::collections::HashMap;
use std::path::Path;

use super::super::DataError;
use super::rows::{Row, Rows};
use super::{Columns, Value, lists, plain, tidy};

/// The texts of the column that is called so, by the paths that the listing of the same place has;
/// of rows without one nothing. Spelling counts as little as in the other columns.
///
/// # Errors
/// A list cannot be read, or has no such column.
pub(in crate::data) fn column(
    place: &Path,
    name: &str,
) -> Result<HashMap<Vec<u8>, String>, DataError> {
    let root = if place.is_dir() { place } else { place.parent().unwrap_or(Path::new("")) };
    let mut texts = HashMap::new();
    for list in lists(place).unwrap_or_default() {
        let file = list.file.as_path();
        let mut rows = Rows::open(file)?;
        let mut columns = None;
        while let Some((row, _)) = rows.next()? {
            let (known, wanted) = match &columns {
                Some(columns) => columns,
                None => {
                    let (found, header) = Columns::of(&row, file)?;
                    let wanted = Wanted::of(&row, header, name, file)?;
                    let known = columns.insert((found, wanted));
                    if header {
                        continue;
                    }
                    known
                }
            };
            let [path, ..] = known.read(&row);
            if let (Some(path), Some(text)) = (path, wanted.read(&row)) {
                texts.insert(tidy(&path, file, root), text);
            }
        }
    }
    Ok(texts)
}

/// Where in a row the column stands.
enum Wanted {
    Number(usize),
    Key(String),
}

impl Wanted {
    fn of(row: &Row, header: bool, name: &str, file: &Path) -> Result<Wanted, DataError> {
        let names: Vec<String> = match row {
            Row::Columns(_) if !header => Vec::new(),
            Row::Columns(fields) => {
                fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
            }
            Row::Json(fields) => fields.keys().cloned().collect(),
        };
        let found = names.iter().position(|known| plain(known) == plain(name));
        match (found, row) {
            (Some(at), Row::Columns(_)) => Ok(Wanted::Number(at)),
            (Some(at), Row::Json(_)) => Ok(Wanted::Key(names[at].clone())),
            (None, _) => {
                let mut found: String = names.join(", ").chars().take(200).collect();
                if found.is_empty() {
                    found = "no names of columns".into();
                }
                let hint = "name one of these, in the first line";
                Err(DataError::content(file, format!("a column `{name}`"), found, hint))
            }
        }
    }

    fn read(&self, row: &Row) -> Option<String> {
        let text = match (self, row) {
            (Wanted::Number(at), Row::Columns(fields)) => {
                String::from_utf8_lossy(fields.get(*at)?).trim().to_string()
            }
            (Wanted::Key(key), Row::Json(fields)) => match fields.get(key)? {
                Value::String(text) => text.trim().to_string(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            },
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }
}
