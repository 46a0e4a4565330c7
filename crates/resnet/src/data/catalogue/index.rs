//! A catalogue in a file, so that the next opening reads no picture.
//!
//! The file is little endian: `RESNETIX`, a version (u32), the length of the head (u64), the head,
//! for each part its labels (u32 each), its rows and its names, and a CRC-32 of all before. A row
//! is where its name begins among the names and the name's length, then the place: shard, offset,
//! length and extra number. Labels come into memory when the file is opened; rows and names are
//! read by position when they are asked for.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::role::Role;
use super::super::store::{OpenFile, Stamp, listing_of, stamp_of};
use super::super::{Warning, header, remote};
use super::bytes::{Reading, Writing};
use super::columns::{Indexed, ROW};
use super::{Bad, Catalogue, Columns, Part, Sizes};
use crate::base::files::{self, FileError};
use crate::base::hash::{self, fnv1a};
use crate::base::threads::map_with;

const MAGIC: &[u8; 8] = b"RESNETIX";
/// Raised with every change of the layout, or of what a format lists.
const VERSION: u32 = 1;
/// Bytes before the head.
const START: u64 = 20;
/// Bytes of the longest head.
const MOST_HEAD: u64 = 1 << 28;
/// Requests at once.
const FAR: usize = 16;
/// What an index's file is called: in a folder, and behind the name of a file.
const IN_FOLDER: &str = ".resnet-index";
const BEHIND: &str = ".resnet-index";
const ROLES: [Role; 3] = [Role::Train, Role::Val, Role::Test];

/// Where the index of a place is.
pub(in crate::data) fn path(place: &Path) -> Option<PathBuf> {
    if remote::is_remote(place) {
        return remote::index_of(place);
    }
    if place.is_dir() {
        return Some(place.join(IN_FOLDER));
    }
    let name = place.file_name()?.to_str()?;
    let around = place.parent()?;
    if place.exists() {
        return Some(around.join(format!("{name}{BEHIND}")));
    }
    let around = if around.as_os_str().is_empty() { Path::new(".") } else { around };
    // Other patterns may be the same file name.
    let hash = fnv1a(hash::BEGIN, name.as_bytes());
    let index = format!("{}-{hash:016x}{BEHIND}", files::safe_name(name));
    around.is_dir().then(|| around.join(index))
}

/// Writes the catalogue of the format `kind`.
///
/// # Errors
/// The file cannot be written.
pub(in crate::data) fn write(
    path: &Path,
    kind: &str,
    catalogue: &Catalogue,
) -> Result<(), FileError> {
    let head = head(kind, catalogue);
    if let (true, Some(folder)) = (remote::is_remote(&catalogue.root), path.parent()) {
        let failed = |source| FileError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    files::write_atomic(path, |to| {
        let mut to = Summed { inner: to, sum: flate2::Crc::new() };
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&(head.len() as u64).to_le_bytes())?;
        to.write_all(&head)?;
        for part in &catalogue.parts {
            for label in &part.labels {
                to.write_all(&label.to_le_bytes())?;
            }
            let mut start = 0u64;
            for index in 0..part.labels.len() {
                let mut row = [0; ROW];
                part.columns.with(index, |entry| {
                    super::columns::write_row(&mut row, start, entry);
                    start += entry.name.len() as u64;
                })?;
                to.write_all(&row)?;
            }
            for index in 0..part.labels.len() {
                part.columns.with(index, |entry| to.write_all(entry.name))??;
            }
        }
        let sum = to.sum.sum();
        to.inner.write_all(&sum.to_le_bytes())
    })
}

fn head(kind: &str, catalogue: &Catalogue) -> Vec<u8> {
    let mut head = Writing::default();
    let root = &catalogue.root;
    let stamped = |head: &mut Writing, (path, stamp): &(PathBuf, Stamp)| {
        head.path(path);
        head.number(stamp.length);
        head.number(stamp.changed);
    };
    let warning = |head: &mut Writing, Warning { file, message }: &Warning| {
        head.number(file.is_some().into());
        let file = file.as_deref().unwrap_or(Path::new(""));
        head.path(file.strip_prefix(root).unwrap_or(file));
        head.bytes(message.as_bytes());
    };
    head.bytes(kind.as_bytes());
    head.number(header::max_pixels());
    head.list(&catalogue.watched, stamped);
    head.list(&catalogue.shards, stamped);
    head.list(&catalogue.classes, |head, class| head.bytes(class.as_bytes()));
    head.list(&catalogue.warnings, warning);
    head.number(catalogue.bad.count as u64);
    head.list(&catalogue.bad.named, warning);
    head.list(&catalogue.parts, |head, part| {
        head.number(part.role as u64);
        head.bytes(part.name.as_bytes());
        head.number(part.labels.len() as u64);
        head.number(part.columns.name_bytes());
        head.list(&part.digests, |head, (before, after)| {
            head.number(*before);
            head.number(*after);
        });
        part.sizes.write(head);
    });
    head.0
}

/// Reads the catalogue of a place that the format `kind` opens, if nothing has changed since.
///
/// # Errors
/// The reason for which the index is not used, to follow the file's name.
pub(in crate::data) fn read(path: &Path, root: &Path, kind: &str) -> Result<Catalogue, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut off".to_string(),
        _ => format!("cannot be read: {error}"),
    };
    if !path.is_file() {
        return Err("is not a file".into());
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let copy = OpenFile::new(file.try_clone().map_err(failed)?).map_err(failed)?;
    let mut from =
        Summed { inner: BufReader::with_capacity(1 << 18, file), sum: flate2::Crc::new() };
    let mut start = [0; START as usize];
    from.read_exact(&mut start).map_err(failed)?;
    if start[..8] != *MAGIC {
        return Err("is no index".into());
    }
    if start[8..12] != VERSION.to_le_bytes() {
        return Err("is of another version of this program".into());
    }
    let head_length = u64::from_le_bytes(std::array::from_fn(|i| start[12 + i]));
    if head_length > MOST_HEAD.min(length) {
        return Err("is damaged".into());
    }
    let mut head = vec![0; head_length as usize];
    from.read_exact(&mut head).map_err(failed)?;
    let (mut catalogue, of, counts) = parse(&head, root).ok_or("is damaged")?;
    if of != kind {
        return Err(format!("is that of the same data as {of}"));
    }
    let sizes = counts.iter().try_fold(START + head_length + 4, |sum, (count, names)| {
        count.checked_mul(4 + ROW as u64)?.checked_add(*names)?.checked_add(sum)
    });
    if sizes != Some(length) {
        return Err("is damaged, or cut off".into());
    }
    changed(&catalogue, root)?;
    repaired(&catalogue, path)?;
    let mut at = START + head_length;
    let file = Arc::new(copy);
    for (part, (count, names)) in catalogue.parts.iter_mut().zip(counts) {
        let Some(part) = Arc::get_mut(part) else { return Err("is in use".into()) };
        part.labels.reserve_exact(count as usize);
        let mut bytes = [0; 1 << 12];
        let mut left = count as usize * 4;
        while left > 0 {
            let some = left.min(bytes.len());
            from.read_exact(&mut bytes[..some]).map_err(failed)?;
            let labels = bytes[..some].chunks_exact(4);
            part.labels.extend(labels.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            left -= some;
        }
        if part.labels.iter().any(|&label| label as usize >= catalogue.classes.len()) {
            return Err("is damaged".into());
        }
        let rows = at + count * 4;
        at = rows + count * ROW as u64 + names;
        let rest = &mut from.by_ref().take(count * ROW as u64 + names);
        io::copy(rest, &mut io::sink()).map_err(failed)?;
        part.columns = Columns::File(Indexed::new(file.clone(), rows, count as usize, names));
    }
    let sum = from.sum.sum();
    let mut wanted = [0; 4];
    from.inner.read_exact(&mut wanted).map_err(failed)?;
    match u32::from_le_bytes(wanted) == sum {
        true => Ok(catalogue),
        false => Err("is damaged: its checksum is wrong".into()),
    }
}

type Head = (Catalogue, String, Vec<(u64, u64)>);

fn parse(head: &[u8], root: &Path) -> Option<Head> {
    let mut head = Reading(head);
    let stamped = |head: &mut Reading| {
        let path = head.path()?;
        Some((path, Stamp { length: head.number()?, changed: head.number()? }))
    };
    let warning = |head: &mut Reading| {
        let has_file = head.number()? == 1;
        let file = head.path()?;
        let file = has_file.then(|| root.join(file));
        Some(Warning { file, message: head.text()? })
    };
    let kind = head.text()?;
    // With another limit other pictures are used.
    if head.number()? != header::max_pixels() {
        return Some((empty(root), format!("{kind} with another limit of pixels"), Vec::new()));
    }
    let watched = head.list(stamped)?;
    let shards = head.list(stamped)?;
    let classes = head.list(Reading::text)?;
    let warnings = head.list(warning)?;
    let bad = Bad { count: head.number()? as usize, named: head.list(warning)? };
    let mut counts = Vec::new();
    let parts = head.list(|head| {
        let role = *ROLES.get(head.number()? as usize)?;
        let name = head.text()?;
        counts.push((head.number()?, head.number()?));
        let digests = head.list(|head| Some((head.number()?, head.number()?)))?;
        let sizes = Sizes::read(head)?;
        let columns = Columns::Memory(super::Entries::default());
        let labels = Vec::new();
        Some(Arc::new(Part { role, name, labels, columns, sizes, digests }))
    })?;
    let sound = head.0.is_empty()
        && bad.named.len() <= bad.count
        && parts.first().is_some_and(|part| part.role == Role::Train);
    let root = root.to_path_buf();
    let classes = classes.into();
    let catalogue = Catalogue { root, classes, parts, shards, watched, warnings, bad };
    sound.then_some((catalogue, kind, counts))
}

fn empty(root: &Path) -> Catalogue {
    Catalogue {
        root: root.to_path_buf(),
        classes: Vec::new().into(),
        parts: Vec::new(),
        shards: Vec::new(),
        watched: Vec::new(),
        warnings: Vec::new(),
        bad: Bad::default(),
    }
}

/// Whether anything is no longer what it was.
fn changed(catalogue: &Catalogue, root: &Path) -> Result<(), String> {
    let is = |path: &Path| match path.as_os_str().is_empty() {
        true => listing_of(root),
        false => stamp_of(&root.join(path)),
    };
    let all: Vec<&(PathBuf, Stamp)> = catalogue.watched.iter().chain(&catalogue.shards).collect();
    // Those at an address are asked for side by side.
    let threads = if remote::is_remote(root) { FAR } else { 1 };
    let found = map_with(&all, threads, || (), |(), (path, _)| is(path));
    for ((path, stamp), found) in all.into_iter().zip(found) {
        if let (Err(error), true) = (&found, remote::is_remote(root)) {
            return Err(format!("cannot be compared: {}: {error}", crate::base::text::path(path)));
        }
        if found.ok() != Some(*stamp) {
            let shown = match path.as_os_str().is_empty() {
                true => "the folder".to_string(),
                false => crate::base::text::path(path).to_string(),
            };
            return Err(format!("is old: {shown} has changed since"));
        }
    }
    Ok(())
}

/// Whether a file that could not be used may be by now: one that is newer than the index, or was
/// not there.
fn repaired(catalogue: &Catalogue, index: &Path) -> Result<(), String> {
    let made = Stamp::of(index).unwrap_or_default().changed;
    let is = |bad: &&Warning| {
        let Some(file) = bad.file.as_deref() else { return false };
        let lost = bad.message.starts_with("cannot be read");
        let newer = || Stamp::of(file).is_ok_and(|stamp| stamp.changed > made);
        if lost { File::open(file).is_ok() } else { header::is_named(file) && newer() }
    };
    match catalogue.bad.named.iter().find(is) {
        Some(Warning { file: Some(file), .. }) => {
            Err(format!("is old: {} has changed since", crate::base::text::path(file)))
        }
        _ => Ok(()),
    }
}

/// What passes through, with its checksum.
struct Summed<T> {
    inner: T,
    sum: flate2::Crc,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.sum.update(&bytes[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
