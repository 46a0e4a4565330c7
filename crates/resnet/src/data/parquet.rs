//! Parquet files as Hugging Face keeps pictures in them, alone or many.
//!
//! A row is a picture: a struct of `bytes` and `path`, or bytes alone, under a name such as
//! `image`, and a label that is a number or a name. The file's own text `huggingface` says which
//! columns these are, and what the numbers mean. Which split a file is of, its name says, as in
//! `train-00000-of-00005.parquet`; the files may lie in a folder `data`. Rows keep their order.
//!
//! A picture that is not compressed lies in its file as it is, and is read from there. Of one that
//! is, the whole page must be unpacked; a few pages are kept, for who reads in order.

mod columns;
mod pages;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use resnet_formats::FormatError;
use resnet_formats::parquet::{Footer, Packing, ReadAt, Spot};

use super::catalogue::{Entries, Labels, Listed, Listing, Names};
use super::pictures::{self, Kind};
use super::role::Role;
use super::shards::{self, Group};
use super::store::{Blob, Headers, Place, Pool, Stamp};
use super::walk::entries;
use super::{DataError, Format, Warning};
use crate::base::threads;
use columns::Columns;

pub(super) const FORMAT: Format = Format {
    name: "parquet",
    takes_folder: true,
    about: "Parquet files of Hugging Face (FILE, DIR or train-*.parquet): a picture and a label a row",
    sniff,
    open: |place, options| pictures::open(&KIND, place, options),
};

pub(super) const KIND: Kind =
    Kind { name: FORMAT.name, list, store: |source| Arc::new(pages::Pictures::new(source.shards)) };

const ENDINGS: &[&str] = &[".parquet"];
/// The folder that the files of a repository lie in.
const INSIDE: &str = "data";
/// Bytes of the longest name of a picture.
const MOST_NAME: usize = 1024;
/// Compressed pages of fewer pictures, or bytes, are read one by one without a word.
const FEW: u64 = 8;
const SMALL: u64 = 1 << 20;

fn sniff(place: &Path) -> bool {
    let place = inside(place);
    let folders = entries(&place).map(|inside| inside.folders).unwrap_or_default();
    shards::are(&place, ENDINGS) && folders.iter().all(|folder| shards::are(folder, ENDINGS))
}

/// The folder with the files.
fn inside(place: &Path) -> PathBuf {
    let folder = place.join(INSIDE);
    match !shards::are(place, ENDINGS) && shards::are(&folder, ENDINGS) {
        true => folder,
        false => place.to_path_buf(),
    }
}

/// A blob as the reader of Parquet wants it.
struct Bytes<'a>(&'a dyn Blob);

impl ReadAt for Bytes<'_> {
    fn size(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(at, bytes)
    }
}

/// What a file holds.
struct Scan {
    stamp: Stamp,
    /// Labels are numbers of `labels`.
    entries: Entries,
    labels: Texts,
    /// What its class labels are called, if it says so.
    names: Option<Vec<String>>,
    strays: Vec<Warning>,
    notes: Vec<String>,
    packed: Packed,
}

/// How many pictures lie in compressed pages, in how many, and their bytes.
#[derive(Clone, Copy, Default)]
struct Packed {
    pictures: u64,
    pages: u64,
    bytes: u64,
}

fn list(place: &Path) -> Result<Listing, DataError> {
    let found = inside(place);
    let shards::Shards { root, groups, mut watched, mut unused } = shards::find(&found, ENDINGS)?;
    // Paths begin in the folder that was named, where an index lies.
    let root = match found == place {
        true => root,
        false => {
            for (path, stamp) in &mut watched {
                // The folder with an index is told by its names, others by their time.
                if path.as_os_str().is_empty() {
                    *stamp = Stamp::of(&found).map_err(|error| DataError::io(&found, error))?;
                    *path = PathBuf::from(INSIDE);
                } else {
                    *path = Path::new(INSIDE).join(&path);
                }
            }
            place.to_path_buf()
        }
    };
    let files: Vec<(u32, &PathBuf)> =
        (0..).zip(groups.iter().flat_map(|group| &group.files)).collect();
    let scans = threads::map_with(
        &files,
        threads::cores().clamp(2, 8),
        || (),
        |(), (number, file)| scan(file, *number),
    );
    let mut scans: Vec<Scan> = scans.into_iter().collect::<Result<_, _>>()?;
    let shard = |(scan, (_, file)): (&Scan, &(u32, &PathBuf))| {
        (file.strip_prefix(&root).unwrap_or(file).to_path_buf(), scan.stamp)
    };
    let listed_shards = scans.iter().zip(&files).map(shard).collect();
    let names = class_names(&scans, &files)?;
    unused.extend(notes(&scans, &files));
    let mut labels = Labels::default();
    let mut parts = Vec::new();
    let mut rest = scans.drain(..);
    for group in &groups {
        let own: Vec<Scan> = rest.by_ref().take(group.files.len()).collect();
        let part = part(group, own, &mut labels);
        if part.entries.len() == 0 && part.role != Role::Train {
            let why = "is not used: none of its rows has a picture and a label";
            unused.push(Warning::file(&part.place, why));
            continue;
        }
        parts.push(part);
    }
    let names = names.map(|(file, names)| Names { file, names });
    let numbered = labels.settle(&mut parts, names)?;
    let known = Headers::new();
    Ok(Listing { root, parts, shards: listed_shards, watched, unused, numbered, known })
}

/// The names of class labels, which are those of every file.
fn class_names<'a>(
    scans: &[Scan],
    files: &[(u32, &'a PathBuf)],
) -> Result<Option<(&'a Path, Vec<String>)>, DataError> {
    let mut known: Option<(&Path, &Vec<String>)> = None;
    for (scan, (_, file)) in scans.iter().zip(files) {
        match (&scan.names, known) {
            (Some(names), Some((first, others))) if names != others => {
                let shown = crate::base::text::path(first);
                return Err(DataError::content(
                    file,
                    format!("the names of classes that {shown} has"),
                    "others",
                    "write both files with the same ClassLabel",
                ));
            }
            (Some(names), None) => known = Some((file, names)),
            _ => {}
        }
    }
    Ok(known.map(|(file, names)| (file, names.clone())))
}

/// What is to be known of all files together.
fn notes(scans: &[Scan], files: &[(u32, &PathBuf)]) -> Vec<Warning> {
    let mut notes = Vec::new();
    let mut seen: Vec<&String> = Vec::new();
    for (scan, (_, file)) in scans.iter().zip(files) {
        for note in &scan.notes {
            if !seen.contains(&note) {
                seen.push(note);
                notes.push(Warning::file(*file, note.clone()));
            }
        }
    }
    let mut all = Packed::default();
    for Packed { pictures, pages, bytes } in scans.iter().map(|scan| scan.packed) {
        all.pictures += pictures;
        all.pages += pages;
        all.bytes += bytes;
    }
    let pages = all.pages.max(1);
    if let Some((_, file)) = files.first()
        && all.pictures / pages >= FEW
        && all.bytes / pages >= SMALL
    {
        let message = format!(
            "has compressed pages of {} pictures and {:.1} MB, so each picture that is read at \
             random costs as much as all of its page; packed anew, it has pages of its own",
            all.pictures / pages,
            all.bytes as f64 / pages as f64 / 1e6
        );
        notes.push(Warning::file(*file, message));
    }
    notes
}

/// The pictures of a split's files.
fn part(group: &Group, scans: Vec<Scan>, labels: &mut Labels) -> Listed {
    let mut entries = Entries::default();
    let mut strays = Vec::new();
    for scan in scans {
        let number = |text: &String| labels.number(text).unwrap_or_default();
        let numbers: Vec<u32> = scan.labels.texts.iter().map(number).collect();
        for index in 0..scan.entries.len() {
            let entry = scan.entries.get(index);
            entries.push(entry.name, numbers[scan.entries.label(index) as usize], entry.place);
        }
        strays.extend(scan.strays);
    }
    Listed {
        role: group.role,
        name: group.name.clone(),
        place: group.files.first().cloned().unwrap_or_default(),
        classes: Vec::new(),
        entries,
        strays,
    }
}

/// Labels of a file as texts, each once.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> Option<u32> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if let Some(&number) = self.numbers.get(text) {
            return Some(number);
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_string(), number);
        self.texts.push(text.to_string());
        Some(number)
    }

    /// The first that is a number from `count` on.
    fn beyond(&self, count: usize) -> Option<String> {
        let is = |text: &&String| text.parse().is_ok_and(|number: u64| number >= count as u64);
        self.texts.iter().find(is).cloned()
    }
}

/// Lists a file.
fn scan(file: &Path, number: u32) -> Result<Scan, DataError> {
    let failed = |error| DataError::io(file, error);
    let stamp = Stamp::of(file).map_err(failed)?;
    let pool = Pool::new(vec![(file.to_path_buf(), None)]);
    let blob = pool.get(0).map_err(|fault| fault.of(file))?;
    let bytes = Bytes(blob.as_ref());
    let footer = Footer::read(&bytes).map_err(|error| unreadable(file, error))?;
    let Columns { picture, path, label, names, notes } = columns::choose(file, &footer)?;
    let mut found = Scan {
        stamp,
        entries: Entries::default(),
        labels: Texts::default(),
        names,
        strays: Vec::new(),
        notes,
        packed: Packed::default(),
    };
    let mut lost = (0, 0);
    let mut row = 0;
    for group in 0..footer.groups.len() {
        let read = Rows::read(&bytes, &footer, group, [picture, label], path, &mut found.labels);
        let rows = read.map_err(|error| unreadable(file, error))?;
        found.packed.add(&rows.spots);
        for (at, (spot, label)) in rows.spots.iter().zip(rows.labels).enumerate() {
            row += 1;
            let (Some(spot), Some(label)) = (spot, label) else {
                lost.0 += usize::from(spot.is_none());
                lost.1 += usize::from(spot.is_some());
                continue;
            };
            let place = Place {
                shard: number,
                at: spot.at,
                length: spot.length,
                extra: u64::from(spot.packing.number()) << 56 | spot.inside,
            };
            match rows.paths.get(at).and_then(|path| path.as_deref()).and_then(name_of) {
                Some(name) => found.entries.push(name.as_bytes(), label, place),
                None => found.entries.push(format!("row {}", row - 1).as_bytes(), label, place),
            }
        }
    }
    if let Some(names) = &found.names
        && let Some(other) = found.labels.beyond(names.len())
    {
        let expected = format!("labels below {}, as it names so many classes", names.len());
        let hint = "write it again with a ClassLabel that names all classes";
        return Err(DataError::content(file, expected, other, hint));
    }
    let none = [(lost.0, "picture inside"), (lost.1, "label")];
    for (count, what) in none.into_iter().filter(|(count, _)| *count > 0) {
        let have = if count == 1 { "has" } else { "have" };
        let message = format!("{count} of its {row} rows {have} no {what}");
        found.strays.push(Warning::file(file, message));
    }
    Ok(found)
}

impl Packed {
    fn add(&mut self, spots: &[Option<Spot>]) {
        let mut last = None;
        for spot in spots.iter().flatten().filter(|spot| spot.packing != Packing::Stored) {
            self.pictures += 1;
            self.bytes += u64::from(spot.length);
            self.pages += u64::from(last.replace(spot.at) != Some(spot.at));
        }
    }
}

/// What the rows of a group have.
struct Rows {
    spots: Vec<Option<Spot>>,
    labels: Vec<Option<u32>>,
    paths: Vec<Option<String>>,
}

impl Rows {
    fn read(
        file: &dyn ReadAt,
        footer: &Footer,
        group: usize,
        [picture, label]: [usize; 2],
        path: Option<usize>,
        texts: &mut Texts,
    ) -> Result<Rows, FormatError> {
        let (mut spots, mut labels, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        footer.spots(file, group, picture, &mut |spot| spots.push(spot))?;
        // A text may stand once in the file and be of every row.
        let utf8 = |text: Option<&[u8]>| {
            let short = text.filter(|text| text.len() <= MOST_NAME);
            short.map(|text| String::from_utf8_lossy(text).into_owned())
        };
        match footer.columns[label].kind {
            resnet_formats::parquet::Kind::Bytes => {
                footer.texts(file, group, label, &mut |text| {
                    labels.push(utf8(text).and_then(|text| texts.number(&text)));
                })?;
            }
            _ => footer.numbers(file, group, label, &mut |number| {
                // Those below 0 stand for labels that are kept secret.
                let number = number.filter(|&number| number >= 0);
                labels.push(number.and_then(|number| texts.number(&number.to_string())));
            })?,
        }
        if let Some(path) = path {
            footer.texts(file, group, path, &mut |text| paths.push(utf8(text)))?;
        }
        Ok(Rows { spots, labels, paths })
    }
}

/// What to call a picture: its path, as long as it leads nowhere else.
fn name_of(path: &str) -> Option<&str> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let name = match plain {
        true => path,
        false => Path::new(path).file_name()?.to_str()?,
    };
    (!name.is_empty() && name.len() <= MOST_NAME).then_some(name)
}

/// The error of a file that is no table of pictures, or damaged.
fn unreadable(file: &Path, error: FormatError) -> DataError {
    match error {
        FormatError::Io(error) => DataError::io(file, error),
        error => DataError::other(file, error),
    }
}

#[cfg(test)]
mod tests;
