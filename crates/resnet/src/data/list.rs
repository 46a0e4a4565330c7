//! Lists of pictures: a row a picture with its path, its label and perhaps its split, as CSV, TSV
//! or JSON Lines.
//!
//! Columns are called by a header, in one of the usual spellings; without one the first is the path
//! and the second the label. Paths begin where the list lies. A folder may have a list beside or
//! above its pictures, called `metadata.csv` or `metadata.jsonl` as Hugging Face has it, for all of
//! it or in each split's folder; or one called by each split, `train.csv` and `val.csv`.
//!
//! Labels are names of classes, or numbers; the names of numbers may stand in `classes.txt` or
//! `classes.json` beside the list. Pictures are sorted by class and path, as those of a folder are.

mod column;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{Entries, Labels, Listed, Listing, Names};
use super::pictures::{self, Kind};
use super::role::{Role, names, role};
use super::store::{Files, Place, Stamp, bytes_of, path_of};
use super::walk::entries;
use super::{DataError, Format, Warning, class_names};
pub(super) use column::column;
use rows::{Row, Rows};
use serde_json::Value;

pub(super) const FORMAT: Format = Format {
    name: "list",
    takes_folder: true,
    about: "a list of pictures as CSV, TSV or JSON Lines: path, label, and perhaps split",
    sniff: |place| match lists(place) {
        Some(lists) => place.is_file() || lists.iter().all(|list| labels_pictures(&list.file)),
        None => false,
    },
    open: |place, options| pictures::open(&KIND, place, options),
};

pub(super) const KIND: Kind = Kind {
    name: FORMAT.name,
    list,
    store: |source| Arc::new(Files::new(source.root, source.indexed)),
};

/// Endings of lists.
const ENDINGS: [&str; 5] = ["csv", "tsv", "jsonl", "ndjson", "txt"];
/// Rows that are told of one by one where something is wrong with them.
const NAMED: usize = 100;

/// Spellings of columns, without case and signs; the first that is there is used.
const PATHS: &[&str] = &[
    "path",
    "file",
    "filename",
    "filepath",
    "image",
    "imagepath",
    "imagefile",
    "img",
    "imgpath",
    "picture",
];
const LABELS: &[&str] =
    &["label", "class", "target", "labels", "category", "classname", "labelname"];
const SPLITS: &[&str] = &["split", "set", "fold", "subset", "partition"];

/// A list, and the split that all of it is of.
struct List {
    split: Option<(Role, String)>,
    file: PathBuf,
}

/// Whether a file is called as lists are.
fn is_list(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.contains(&ending.to_lowercase().as_str())
        && file
            .file_name()
            .is_some_and(|name| class_names::FILES.iter().all(|other| name != *other))
        && file.is_file()
}

/// The lists that a place is or holds: itself, `metadata.csv`, those in the folders of splits, or
/// those called by splits.
fn lists(place: &Path) -> Option<Vec<List>> {
    if is_list(place) {
        return Some(vec![List { split: None, file: place.to_path_buf() }]);
    }
    let inside = entries(place).ok()?;
    let metadata = |folder: &Path| {
        let names = ["metadata.csv", "metadata.tsv", "metadata.jsonl"];
        names.iter().map(|name| folder.join(name)).find(|file| file.is_file())
    };
    if let Some(file) = metadata(place) {
        return Some(vec![List { split: None, file }]);
    }
    let named = |path: &Path| {
        let name = path.file_stem()?.to_str()?.to_string();
        role(&name).map(|(role, _)| (role, name))
    };
    let of_folder =
        |folder: &PathBuf| Some(List { split: Some(named(folder)?), file: metadata(folder)? });
    let of_file = |file: &PathBuf| {
        let plain = is_list(file) && file.extension().is_some_and(|ending| ending != "txt");
        plain.then(|| Some(List { split: Some(named(file)?), file: file.clone() }))?
    };
    let mut lists: Vec<List> = inside.folders.iter().filter_map(of_folder).collect();
    if lists.is_empty() {
        lists = inside.files.iter().filter_map(of_file).collect();
    }
    let of_role = |role| move |list: &List| list.split.as_ref().is_some_and(|s| s.0 == role);
    lists.sort_by_key(|list| list.split.as_ref().map(|(role, _)| *role as u8));
    lists.iter().any(of_role(Role::Train)).then_some(lists)
}

/// Whether a list names pictures and their labels; others may hold captions.
fn labels_pictures(file: &Path) -> bool {
    let found = Rows::open(file).and_then(|mut rows| match rows.next()? {
        Some((row, _)) => Columns::of(&row, file).map(Some),
        None => Ok(None),
    });
    matches!(found, Ok(Some((Columns::Keys { .. }, _) | (_, true))))
}

/// Where in a row its parts stand.
enum Columns {
    Numbers { path: usize, label: usize, split: Option<usize> },
    Keys { path: String, label: String, split: Option<String> },
}

impl Columns {
    /// Those of a list by its first row, and whether that is a header.
    fn of(row: &Row, file: &Path) -> Result<(Columns, bool), DataError> {
        let names: Vec<String> = match row {
            Row::Columns(fields) => {
                fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
            }
            Row::Json(fields) => fields.keys().cloned().collect(),
        };
        let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let find = |spellings: &[&str]| {
            spellings.iter().find_map(|known| plain.iter().position(|name| name == known))
        };
        let (path, label, split) = (find(PATHS), find(LABELS), find(SPLITS));
        let (path, label) = match (path, label, row) {
            (Some(path), Some(label), _) => (path, label),
            // Without a header: what is called by no column is a path and a label.
            (None, None, Row::Columns(fields)) if fields.len() > 1 && is_path(fields[0]) => {
                let split = fields.get(2).and(Some(2));
                return Ok((Columns::Numbers { path: 0, label: 1, split }, false));
            }
            (path, _, _) => {
                let (what, spellings) = match path {
                    Some(_) => ("labels", LABELS),
                    None => ("paths", PATHS),
                };
                let mut found: String = names.join(", ").chars().take(200).collect();
                if found.is_empty() {
                    found = "none".into();
                }
                let hint = format!("call it one of {}", spellings.join(", "));
                return Err(DataError::content(file, format!("a column of {what}"), found, hint));
            }
        };
        let columns = match row {
            Row::Columns(_) => Columns::Numbers { path, label, split },
            Row::Json(_) => Columns::Keys {
                path: names[path].clone(),
                label: names[label].clone(),
                split: split.map(|split| names[split].clone()),
            },
        };
        Ok((columns, matches!(row, Row::Columns(_))))
    }

    /// Path, label and split of a row, where they are there.
    fn read(&self, row: &Row) -> [Option<Vec<u8>>; 3] {
        match (self, row) {
            (Columns::Numbers { path, label, split }, Row::Columns(fields)) => {
                let field = |at: usize| fields.get(at).map(|field| field.to_vec());
                [field(*path), field(*label), split.and_then(field)]
            }
            (Columns::Keys { path, label, split }, Row::Json(fields)) => {
                let field = |key: &String| match fields.get(key)? {
                    Value::String(text) => Some(text.clone().into_bytes()),
                    Value::Number(number) => Some(number.to_string().into_bytes()),
                    Value::Bool(value) => Some(value.to_string().into_bytes()),
                    _ => None,
                };
                [field(path), field(label), split.as_ref().and_then(field)]
            }
            _ => [None, None, None],
        }
    }
}

/// A column's name without case and signs.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a text looks like the path of a file.
fn is_path(text: &[u8]) -> bool {
    path_of(text).extension().is_some() || text.contains(&b'/')
}

/// A path from the folder of the data on, as a folder's are written.
fn tidy(path: &[u8], list: &Path, root: &Path) -> Vec<u8> {
    let path = path.trim_ascii();
    let turned = path.contains(&b'\\') && !path.contains(&b'/');
    let path: Vec<u8> = match turned {
        true => path.iter().map(|&b| if b == b'\\' { b'/' } else { b }).collect(),
        false => path.to_vec(),
    };
    let parts = path_of(&path);
    let parts = parts.strip_prefix(".").unwrap_or(&parts);
    let folder = list.parent().unwrap_or(Path::new(""));
    bytes_of(&folder.strip_prefix(root).unwrap_or(folder).join(parts)).to_vec()
}

fn list(place: &Path) -> Result<Listing, DataError> {
    let Some(lists) = lists(place) else {
        let expected = "a list, or a folder with metadata.csv or metadata.jsonl";
        let found = if place.is_dir() { super::describe(place) } else { "another file".into() };
        let hint = "name a file that ends in .csv, .tsv or .jsonl";
        return Err(DataError::content(place, expected, found, hint));
    };
    let root = match place.is_dir() {
        true => place,
        false => place.parent().unwrap_or(Path::new("")),
    };
    let stamp = |path: &Path| -> Result<(PathBuf, Stamp), DataError> {
        let stamp = Stamp::of(path).map_err(|error| DataError::io(path, error))?;
        Ok((path.strip_prefix(root).unwrap_or(path).to_path_buf(), stamp))
    };
    let mut listing = Listing { root: root.to_path_buf(), ..Listing::default() };
    if place.is_dir() {
        // Another list would be read as well, or in the place of one.
        let failed = |error| DataError::io(root, error);
        listing.watched.push((PathBuf::new(), Stamp::listing(root).map_err(failed)?));
        let is_split = |folder: &Path| {
            folder
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| role(name).is_some())
        };
        for folder in entries(root)?.folders.iter().filter(|folder| is_split(folder)) {
            listing.watched.push(stamp(folder)?);
        }
    }
    let mut labels = Labels::default();
    for one in &lists {
        listing.watched.push(stamp(&one.file)?);
        read(one, root, &mut listing, &mut labels)?;
    }
    listing.parts.retain(|part| part.entries.len() > 0 || !part.strays.is_empty());
    listing.parts.sort_by_key(|part| part.role as u8);
    let named = class_names::beside(root)?;
    if let Some((file, _)) = &named {
        listing.watched.push(stamp(file)?);
    }
    let named = named.as_ref().map(|(file, names)| Names { file, names: names.clone() });
    listing.numbered = labels.settle(&mut listing.parts, named)?;
    listing.parts.iter_mut().for_each(|part| part.entries.sort());
    match listing.parts.first() {
        Some(part) if part.role == Role::Train => Ok(listing),
        Some(part) => Err(DataError::content(
            &lists[0].file,
            format!("rows of {} beside those of {}", names(Role::Train), part.name),
            "none",
            "labels are numbered by the training pictures: list them too",
        )),
        None => {
            Err(DataError::content(&lists[0].file, "rows", "none", "list a picture in each row"))
        }
    }
}

/// Reads a list into the parts of a listing.
fn read(
    list: &List,
    root: &Path,
    listing: &mut Listing,
    labels: &mut Labels,
) -> Result<(), DataError> {
    let file = list.file.as_path();
    let mut rows = Rows::open(file)?;
    let mut columns = None;
    let mut spoilt = 0;
    while let Some((row, line)) = rows.next()? {
        let known = match &columns {
            Some(columns) => columns,
            None => {
                let (found, header) = Columns::of(&row, file)?;
                let found = columns.insert(found);
                if header {
                    continue;
                }
                found
            }
        };
        let [path, label, split] = known.read(&row);
        let part = match (&list.split, &split) {
            (Some((role, name)), _) => Some((*role, name.clone())),
            (None, None) => Some((Role::Train, String::new())),
            (None, Some(text)) => {
                let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
                role(&text).map(|(role, _)| (role, text))
            }
        };
        let label = label.as_ref().and_then(|label| std::str::from_utf8(label).ok());
        let label = label.and_then(|label| labels.number(label));
        let path = path.filter(|path| !path.trim_ascii().is_empty());
        let (why, split) = match (part, path, label) {
            (Some((role, name)), Some(path), Some(label)) => {
                let part = part_of(listing, role, &name, file);
                part.entries.push(&tidy(&path, file, root), label, Place::default());
                continue;
            }
            (None, ..) => ("names no split: they are train, val, test", None),
            (part, None, _) => ("has no path", part),
            (part, _, None) => ("has no label, or none in UTF-8", part),
        };
        spoilt += 1;
        if spoilt <= NAMED {
            let (role, name) = split.unwrap_or((Role::Train, String::new()));
            let warning = Warning::file(file, format!("line {line} {why}"));
            part_of(listing, role, &name, file).strays.push(warning);
        }
    }
    if spoilt > NAMED {
        let message = format!("{} more lines without path, label or split", spoilt - NAMED);
        let warning = Warning::file(file, message);
        listing.unused.push(warning);
    }
    Ok(())
}

/// The part of a role, made if it is not there.
fn part_of<'a>(listing: &'a mut Listing, role: Role, name: &str, file: &Path) -> &'a mut Listed {
    let at = listing.parts.iter().position(|part| part.role == role);
    let at = at.unwrap_or_else(|| {
        listing.parts.push(Listed {
            role,
            name: name.to_string(),
            place: file.to_path_buf(),
            classes: Vec::new(),
            entries: Entries::default(),
            strays: Vec::new(),
        });
        listing.parts.len() - 1
    });
    &mut listing.parts[at]
}

#[cfg(test)]
mod tests;
