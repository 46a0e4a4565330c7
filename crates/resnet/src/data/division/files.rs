//! The files that are divided.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use image::ImageFormat;

use super::super::catalogue::{Listed, holds_placeholders, read_headers};
use super::super::pictures::{Kind, Source};
use super::super::store::{Store, path_of};
use super::super::{DataError, Warning, header, list};
use super::group::GroupBy;
use super::parts::{Division, Row, Shares};

/// Files that cannot be used and are named.
const NAMED: usize = 5;

pub(super) fn none_of(source: &str) -> DataError {
    DataError::Divide(format!(
        "the pictures of {source} are no files of their own, so a list cannot name them; it is \
         made of a folder with a folder a class"
    ))
}

/// The usable pictures of some data, in the splits that they lie in.
pub(super) fn read(
    source: &str,
    kind: &Kind,
    place: &Path,
    shares: &Shares,
) -> Result<Division, DataError> {
    let listing = (kind.list)(place)?;
    if !listing.shards.is_empty() {
        return Err(none_of(source));
    }
    let root = listing.root.clone();
    let column = match &shares.group_by {
        GroupBy::Column(name) if kind.name == list::KIND.name => list::column(place, name)?,
        GroupBy::Column(name) => {
            return Err(DataError::Divide(format!(
                "{source} is no list, so there is no column `{name}` to group by"
            )));
        }
        _ => HashMap::new(),
    };
    let store = (kind.store)(Source { root: root.clone(), shards: Vec::new(), indexed: false });
    let mut reader = Reader {
        store,
        classes: Vec::new(),
        labels: HashMap::new(),
        column,
        rows: Vec::new(),
        bad: listing.unused.into_iter().collect(),
    };
    for part in listing.parts {
        reader.read(part, &root, &shares.group_by)?;
    }
    let Reader { classes, mut rows, bad, .. } = reader;
    if rows.is_empty() {
        return Err(DataError::content(&root, "pictures", "none that can be used", "add some"));
    }
    rows.sort_by(|a, b| (a.class, &a.name).cmp(&(b.class, &b.name)));
    Ok(Division {
        source: source.to_string(),
        parts: Vec::new(),
        groups: None,
        warnings: left_out(&bad),
        root,
        classes,
        rows,
    })
}

struct Reader {
    store: Arc<dyn Store>,
    classes: Vec<String>,
    labels: HashMap<String, usize>,
    /// What the column to group by says, by the pictures' names.
    column: HashMap<Vec<u8>, String>,
    rows: Vec<Row>,
    bad: Vec<Warning>,
}

impl Reader {
    fn read(&mut self, part: Listed, root: &Path, group_by: &GroupBy) -> Result<(), DataError> {
        let Listed { role, classes, mut entries, strays, .. } = part;
        self.bad.extend(strays);
        let labels: Vec<usize> = classes.iter().map(|class| self.label(&class.name)).collect();
        let headers = read_headers(&mut entries, self.store.as_ref())?;
        let placeholders = holds_placeholders(&headers).is_some();
        for (index, found) in headers.into_iter().enumerate() {
            let entry = entries.get(index);
            let file = self.store.name(&entry);
            let own = entries.label(index) as usize;
            match usable(found, placeholders, &file) {
                Ok(()) => {
                    let name = path_of(entry.name).into_owned();
                    let below = file.strip_prefix(&classes[own].place).ok();
                    let below = below.filter(|_| classes[own].place != root);
                    let group = self.column.get(entry.name).cloned();
                    let group = group.or_else(|| group_by.group(&name, below));
                    self.rows.push(Row { name, class: labels[own], part: role, group });
                }
                Err(why) => self.bad.push(Warning::file(file, why)),
            }
        }
        Ok(())
    }

    fn label(&mut self, class: &str) -> usize {
        if let Some(&label) = self.labels.get(class) {
            return label;
        }
        self.labels.insert(class.to_string(), self.classes.len());
        self.classes.push(class.to_string());
        self.classes.len() - 1
    }
}

/// # Errors
/// Why a file is left out.
fn usable(
    found: Result<header::Header, String>,
    placeholders: bool,
    file: &Path,
) -> Result<(), String> {
    if found?.format == ImageFormat::Gif && placeholders {
        return Err("is a GIF among other pictures, taken for a placeholder".into());
    }
    match file.to_str() {
        Some(_) => Ok(()),
        None => Err("has a name that is not UTF-8, which a list cannot hold; rename it".into()),
    }
}

fn left_out(bad: &[Warning]) -> Vec<String> {
    let mut told: Vec<String> =
        bad.iter().take(NAMED).map(|bad| format!("{bad}; left out")).collect();
    if bad.len() > NAMED {
        told.push(format!(
            "{} more files are left out; `data check` names them all",
            bad.len() - NAMED
        ));
    }
    told
}
