//! From a listing to a catalogue: headers are read, and bad files, classes without pictures and
//! pictures of odd sizes found.

use std::path::Path;
use std::sync::Arc;

use image::ImageFormat;

use super::super::store::Store;
use super::super::{DataError, Warning, describe};
use super::{Bad, Catalogue, Class, Columns, Listed, Listing, Part, Sizes};
use super::{holds_placeholders, read_headers};
use crate::base::suggest::nearest;
use crate::base::text;

/// Classes without pictures that are named in a warning each.
const NAMED: usize = 20;

/// The catalogue of what a format lists.
///
/// # Errors
/// A class of the training part has no pictures, another part has none at all or a class of its
/// own, or the system failed.
pub(in crate::data) fn build(listing: Listing, store: &dyn Store) -> Result<Catalogue, DataError> {
    let Listing { root, parts, shards, watched, unused, numbered, .. } = listing;
    let (mut bad, mut warnings) = (Bad::default(), unused);
    let mut parts = parts.into_iter();
    let Some(training) = parts.next() else {
        let hint = "add pictures for training";
        return Err(DataError::content(&root, "pictures", "none", hint));
    };
    let (name, classes) = (training.name.clone(), training.classes.clone());
    let judged = judge(training, &classes, store, &mut bad)?;
    for (label, class) in classes.iter().enumerate() {
        match judged.counts[label] {
            0 if !numbered => return Err(judged.none_of(class, Some(label), &bad)),
            _ => {}
        }
    }
    if numbered {
        warnings.extend(judged.gaps(&classes));
    }
    warnings.extend(judged.part.sizes.warning(&judged.place, None));
    let mut done = vec![judged.part];
    for listed in parts {
        check_known(&listed, &name, &classes)?;
        let judged = judge(listed, &classes, store, &mut bad)?;
        if judged.part.labels.is_empty() {
            let all = Class { name: String::new(), place: judged.place.clone() };
            return Err(judged.none_of(&all, None, &bad));
        }
        let missing = || judged.counts.iter().zip(&classes).filter(|(count, _)| **count == 0);
        let here = if name.is_empty() { "train".to_string() } else { format!("{name}/") };
        for (_, class) in missing().take(NAMED) {
            let message = format!("has no pictures of class `{}`, which is in {here}", class.name);
            warnings.push(Warning::file(&judged.place, message));
        }
        let more = missing().count().saturating_sub(NAMED);
        if more > 0 {
            let message = format!("has no pictures of {more} more classes that are in {here}");
            warnings.push(Warning::file(&judged.place, message));
        }
        warnings.extend(judged.part.sizes.warning(&judged.place, Some(&done[0].sizes)));
        done.push(judged.part);
    }
    let classes: Arc<[String]> = classes.into_iter().map(|class| class.name).collect();
    let parts = done.into_iter().map(Arc::new).collect();
    Ok(Catalogue { root, classes, parts, shards, watched, warnings, bad })
}

/// A part whose headers have been read.
struct Judged {
    part: Part,
    place: std::path::PathBuf,
    /// Usable pictures by label.
    counts: Vec<usize>,
    /// The first picture of each label that cannot be used.
    spoilt: Vec<Option<Warning>>,
}

/// Reads a part's headers; `classes` number the labels from now on.
fn judge(
    listed: Listed,
    classes: &[Class],
    store: &dyn Store,
    bad: &mut Bad,
) -> Result<Judged, DataError> {
    let Listed { role, name, place, classes: own, mut entries, strays } = listed;
    strays.into_iter().for_each(|stray| bad.push(stray));
    let by_name: std::collections::HashMap<&str, u32> =
        classes.iter().map(|class| class.name.as_str()).zip(0..).collect();
    let label = |class: &Class| by_name.get(class.name.as_str()).copied().unwrap_or_default();
    let labels: Vec<u32> = own.iter().map(label).collect();
    entries.relabel(|label| labels[label as usize]);
    let headers = read_headers(&mut entries, store)?;
    let placeholders = holds_placeholders(&headers);
    let mut sizes = Sizes::default();
    let mut counts = vec![0; classes.len()];
    let mut spoilt = vec![None; classes.len()];
    let mut kept = vec![false; entries.len()];
    for (index, header) in headers.into_iter().enumerate() {
        let label = entries.label(index) as usize;
        let reason = match (header, placeholders) {
            (Err(reason), _) => reason,
            (Ok(header), Some((gifs, others))) if header.format == ImageFormat::Gif => {
                format!(
                    "is a GIF, one of {gifs} among {others} other pictures, so it is taken for a placeholder; convert it to PNG to use it"
                )
            }
            (Ok(header), _) => {
                sizes.add(&header);
                counts[label] += 1;
                kept[index] = true;
                continue;
            }
        };
        let warning = Warning::file(store.name(&entries.get(index)), reason);
        spoilt[label].get_or_insert_with(|| warning.clone());
        bad.push(warning);
    }
    entries.retain(|index| kept[index]);
    let labels = entries.labels();
    let columns = Columns::Memory(entries);
    let part = Part { role, name, labels, columns, sizes, digests: Vec::new() };
    Ok(Judged { part, place, counts, spoilt })
}

impl Judged {
    /// The error for a class, or the whole part, without pictures.
    fn none_of(&self, class: &Class, label: Option<usize>, bad: &Bad) -> DataError {
        let place: &Path = &class.place;
        let spoilt = match label {
            Some(label) => self.spoilt[label].as_ref(),
            None => self.spoilt.iter().flatten().next(),
        };
        let under = |bad: &&Warning| bad.file.as_ref().is_some_and(|file| file.starts_with(place));
        let found = match spoilt.or_else(|| bad.named.iter().find(under)) {
            Some(Warning { file: Some(file), message }) => {
                format!("only files that cannot be used ({} {message})", text::path(file))
            }
            _ if place.is_dir() => describe(place),
            _ => "none that can be used".to_string(),
        };
        let (expected, hint) = match (place.is_dir(), label) {
            (true, _) => ("pictures".to_string(), "add pictures, or remove the folder"),
            (_, Some(_)) => (format!("pictures of class `{}`", class.name), "add some"),
            _ => ("pictures".to_string(), "add some"),
        };
        DataError::content(place, expected, found, hint)
    }

    /// What to say of numbers that no training picture has.
    fn gaps(&self, classes: &[Class]) -> Option<Warning> {
        let without: Vec<&str> = self
            .counts
            .iter()
            .zip(classes)
            .filter_map(|(count, class)| (*count == 0).then_some(class.name.as_str()))
            .collect();
        let few = without.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = if without.len() > 5 { ", ..." } else { "" };
        let message = format!(
            "no training picture has the label {few}{more}, of labels up to {}; labels count from 0",
            classes.len() - 1
        );
        (!without.is_empty()).then(|| Warning::file(&self.place, message))
    }
}

fn check_known(part: &Listed, train: &str, classes: &[Class]) -> Result<(), DataError> {
    let known: std::collections::HashSet<&str> =
        classes.iter().map(|class| class.name.as_str()).collect();
    let mut found = part.classes.iter().map(|class| class.name.as_str());
    let Some(class) = found.find(|class| !known.contains(class)) else {
        return Ok(());
    };
    let hint = match nearest(class, known.iter().copied()) {
        Some(near) => format!("rename it, if `{near}` is meant"),
        None => "add training pictures of it, or remove the folder".to_string(),
    };
    let of = if train.is_empty() { "train".to_string() } else { format!("{train}/") };
    Err(DataError::UnknownClass {
        place: text::path(&part.place).to_string().into(),
        class: class.into(),
        known: classes.len(),
        of: of.into(),
        hint: hint.into(),
    })
}
