//! Looks data over before anything is trained on it: files that cannot be used, the same picture
//! twice, classes that are empty, missing or rare, pictures that are too small to tell anything.
//!
//! Quick, it reads headers, and compares the bytes of files of equal length. In full, it decodes
//! every picture, and compares pixels: a picture saved again without loss is then found too, one
//! that is damaged inside, and those of two splits that look the same. Content is compared by 128
//! bits of hash.

mod alike;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::catalogue::Entries;
use super::header;
use super::pictures::{self, Surveyed};
use super::source::kind_of;
use super::store::Store;
use super::{DataError, Dataset, Image, OpenOptions};
use crate::base::{text, threads};
use alike::Look;
use image::ImageFormat;

/// A class with this many times fewer training pictures than the largest is told of.
pub(crate) const IMBALANCE: f64 = 3.0;
/// A picture whose shorter side is this many times shorter than the median is told of.
const TINY: usize = 4;

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Headers, and the bytes of files of equal length.
    Quick,
    /// Every picture, decoded.
    Full,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Picture files that are damaged, cut off or cannot be read.
    Corrupt,
    /// Files that are no pictures, or lie where none belong; they are skipped.
    Foreign,
    /// A few GIFs among many other pictures, as web pages leave them for "image not found"; they
    /// are skipped.
    Placeholder,
    /// The same picture in two splits: what is learned is also what is tested.
    Leak,
    /// Pictures in two splits that look the same.
    Near,
    /// The same picture in two classes.
    Conflict,
    /// The same picture twice in a class of a split.
    Duplicate,
    /// A class folder without pictures.
    EmptyClass,
    /// A class of the training pictures that another split lacks.
    MissingClass,
    /// A class of another split that the training pictures lack.
    UnknownClass,
    /// All training pictures are of one class.
    OneClass,
    /// Classes with many times fewer training pictures than the largest.
    Imbalance,
    /// Pictures much smaller than the others.
    Tiny,
    /// Folders beside the splits that are none by their names, or not the only ones of their kind.
    Unused,
}

/// A kind of problem: how bad it is, and what to do about it.
struct About {
    kind: Kind,
    severity: Severity,
    /// What was found, after the number of findings.
    what: &'static str,
    advice: &'static str,
}

/// Every kind, the worst first.
#[rustfmt::skip]
const KINDS: &[About] = &[
    About { kind: Kind::Corrupt, severity: Severity::Error, what: "damaged or unreadable picture files", advice: "replace or remove them" },
    About { kind: Kind::Leak, severity: Severity::Error, what: "pictures in more than one split", advice: "keep each in one: a network is not to be tested on what it learned from" },
    About { kind: Kind::Conflict, severity: Severity::Error, what: "pictures in more than one class", advice: "keep each in its own" },
    About { kind: Kind::Near, severity: Severity::Warning, what: "pictures that look like one in another split", advice: "look at them; if they are the same scene, keep them in one split" },
    About { kind: Kind::EmptyClass, severity: Severity::Error, what: "classes without pictures", advice: "add pictures, or remove the folders" },
    About { kind: Kind::UnknownClass, severity: Severity::Error, what: "classes that the training pictures lack", advice: "rename the folders, or add training pictures" },
    About { kind: Kind::OneClass, severity: Severity::Error, what: "class only", advice: "a classifier needs at least two" },
    About { kind: Kind::MissingClass, severity: Severity::Warning, what: "classes that a second split lacks", advice: "nothing is known about them until it has pictures of them" },
    About { kind: Kind::Imbalance, severity: Severity::Warning, what: "classes with far fewer training pictures than the largest", advice: "add pictures; train.class_weights=balanced or data.sampling=balanced make up for some of it" },
    About { kind: Kind::Duplicate, severity: Severity::Warning, what: "pictures that are there more than once", advice: "keep one of each" },
    About { kind: Kind::Tiny, severity: Severity::Warning, what: "pictures much smaller than the others", advice: "look at them; thumbnails and icons teach little" },
    About { kind: Kind::Placeholder, severity: Severity::Warning, what: "GIFs among other pictures, taken for placeholders and skipped", advice: "remove them, or convert them to PNG" },
    About { kind: Kind::Unused, severity: Severity::Warning, what: "folders that are not what their names or places say", advice: "rename or remove them" },
    About { kind: Kind::Foreign, severity: Severity::Warning, what: "files that are no pictures and are skipped", advice: "remove them" },
];

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Training works, but its owner should know.
    Warning,
    /// Training fails, or its result misleads.
    Error,
}

/// Problems of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// How many there are.
    pub count: usize,
    /// The problem and what to do, in a sentence.
    pub message: String,
    /// Each of them: a file with its reason, equal files, a class with its split.
    pub items: Vec<String>,
}

/// Pictures of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Usable pictures.
    pub images: usize,
}

/// A part of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What the data calls it.
    pub split: String,
    /// Usable pictures.
    pub images: usize,
    /// The same by class; all classes of the data, in order.
    pub classes: Vec<ClassCount>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The data.
    pub source: String,
    /// How thoroughly it was looked at.
    pub depth: Depth,
    /// What equal pictures are equal in: `bytes` of their files or `pixels`.
    pub compared: &'static str,
    /// The splits.
    pub splits: Vec<Part>,
    /// Problems, the worst first.
    pub problems: Vec<Problem>,
}

impl Check {
    /// The worst there is.
    pub fn severity(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).max()
    }

    /// The largest class of the training pictures over the smallest that has any.
    pub(crate) fn imbalance(&self) -> f64 {
        imbalance(&self.splits[0])
    }
}

/// Looks data over. `on` is told how many pictures are done.
///
/// # Errors
/// The source is unknown, its folders or archives cannot be read at all, or the system failed, such
/// as for want of memory: that is no fault of a picture.
pub fn check(source: &str, depth: Depth, on: &(dyn Fn(usize) + Sync)) -> Result<Check, DataError> {
    let (format, place) = super::find(source)?;
    let (parts, mut findings) = match kind_of(format) {
        Some(kind) => of_survey(pictures::survey(kind, &place)?),
        None => of_splits((format.open)(&place, &OpenOptions::default())?),
    };
    let seen = look(&parts, depth, on)?;
    let classes = all_classes(&parts);
    let splits =
        parts.iter().zip(&seen).map(|(part, seen)| count(part, seen, &classes)).collect::<Vec<_>>();
    for (part, seen) in parts.iter().zip(&seen) {
        for (picture, seen) in part.pictures.iter().zip(seen) {
            if let Err(reason) = seen {
                findings.push((Kind::Corrupt, format!("{}: {reason}", picture.name)));
            }
        }
    }
    alike::same(&parts, &seen, &mut findings);
    alike::near(&parts, &seen, &mut findings);
    tiny(&parts, &seen, &mut findings);
    of_classes(&splits, &mut findings);
    let in_memory = parts.iter().all(|part| matches!(part.from, From::Data(_)));
    Ok(Check {
        source: source.to_string(),
        depth,
        compared: if in_memory || depth == Depth::Full { "pixels" } else { "bytes" },
        splits,
        problems: gather(findings),
    })
}

type Findings = Vec<(Kind, String)>;

/// A picture to look at.
struct Picture {
    name: String,
    class: String,
    place: Place,
}

enum Place {
    /// Picture `index` of the part's survey, of this size in pixels by its header, and its file's
    /// length.
    File { index: usize, size: (usize, usize), length: u32 },
    /// A picture of the part's data.
    Index(usize),
}

struct Pictures {
    split: String,
    /// Its own classes.
    classes: Vec<String>,
    pictures: Vec<Picture>,
    from: From,
}

/// What reads a part's pictures.
enum From {
    Survey(Arc<dyn Store>, Entries),
    Data(Arc<dyn Dataset>),
}

/// What a look at a picture gave: its size, and its content's hash where that was taken; or what is
/// wrong with it.
type Seen = Result<((usize, usize), Option<(u128, Option<Look>)>), String>;

fn of_survey(surveyed: Surveyed) -> (Vec<Pictures>, Findings) {
    let unused = surveyed.unused.iter().map(|folder| (Kind::Unused, folder.to_string()));
    let mut findings: Findings = unused.collect();
    let mut parts = Vec::new();
    let store = surveyed.store;
    for survey in surveyed.splits {
        findings.extend(survey.strays.iter().map(|stray| (Kind::Foreign, stray.to_string())));
        let mut pictures = Vec::new();
        for (index, header) in survey.headers.into_iter().enumerate() {
            let entry = survey.entries.get(index);
            let file = store.name(&entry);
            let name = text::path(&file).to_string();
            match header {
                Ok(header) if survey.placeholders && header.format == ImageFormat::Gif => {
                    findings.push((Kind::Placeholder, name));
                }
                Ok(header) => {
                    let size = (header.width as usize, header.height as usize);
                    let length = entry.place.length;
                    let class = survey.classes[survey.entries.label(index) as usize].clone();
                    let place = Place::File { index, size, length };
                    pictures.push(Picture { name, class, place });
                }
                Err(reason) if header::is_named(&file) => {
                    findings.push((Kind::Corrupt, format!("{name}: {reason}")));
                }
                Err(reason) => findings.push((Kind::Foreign, format!("{name}: {reason}"))),
            }
        }
        let from = From::Survey(store.clone(), survey.entries);
        parts.push(Pictures { split: survey.split, classes: survey.classes, pictures, from });
    }
    (parts, findings)
}

fn of_splits(splits: super::Splits) -> (Vec<Pictures>, Findings) {
    let findings = splits.warnings.iter();
    let findings = findings.map(|w| (Kind::Foreign, w.to_string())).collect();
    let parts = [
        (Some(splits.train), "train".to_string()),
        (splits.val, "val".to_string()),
        (splits.test, splits.test_name),
    ];
    let part = |(data, split): (Option<Arc<dyn Dataset>>, String)| {
        let data = data?;
        let picture = |index| Picture {
            name: data.name(index),
            class: data.classes()[data.label(index) as usize].clone(),
            place: Place::Index(index),
        };
        Some(Pictures {
            split,
            classes: data.classes().to_vec(),
            pictures: (0..data.len()).map(picture).collect(),
            from: From::Data(data),
        })
    };
    (parts.into_iter().filter_map(part).collect(), findings)
}

/// Looks at every picture on a few threads; the order of the results is the pictures'.
fn look(
    parts: &[Pictures],
    depth: Depth,
    on: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<Seen>>, DataError> {
    let lengths = repeated_lengths(parts);
    let jobs: Vec<(usize, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(p, part)| (0..part.pictures.len()).map(move |i| (p, i)))
        .collect();
    let done = AtomicUsize::new(0);
    let look = |image: &mut Image, &(p, i): &(usize, usize)| {
        let seen = look_at(&parts[p], i, depth, &lengths, image);
        on(done.fetch_add(1, Ordering::Relaxed) + 1);
        seen
    };
    let results = threads::map_with(&jobs, threads::cores(), Image::default, look);
    let mut results = results.into_iter();
    let of_part = |part: &Pictures| results.by_ref().take(part.pictures.len()).collect();
    parts.iter().map(of_part).collect()
}

/// Lengths in bytes that more than one file has, by length: files of other lengths equal none.
fn repeated_lengths(parts: &[Pictures]) -> BTreeMap<u32, usize> {
    let mut lengths = BTreeMap::new();
    for picture in parts.iter().flat_map(|part| &part.pictures) {
        if let Place::File { length, .. } = picture.place {
            *lengths.entry(length).or_default() += 1;
        }
    }
    lengths.retain(|_, count| *count > 1);
    lengths
}

/// # Errors
/// The system failed, which tells nothing of the picture.
fn look_at(
    part: &Pictures,
    index: usize,
    depth: Depth,
    lengths: &BTreeMap<u32, usize>,
    image: &mut Image,
) -> Result<Seen, DataError> {
    let read = match (&part.pictures[index].place, &part.from) {
        (Place::File { index, size, length }, From::Survey(store, entries)) => {
            let entry = entries.get(*index);
            if depth == Depth::Full {
                pictures::read(store.as_ref(), &entry, image)
            } else if !lengths.contains_key(length) {
                return Ok(Ok((*size, None)));
            } else {
                let mut bytes = Vec::new();
                match store.fetch(&entry, &mut bytes) {
                    Ok(()) => return Ok(Ok((*size, Some((hash(&[], &bytes), None))))),
                    Err(fault) => Err(fault.of(&store.name(&entry))),
                }
            }
        }
        (Place::Index(index), From::Data(data)) => data.read(*index, image),
        _ => unreachable!("a part's pictures are all of its survey or all of its data"),
    };
    match read {
        Ok(()) => {
            let size = (image.width, image.height);
            let shape = [size.0, size.1, image.channels].map(|n| n as u64);
            Ok(Ok((size, Some((hash(&shape, &image.pixels), Look::of(image))))))
        }
        Err(DataError::Picture { reason, .. }) => Ok(Err(reason)),
        Err(error) if error.is_of_system() => Err(error),
        Err(DataError::Io { source, .. }) => Ok(Err(format!("cannot be read: {source}"))),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn hash(head: &[u64], bytes: &[u8]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(salt);
        head.iter().for_each(|&n| hasher.write_u64(n));
        hasher.write(bytes);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

/// Every class, those of the first split first.
fn all_classes(parts: &[Pictures]) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    for class in parts.iter().flat_map(|part| &part.classes) {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    classes
}

fn count(part: &Pictures, seen: &[Seen], classes: &[String]) -> Part {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (picture, seen) in part.pictures.iter().zip(seen) {
        *counts.entry(&picture.class).or_default() += usize::from(seen.is_ok());
    }
    let class = |class: &String| ClassCount {
        class: class.clone(),
        images: counts.get(class.as_str()).copied().unwrap_or(0),
    };
    Part {
        split: part.split.clone(),
        images: counts.values().sum(),
        classes: classes.iter().map(class).collect(),
    }
}

/// Pictures far smaller than the median of all.
fn tiny(parts: &[Pictures], seen: &[Vec<Seen>], findings: &mut Findings) {
    let all = || {
        let pictures = parts.iter().flat_map(|part| &part.pictures);
        let pairs = pictures.zip(seen.iter().flatten());
        pairs.filter_map(|(picture, seen)| Some((picture, seen.as_ref().ok()?.0)))
    };
    let mut sides: Vec<usize> = all().map(|(_, (w, h))| w.min(h)).collect();
    sides.sort_unstable();
    let Some(&median) = sides.get(sides.len() / 2) else {
        return;
    };
    for (picture, (w, h)) in all().filter(|(_, (w, h))| w.min(h) * TINY < median) {
        findings.push((Kind::Tiny, format!("{}: {w} x {h} pixels", picture.name)));
    }
}

fn imbalance(train: &Part) -> f64 {
    let counts = || train.classes.iter().map(|c| c.images).filter(|&n| n > 0);
    let (most, least) = (counts().max().unwrap_or(1), counts().min().unwrap_or(1));
    most as f64 / least as f64
}

fn of_classes(splits: &[Part], findings: &mut Findings) {
    let train = &splits[0];
    let largest = train.classes.iter().map(|c| c.images).max().unwrap_or(0);
    let mut with_pictures = 0;
    for split in splits[1..].iter().filter(|split| split.images == 0) {
        findings.push((Kind::EmptyClass, format!("all of {}", split.split)));
    }
    for (i, class) in train.classes.iter().enumerate() {
        let name = &class.class;
        let elsewhere = || splits[1..].iter().filter(move |s| s.classes[i].images > 0);
        with_pictures += usize::from(class.images > 0);
        match class.images {
            0 if elsewhere().next().is_some() => {
                let places: Vec<&str> = elsewhere().map(|s| s.split.as_str()).collect();
                let item = format!("`{name}` of {}", places.join(", "));
                findings.push((Kind::UnknownClass, item));
            }
            0 => findings.push((Kind::EmptyClass, format!("`{name}`"))),
            n => {
                if n as f64 * IMBALANCE <= largest as f64 {
                    let item = format!("`{name}`: {n}, the largest {largest}");
                    findings.push((Kind::Imbalance, item));
                }
                for split in splits[1..].iter().filter(|s| s.classes[i].images == 0) {
                    findings.push((Kind::MissingClass, format!("`{name}` in {}", split.split)));
                }
            }
        }
    }
    if with_pictures == 1 {
        let only = train.classes.iter().find(|c| c.images > 0);
        findings.extend(only.map(|c| (Kind::OneClass, format!("`{}`", c.class))));
    }
}

fn gather(findings: Findings) -> Vec<Problem> {
    let problem = |about: &About| {
        let of_kind = findings.iter().filter(|(kind, _)| *kind == about.kind);
        let items: Vec<String> = of_kind.map(|(_, item)| item.clone()).collect();
        (!items.is_empty()).then(|| Problem {
            kind: about.kind,
            severity: about.severity,
            count: items.len(),
            message: format!("{} {}; {}", items.len(), about.what, about.advice),
            items,
        })
    };
    KINDS.iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests;
