//! Class folders inside an archive: which parts of its members' paths are splits and classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::role::{Role, names, role};
use super::super::shards::Group;
use super::super::{DataError, Warning};
use super::{Class, Entries, Listed};
use crate::base::text;

/// Members that are named where they lie beside the class folders.
const NAMED: usize = 100;

/// The splits of members that lie in class folders, perhaps in folders of splits, perhaps in one
/// more around all. `groups` are the archives' files by split, which `of` numbers for a shard.
///
/// # Errors
/// There are no class folders.
pub(in crate::data) fn tree(
    place: &Path,
    members: &Entries,
    groups: &[Group],
    of: &[usize],
    unused: &mut Vec<Warning>,
) -> Result<Vec<Listed>, DataError> {
    let mut by_group: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
    for index in 0..members.len() {
        let entry = members.get(index);
        if !is_hidden(entry.name) {
            by_group[of[entry.place.shard as usize]].push(index);
        }
    }
    let mut parts = Vec::new();
    for (group, indices) in groups.iter().zip(by_group) {
        let depth = common(members, &indices);
        let splits = if groups.len() == 1 { splits(members, &indices, depth) } else { Vec::new() };
        let at = group.files.first().map_or(place, PathBuf::as_path);
        if splits.is_empty() {
            parts.push(part(at, members, &indices, depth, (group.role, group.name.clone()))?);
            continue;
        }
        if splits[0].0 != Role::Train {
            return Err(DataError::content(
                at,
                format!("{} beside {}/", names(Role::Train), splits[0].1),
                "none",
                "labels are numbered by the training pictures: call their folder train",
            ));
        }
        for (role, name) in splits {
            let own = |&&index: &&usize| {
                parts_of(members.get(index).name).nth(depth) == Some(name.as_bytes())
            };
            let own: Vec<usize> = indices.iter().filter(own).copied().collect();
            if parts.iter().any(|part: &Listed| part.role == role) {
                let why = format!("{name}/ is not used, as there is another split of its kind");
                unused.push(Warning::file(at, why));
                continue;
            }
            parts.push(part(at, members, &own, depth + 1, (role, name))?);
        }
    }
    Ok(parts)
}

/// The parts of a member's path.
fn parts_of(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Names that begin with a dot, and what macOS adds to archives.
fn is_hidden(name: &[u8]) -> bool {
    parts_of(name).any(|part| part.starts_with(b".") || part == b"__MACOSX")
}

/// Folders in folders that may lie around all class folders.
const MOST_DEPTH: usize = 64;

/// How many folders lie around all class folders.
fn common(members: &Entries, indices: &[usize]) -> usize {
    let mut depth = 0;
    loop {
        if depth == MOST_DEPTH {
            return depth;
        }
        let mut folders = indices.iter().map(|&index| {
            let mut parts = parts_of(members.get(index).name).skip(depth);
            // What is stripped must leave a class and a file.
            let first = parts.next()?;
            parts.nth(1).map(|_| first)
        });
        let Some(Some(first)) = folders.next() else { return depth };
        if !folders.all(|folder| folder == Some(first)) {
            return depth;
        }
        depth += 1;
    }
}

/// Folders with the names of splits that hold class folders, training first; none where these are
/// classes.
fn splits(members: &Entries, indices: &[usize], depth: usize) -> Vec<(Role, String)> {
    let mut found: BTreeMap<(u8, usize, String), Role> = BTreeMap::new();
    for &index in indices {
        let mut parts = parts_of(members.get(index).name).skip(depth);
        let (Some(first), Some(_)) = (parts.next(), parts.nth(1)) else { continue };
        let Ok(name) = std::str::from_utf8(first) else { continue };
        if let Some((role, rank)) = role(name) {
            found.entry((role as u8, rank, name.to_string())).or_insert(role);
        }
    }
    found.into_iter().map(|((_, _, name), role)| (role, name)).collect()
}

/// The members of a split; the part of their paths at `depth` is the class.
fn part(
    place: &Path,
    members: &Entries,
    indices: &[usize],
    depth: usize,
    (role, name): (Role, String),
) -> Result<Listed, DataError> {
    let mut classes: BTreeMap<String, u32> = BTreeMap::new();
    let mut strays = Vec::new();
    let mut listed: Vec<(usize, String)> = Vec::with_capacity(indices.len());
    let mut beside = 0;
    for &index in indices {
        let entry = members.get(index);
        let mut parts = parts_of(entry.name).skip(depth);
        let class = match (parts.next(), parts.next()) {
            (Some(class), Some(_)) => std::str::from_utf8(class).ok(),
            _ => None,
        };
        match class {
            Some(class) => {
                let class = text::composed(class);
                classes.entry(class.clone()).or_default();
                listed.push((index, class));
            }
            None => {
                beside += 1;
                if beside <= NAMED {
                    let shown = String::from_utf8_lossy(entry.name);
                    let why = format!("{shown} lies beside the class folders");
                    strays.push(Warning::file(place, why));
                }
            }
        }
    }
    if classes.is_empty() {
        let found = strays.first().map_or("no files".to_string(), |stray| stray.message.clone());
        return Err(DataError::content(
            place,
            "pictures in class folders, or each with its label in a .cls or .json file of its name",
            found,
            "pack the folders of the classes, not the pictures alone",
        ));
    }
    classes.values_mut().zip(0..).for_each(|(label, number)| *label = number);
    let mut entries = Entries::default();
    for (index, class) in listed {
        let entry = members.get(index);
        entries.push(entry.name, classes[&class], entry.place);
    }
    entries.sort();
    let class = |name: String| Class { name, place: place.to_path_buf() };
    Ok(Listed {
        role,
        name,
        place: place.to_path_buf(),
        classes: classes.into_keys().map(class).collect(),
        entries,
        strays,
    })
}
