//! Data whose pictures lie in files: one reader for all formats that can list what they hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{Catalogue, Entries, Listing, Part};
use super::catalogue::{build, holds_placeholders, read_headers};
use super::header::Header;
use super::picture::{self, Packed};
use super::role::Role;
use super::store::{Entry, Stamp, Store};
use super::{
    Area, DataError, Dataset, Image, OpenOptions, Part as Decoded, Splits, Warning, max_pixels,
};
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

/// Opens the pictures of a place.
pub(super) fn open(kind: &Kind, place: &Path, options: &OpenOptions) -> Result<Splits, DataError> {
    let listing = (kind.list)(place)?;
    let store = (kind.store)(Source::of(&listing.root, &listing.shards, false));
    splits(build(listing, store.as_ref())?, &store, options)
}

/// The splits of a catalogue.
fn splits(
    catalogue: Catalogue,
    store: &Arc<dyn Store>,
    options: &OpenOptions,
) -> Result<Splits, DataError> {
    let Catalogue { classes, parts, mut warnings, bad, .. } = catalogue;
    warnings.extend(bad.report(options.bad_files)?);
    let (mut train, mut val, mut test) = (None, None, None);
    for part in parts {
        let (role, name) = (part.role, part.name.clone());
        let data: Arc<dyn Dataset> =
            Arc::new(Pictures { classes: classes.clone(), part, store: store.clone() });
        match role {
            Role::Train => train = Some(data),
            Role::Val => val = Some((data, name)),
            Role::Test => test = Some((data, name)),
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
    Ok(Splits { train, val, test, test_name, warnings })
}

/// A split of a catalogue.
struct Pictures {
    classes: Arc<[String]>,
    part: Part,
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
        let read = |entry: &Entry| read(self.store.as_ref(), entry, wanted, image);
        let failed = |error| DataError::io(format!("picture {index}"), error);
        self.part.columns.with(index, read).map_err(failed)?
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
}

/// Decodes at least a part of a picture of a store, and says what.
pub(super) fn read(
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
    let Listing { root, parts, shards, unused, .. } = (kind.list)(place)?;
    let store = (kind.store)(Source::of(&root, &shards, false));
    let mut splits = Vec::new();
    for part in parts {
        let (split, classes) = (part.shown(), part.class_names());
        let mut entries = part.entries;
        let headers = read_headers(&mut entries, store.as_ref())?;
        let placeholders = holds_placeholders(&headers).is_some();
        let strays = part.strays;
        splits.push(Survey { split, classes, entries, headers, placeholders, strays });
    }
    Ok(Surveyed { splits, unused, store })
}
