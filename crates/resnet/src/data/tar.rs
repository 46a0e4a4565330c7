//! Tar files, alone or many: WebDataset's shards, and folders that were packed.
//!
//! In shards, members whose names are equal up to the first dot of the last part are a sample: its
//! picture by its ending, its label in `.cls` (a number or a name) or in `.json` (under `label`,
//! `class` or `cls`). Without such members, the folders that pictures lie in are their classes, as
//! in a folder on a disk. Names of numbered classes may stand in `classes.txt` or `classes.json`,
//! beside the shards or in one of them. Which split a shard is of, its name says.
//!
//! Samples keep the order in which they were packed; pictures in class folders have that of a
//! folder.

mod members;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ImageFormat;
use serde_json::Value;

use super::catalogue::{Entries, Labels, Listed, Listing, Names, tree};
use super::header;
use super::max_pixels;
use super::pictures::{self, Kind};
use super::shards::{self, Group};
use super::store::{Blob, Entry, Headers, Place, Pool, Reader, Shards, Stamp, path_of, stamp_of};
use super::walk::entries;
use super::{DataError, Format, Warning, class_names, remote};
use crate::base::threads;
pub(super) use members::{Header, header};
use members::{Member, members, shown};

pub(super) const FORMAT: Format = Format {
    name: "tar",
    takes_folder: true,
    about: "tar files: WebDataset's shards (FILE, DIR or train-{0000..0146}.tar), or packed class folders",
    sniff,
    open: |place, options| pictures::open(&KIND, place, options),
};

pub(super) const KIND: Kind = Kind {
    name: FORMAT.name,
    list,
    store: |source| Arc::new(Shards::new(Pool::new(source.shards))),
};

const ENDINGS: &[&str] = &[".tar"];
/// Bytes of the longest label, plain and in JSON.
const MOST_LABEL: u64 = 1 << 12;
const MOST_JSON: u64 = 1 << 20;
/// Shards that are listed at once where that is waiting for a network.
const FAR: usize = 8;
/// What is passed over and named one by one.
const NAMED: usize = 100;

/// A folder of shards holds no other folders than those of splits.
fn sniff(place: &Path) -> bool {
    let folders = entries(place).map(|inside| inside.folders).unwrap_or_default();
    shards::are(place, ENDINGS) && folders.iter().all(|folder| shards::are(folder, ENDINGS))
}

/// A shard's members.
struct Scan {
    stamp: Stamp,
    entries: Entries,
    strays: Vec<Warning>,
    names: Option<(PathBuf, Vec<String>)>,
    seen: Seen,
}

/// What was read of a shard that is far away while its members were listed: another look at each
/// would be a request.
#[derive(Default)]
struct Seen {
    headers: Vec<(u64, header::Header)>,
    /// Contents of small members that may be labels, by their positions.
    labels: HashMap<u64, Vec<u8>>,
}

fn list(place: &Path) -> Result<Listing, DataError> {
    let shards::Shards { root, groups, mut watched, mut unused } = shards::find(place, ENDINGS)?;
    let files: Vec<(u32, &PathBuf)> =
        (0..).zip(groups.iter().flat_map(|group| &group.files)).collect();
    let far = remote::is_remote(place);
    let threads = if far { FAR } else { threads::cores().clamp(2, 8) };
    let scans = threads::map_with(&files, threads, || (), |(), (number, file)| scan(file, *number));
    let mut scans: Vec<Scan> = scans.into_iter().collect::<Result<_, _>>()?;
    let mut known = Headers::new();
    for (scan, (number, _)) in scans.iter_mut().zip(&files) {
        let seen = std::mem::take(&mut scan.seen.headers);
        known.extend(seen.into_iter().map(|(at, header)| ((*number, at), header)));
    }
    let pool = Pool::new(files.iter().map(|(_, file)| ((*file).clone(), None)).collect());
    let mut names = class_names::beside(&root)?;
    if let Some((file, _)) = &names {
        let stamp = stamp_of(file).map_err(|error| DataError::io(file, error))?;
        watched.push((file.strip_prefix(&root).unwrap_or(file).to_path_buf(), stamp));
    }
    names = names.or_else(|| scans.iter_mut().find_map(|scan| scan.names.take()));
    let shard = |(scan, (_, file)): (&Scan, &(u32, &PathBuf))| {
        (file.strip_prefix(&root).unwrap_or(file).to_path_buf(), scan.stamp)
    };
    let listed_shards = scans.iter().zip(&files).map(shard).collect();
    let of: Vec<usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(number, group)| group.files.iter().map(move |_| number))
        .collect();
    unused.extend(scans.iter_mut().flat_map(|scan| std::mem::take(&mut scan.strays)));
    let mut labels = Labels::default();
    let mut parts = Vec::new();
    let sampled = scans.iter().any(|scan| has_samples(&scan.entries));
    let numbered = match sampled {
        true => {
            for (number, group) in groups.iter().enumerate() {
                let own = scans.iter().zip(&of).filter(|(_, of)| **of == number);
                let own: Vec<&Scan> = own.map(|(scan, _)| scan).collect();
                parts.push(samples(group, &own, &pool, &mut labels)?);
            }
            let names = names.as_ref().map(|(file, names)| Names { file, names: names.clone() });
            labels.settle(&mut parts, names)?
        }
        false => {
            let mut all = Entries::default();
            for scan in &scans {
                (0..scan.entries.len()).for_each(|index| {
                    let Entry { name, place } = scan.entries.get(index);
                    all.push(name, 0, place);
                });
            }
            drop(scans);
            parts = tree(place, &all, &groups, &of, &mut unused)?;
            false
        }
    };
    Ok(Listing { root, parts, shards: listed_shards, watched, unused, numbered, known })
}

/// Lists a shard.
fn scan(file: &Path, number: u32) -> Result<Scan, DataError> {
    let stamp = stamp_of(file).map_err(|error| DataError::io(file, error))?;
    let pool = Pool::new(vec![(file.to_path_buf(), None)]);
    let blob = pool.get(0).map_err(|fault| fault.of(file))?;
    let found = members(blob.as_ref(), file)?;
    let mut strays = Vec::new();
    let stray = |name: &[u8], why: &str| Warning::file(file.join(path_of(name)), why);
    strays.extend(found.strays.iter().take(NAMED).map(|(name, why)| stray(name, why)));
    if found.strays.len() > NAMED {
        let why = format!("holds {} more members that are no files", found.strays.len() - NAMED);
        strays.push(Warning::file(file, why));
    }
    if !found.ends {
        let why = "has no mark of its end: it may have been cut off after a whole member";
        strays.push(Warning::file(file, why));
    }
    let mut entries = Entries::default();
    let (mut names, mut seen) = (None, Seen::default());
    for member in found.files {
        let base = last(&member.name);
        if class_names::FILES.iter().any(|name| name.as_bytes() == base) {
            if member.length <= class_names::MOST {
                let path = file.join(path_of(&member.name));
                let bytes = content(blob.as_ref(), member.at, member.length, &path)?;
                names = names.or(Some((path.clone(), class_names::parse(&path, &bytes)?)));
            }
            continue;
        }
        let length = u32::try_from(member.length).unwrap_or(u32::MAX);
        let place = Place { shard: number, at: member.at, length, extra: 0 };
        entries.push(&member.name, 0, place);
        if blob.is_far() {
            look(blob.as_ref(), &member, file, &mut seen)?;
        }
    }
    Ok(Scan { stamp, entries, strays, names, seen })
}

/// Reads what opening will want to know of a member.
fn look(blob: &dyn Blob, member: &Member, file: &Path, seen: &mut Seen) -> Result<(), DataError> {
    let &Member { ref name, at, length } = member;
    let ending = last(name).rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    match use_of(std::str::from_utf8(ending).unwrap_or_default()) {
        Use::Picture => {
            // What is wrong with one is told when it is looked at again.
            let found = header::read(Reader::new(blob, at, length), length, max_pixels());
            seen.headers.extend(found.ok().map(|header| (at, header)));
        }
        Use::Label | Use::Json if length <= MOST_LABEL => {
            seen.labels.insert(at, content(blob, at, length, &file.join(path_of(name)))?);
        }
        _ => {}
    }
    Ok(())
}

fn content(blob: &dyn Blob, at: u64, length: u64, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = vec![0; length as usize];
    blob.browse_at(at, &mut bytes).map_err(|error| DataError::io(path, error))?;
    Ok(bytes)
}

/// The last part of a path.
fn last(name: &[u8]) -> &[u8] {
    name.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// A member's sample, which is its path up to the first dot of its last part, and its ending.
fn sample_of(name: &[u8]) -> Option<(&[u8], &str)> {
    let base = name.len() - last(name).len();
    let dot = base + name[base..].iter().position(|&byte| byte == b'.')?;
    // Hidden files, and what macOS adds, are of no sample.
    let ending = std::str::from_utf8(&name[dot + 1..]).ok()?;
    (dot > base).then_some((&name[..dot], ending))
}

/// What a member is for its sample.
#[derive(PartialEq, Eq)]
enum Use {
    Picture,
    /// A label, which goes before one in JSON.
    Label,
    Json,
    Other,
}

fn use_of(ending: &str) -> Use {
    let kind = ending.rsplit('.').next().unwrap_or_default().to_lowercase();
    match kind.as_str() {
        "cls" => Use::Label,
        "json" => Use::Json,
        _ => match ImageFormat::from_extension(kind) {
            Some(format) if format.reading_enabled() => Use::Picture,
            _ => Use::Other,
        },
    }
}

/// Whether a picture of a shard has its label beside it.
fn has_samples(members: &Entries) -> bool {
    let all = || (0..members.len()).map(|index| members.get(index).name);
    let labelled: std::collections::HashSet<&[u8]> = all()
        .filter_map(sample_of)
        .filter(|(_, ending)| matches!(use_of(ending), Use::Label | Use::Json))
        .map(|(key, _)| key)
        .collect();
    let pictures = |(key, ending)| labelled.contains(key) && use_of(ending) == Use::Picture;
    !labelled.is_empty() && all().filter_map(sample_of).any(pictures)
}

/// The members of a sample, by their indices in their shard.
#[derive(Default)]
struct Sample {
    picture: Option<usize>,
    label: Option<usize>,
    json: Option<usize>,
}

/// The samples of a split's shards, in their order.
fn samples(
    group: &Group,
    shards: &[&Scan],
    pool: &Pool,
    labels: &mut Labels,
) -> Result<Listed, DataError> {
    let place = group.files.first().cloned().unwrap_or_default();
    let mut entries = Entries::default();
    let (mut strays, mut more) = (Vec::new(), 0);
    let both: Vec<(&Scan, &PathBuf)> = shards.iter().copied().zip(&group.files).collect();
    // Labels are small and many: on a slow disk waiting for them is most of the work.
    let read = |(): &mut (), (scan, file): &(&Scan, &PathBuf)| labelled(scan, file, pool);
    let read = threads::map_with(&both, threads::cores().clamp(2, 8), || (), read);
    for ((scan, file), found) in both.into_iter().zip(read) {
        let members = &scan.entries;
        for (picture, text) in found? {
            let Entry { name, place } = members.get(picture);
            match text.and_then(|text| labels.number(&text)) {
                Some(label) => entries.push(name, label, place),
                None if strays.len() < NAMED => {
                    let why = "has no label in a .cls or .json member of its name";
                    strays.push(Warning::file(file.join(shown(name)), why));
                }
                None => more += 1,
            }
        }
    }
    if more > 0 {
        strays.push(Warning::file(&place, format!("and others hold {more} more without a label")));
    }
    let (role, name) = (group.role, group.name.clone());
    Ok(Listed { role, name, place, classes: Vec::new(), entries, strays })
}

/// The pictures of a shard's samples, by their indices, each with the text of its label.
fn labelled(
    Scan { entries: members, seen, .. }: &Scan,
    file: &Path,
    pool: &Pool,
) -> Result<Vec<(usize, Option<String>)>, DataError> {
    let mut numbers: HashMap<&[u8], usize> = HashMap::new();
    let mut found: Vec<Sample> = Vec::new();
    for index in 0..members.len() {
        let Some((key, ending)) = sample_of(members.get(index).name) else { continue };
        let number = *numbers.entry(key).or_insert(found.len());
        if number == found.len() {
            found.push(Sample::default());
        }
        let sample = &mut found[number];
        match use_of(ending) {
            Use::Picture => sample.picture = sample.picture.or(Some(index)),
            Use::Label => sample.label = sample.label.or(Some(index)),
            Use::Json => sample.json = sample.json.or(Some(index)),
            Use::Other => {}
        }
    }
    let read = |index: Option<usize>, most: u64| -> Result<Option<Vec<u8>>, DataError> {
        let Some(index) = index else { return Ok(None) };
        let Entry { name, place } = members.get(index);
        let path = file.join(path_of(name));
        let length = u64::from(place.length);
        if length > most {
            let expected = format!("a label of at most {most} bytes");
            let hint = "leave large members out";
            return Err(DataError::content(&path, expected, format!("{length}"), hint));
        }
        if let Some(known) = seen.labels.get(&place.at) {
            return Ok(Some(known.clone()));
        }
        let blob = pool.get(place.shard).map_err(|fault| fault.of(file))?;
        content(blob.as_ref(), place.at, length, &path).map(Some)
    };
    let mut labelled = Vec::new();
    for sample in found {
        let Some(picture) = sample.picture else { continue };
        let text = match read(sample.label, MOST_LABEL)? {
            Some(label) => String::from_utf8(label).ok(),
            None => read(sample.json, MOST_JSON)?.and_then(|json| label_in(&json)),
        };
        labelled.push((picture, text));
    }
    Ok(labelled)
}

/// The label in a sample's JSON.
fn label_in(json: &[u8]) -> Option<String> {
    let Value::Object(fields) = serde_json::from_slice(json).ok()? else { return None };
    ["label", "class", "cls"].iter().find_map(|key| match fields.get(*key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
