//! Data whose pictures lie in files: one reader for all formats that can list what they hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::catalogue::{Catalogue, Entries, Listing, Part, index};
use super::catalogue::{build, holds_placeholders, read_headers};
use super::fingerprint;
use super::header::Header;
use super::picture::{self, Packed};
use super::role::Role;
use super::store::{Entry, Known, Stamp, Store};
use super::{
    Area, DataError, Dataset, Image, OpenOptions, Part as Decoded, Splits, Warning, max_pixels,
    remote, shards,
};
use crate::base::files::FileError;
use crate::base::text;
use resnet_engine::graph::Shape;

/// A format of pictures in files: how they are listed, and how their bytes are read.
pub(super) struct Kind {
    /// The name of its format.
    pub(super) name: &'static str,
    /// Lists the pictures of a place, without looking at any.
    pub(super) list: fn(&Path) -> Result<Listing, DataError>,
    /// Reads the pictures that lie in `root` or in shards.
    pub(super) store: fn(Source) -> Arc<dyn Store>,
}

/// What the places of a catalogue mean.
pub(super) struct Source {
    pub(super) root: PathBuf,
    /// Shards with their paths, and what they must be still.
    pub(super) shards: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether the pictures were indexed, so that one that changed is refused.
    pub(super) indexed: bool,
}

impl Source {
    fn of(root: &Path, shards: &[(PathBuf, Stamp)], indexed: bool) -> Source {
        let shard = |(path, stamp): &(PathBuf, Stamp)| (root.join(path), Some(*stamp));
        Source { root: root.to_path_buf(), shards: shards.iter().map(shard).collect(), indexed }
    }
}

/// Data of more pictures gets an index by itself.
const INDEXED: usize = 10_000;
/// Changes so short before an opening may not be all: clocks of file systems are coarse.
const UNSETTLED: Duration = Duration::from_millis(20);

/// Opens the pictures of a place: from its index, if it has one that holds, or by looking at all.
pub(super) fn open(kind: &Kind, place: &Path, options: &OpenOptions) -> Result<Splits, DataError> {
    let path = index::path(place);
    let old = match &path {
        Some(path) if path.exists() => match Opened::read(kind, place, path) {
            Ok(opened) => return opened.splits(options),
            Err(why) => Some(why),
        },
        _ => None,
    };
    let began = SystemTime::now();
    let mut opened = Opened::scan(kind, place)?;
    // What is far away is looked at once: to look again would read all of it again.
    let (count, far) = (opened.len(), remote::is_remote(place));
    let mut note = None;
    if let Some(path) = &path
        && (old.is_some() || far || count > INDEXED && opened.is_settled(began))
    {
        let written = opened.write(path, kind);
        let message = match (&old, &written) {
            (Some(why), Ok(())) => Some(format!("the index {why}; it was made again")),
            (Some(why), Err(error)) => {
                Some(format!("the index {why}; it cannot be made again: {error}"))
            }
            (None, Ok(())) if far => None,
            (None, Ok(())) => Some(format!(
                "an index of {count} pictures was made, which spares looking at each at every start"
            )),
            (None, Err(error)) => Some(format!(
                "there is no index of {count} pictures, so each is looked at at every start, and \
                 none can be made: {error}"
            )),
        };
        note = message.map(|message| Warning::file(if far { place } else { path }, message));
        // Names and places need no memory from here on.
        if written.is_ok()
            && let Ok(indexed) = Opened::read(kind, place, path)
        {
            opened = indexed;
        }
    }
    let mut splits = opened.splits(options)?;
    splits.warnings.extend(note);
    Ok(splits)
}

/// Where names of an index begin: in the folder that it lies in.
fn root_of(place: &Path, index: &Path) -> PathBuf {
    if remote::is_remote(place) {
        return shards::root_of(place);
    }
    match place.is_dir() {
        true => place.to_path_buf(),
        false => match place.parent() {
            Some(_) if !place.exists() => index.parent().unwrap_or(Path::new("")).to_path_buf(),
            parent => parent.unwrap_or(Path::new("")).to_path_buf(),
        },
    }
}

/// What making an index gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its file.
    pub file: PathBuf,
    /// The pictures of each split, by what the data calls it.
    pub splits: Vec<(String, usize)>,
    /// What opening the data tells.
    pub warnings: Vec<Warning>,
}

/// Makes the index of a place anew.
pub(super) fn index(kind: &Kind, place: &Path) -> Result<Index, DataError> {
    let Some(file) = index::path(place) else {
        let hint = "name a folder, a file, or files of one folder";
        return Err(DataError::content(place, "a folder to write the index to", "none", hint));
    };
    let mut opened = Opened::scan(kind, place)?;
    opened.write(&file, kind)?;
    let name = |part: &Arc<Part>| if part.name.is_empty() { "all" } else { &part.name }.to_string();
    let splits =
        opened.catalogue.parts.iter().map(|part| (name(part), part.labels.len())).collect();
    let warnings = opened.splits(&OpenOptions::default())?.warnings;
    Ok(Index { file, splits, warnings })
}

/// A catalogue with what reads its pictures.
struct Opened {
    catalogue: Catalogue,
    store: Arc<dyn Store>,
}

impl Opened {
    /// What the index at `path` says, or why it is not used.
    fn read(kind: &Kind, place: &Path, path: &Path) -> Result<Opened, String> {
        let catalogue = index::read(path, &root_of(place, path), kind.name)?;
        let store = (kind.store)(Source::of(&catalogue.root, &catalogue.shards, true));
        Ok(Opened { catalogue, store })
    }

    fn scan(kind: &Kind, place: &Path) -> Result<Opened, DataError> {
        let mut listing = (kind.list)(place)?;
        let store = (kind.store)(Source::of(&listing.root, &listing.shards, false));
        let known = Known::new(store.as_ref(), std::mem::take(&mut listing.known));
        Ok(Opened { catalogue: build(listing, &known)?, store })
    }

    fn len(&self) -> usize {
        self.catalogue.parts.iter().map(|part| part.labels.len()).sum()
    }

    /// Whether nothing that was listed was changed while it was.
    fn is_settled(&self, began: SystemTime) -> bool {
        let Catalogue { watched, shards, .. } = &self.catalogue;
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = began.saturating_sub(UNSETTLED).as_nanos() as u64;
        let mut all = watched.iter().chain(shards);
        all.all(|(path, stamp)| path.as_os_str().is_empty() || stamp.changed < before)
    }

    fn data(&self, part: usize) -> Pictures {
        Pictures {
            classes: self.catalogue.classes.clone(),
            part: self.catalogue.parts[part].clone(),
            store: self.store.clone(),
        }
    }

    /// Writes the index, with what the fingerprint of the data needs.
    fn write(&mut self, path: &Path, kind: &Kind) -> Result<(), FileError> {
        let mut before = fingerprint::BEGIN;
        for part in 0..self.catalogue.parts.len() {
            let after = fingerprint::after(before, &self.data(part));
            if let Some(own) = Arc::get_mut(&mut self.catalogue.parts[part]) {
                own.digests = vec![(before, after)];
            }
            if part == 0 {
                before = after;
            }
        }
        index::write(path, kind.name, &self.catalogue)
    }

    fn splits(self, options: &OpenOptions) -> Result<Splits, DataError> {
        let bad = self.catalogue.bad.report(options.bad_files)?;
        let (mut train, mut val, mut test) = (None, None, None);
        for (at, part) in self.catalogue.parts.iter().enumerate() {
            let data: Arc<dyn Dataset> = Arc::new(self.data(at));
            match part.role {
                Role::Train => train = Some(data),
                Role::Val => val = Some((data, part.name.clone())),
                Role::Test => test = Some((data, part.name.clone())),
            }
        }
        let Some(train) = train else {
            return Err(DataError::Loader("there are no pictures for training".into()));
        };
        let (val, test) = match test {
            Some(test) => (val.map(|(val, _)| val), Some(test)),
            None => (None, val),
        };
        let (test, test_name) = test.unzip();
        let test_name = test_name.unwrap_or_else(|| "test".to_string());
        let mut warnings = self.catalogue.warnings;
        warnings.extend(bad);
        Ok(Splits { train, val, test, test_name, warnings })
    }
}

/// A split of a catalogue.
struct Pictures {
    classes: Arc<[String]>,
    part: Arc<Part>,
    store: Arc<dyn Store>,
}

impl Dataset for Pictures {
    fn len(&self) -> usize {
        self.part.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.part.labels[index]
    }

    fn name(&self, index: usize) -> String {
        let name = |entry: &Entry| text::path(&self.store.name(entry)).to_string();
        self.part.columns.with(index, name).unwrap_or_else(|_| format!("picture {index}"))
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        self.read_part(index, &picture::all, image).map(|_| ())
    }

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Decoded, DataError> {
        let read = |entry: &Entry| read_part(self.store.as_ref(), entry, wanted, image);
        let failed = |error| DataError::io(format!("picture {index}"), error);
        self.part.columns.with(index, read).map_err(failed)?
    }

    fn file(&self, index: usize, bytes: &mut Vec<u8>) -> Result<bool, DataError> {
        let fetch = |entry: &Entry| {
            let fetched = self.store.fetch(entry, bytes);
            fetched.map(|()| true).map_err(|fault| fault.of(&self.store.name(entry)))
        };
        let failed = |error| DataError::io(format!("picture {index}"), error);
        self.part.columns.with(index, fetch).map_err(failed)?
    }

    fn shape(&self) -> Option<Shape> {
        self.part.sizes.shape()
    }

    fn sizes(&self) -> Option<String> {
        self.part.sizes.range()
    }

    fn channels(&self) -> usize {
        3
    }

    fn digest(&self, before: u64) -> Option<u64> {
        let mut known = self.part.digests.iter();
        known.find(|(known, _)| *known == before).map(|(_, after)| *after)
    }
}

/// Decodes a picture of a store.
pub(super) fn read(store: &dyn Store, entry: &Entry, image: &mut Image) -> Result<(), DataError> {
    read_part(store, entry, &picture::all, image).map(|_| ())
}

/// Decodes at least a part of a picture of a store, and says what.
fn read_part(
    store: &dyn Store,
    entry: &Entry,
    wanted: &dyn Fn(usize, usize) -> Area,
    image: &mut Image,
) -> Result<Decoded, DataError> {
    let mut bytes = Vec::new();
    store.fetch(entry, &mut bytes).map_err(|fault| fault.of(&store.name(entry)))?;
    let packed = Packed::open(&bytes, max_pixels());
    packed
        .and_then(|packed| packed.decode_part(wanted, image))
        .map_err(|fault| DataError::Picture { file: store.name(entry), reason: fault.to_string() })
}

/// What lies in some data, usable or not.
pub(super) struct Surveyed {
    /// The splits, training first.
    pub(super) splits: Vec<Survey>,
    /// What is no part of it, and why.
    pub(super) unused: Vec<Warning>,
    pub(super) store: Arc<dyn Store>,
}

/// What lies in a split.
pub(super) struct Survey {
    /// Its name; `all` for data with one.
    pub(super) split: String,
    /// Its classes.
    pub(super) classes: Vec<String>,
    pub(super) entries: Entries,
    /// What the headers say, or why a picture cannot be used.
    pub(super) headers: Vec<Result<Header, String>>,
    /// Whether GIFs are taken for placeholders.
    pub(super) placeholders: bool,
    /// What is passed over, and why.
    pub(super) strays: Vec<Warning>,
}

/// Lists every split that [`open`] uses, without refusing any picture.
pub(super) fn survey(kind: &Kind, place: &Path) -> Result<Surveyed, DataError> {
    let Listing { root, parts, shards, unused, known, .. } = (kind.list)(place)?;
    let store = (kind.store)(Source::of(&root, &shards, false));
    let known = Known::new(store.as_ref(), known);
    let mut splits = Vec::new();
    for part in parts {
        let (split, classes) = (part.shown(), part.class_names());
        let mut entries = part.entries;
        let headers = read_headers(&mut entries, &known)?;
        let placeholders = holds_placeholders(&headers).is_some();
        let strays = part.strays;
        splits.push(Survey { split, classes, entries, headers, placeholders, strays });
    }
    drop(known);
    Ok(Surveyed { splits, unused, store })
}

#[cfg(test)]
mod tests;
