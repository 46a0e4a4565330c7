//! Data in several large files: which files a text or a folder means, and which split each is of.

use std::fs;
use std::path::{Path, PathBuf};

use super::role::{Role, names, role};
use super::store::{Stamp, listing_of, stamp_of};
use super::walk::{self, Entries};
use super::{DataError, Warning, describe, refused, remote};
use crate::base::text;

/// Files that one text may mean; more is a mistake.
const MOST: usize = 1 << 16;

/// The files of one split.
pub(super) struct Group {
    pub(super) role: Role,
    /// What the files call it; empty where none is called by a split.
    pub(super) name: String,
    /// In the order of their paths.
    pub(super) files: Vec<PathBuf>,
}

/// Files by their splits.
pub(super) struct Shards {
    /// The folder that they lie in.
    pub(super) root: PathBuf,
    /// Training first.
    pub(super) groups: Vec<Group>,
    /// Folders that were asked, from `root` on.
    pub(super) watched: Vec<(PathBuf, Stamp)>,
    pub(super) unused: Vec<Warning>,
}

/// Whether a text means several files: `train-{0000..0146}.tar`, `{train,val}-*.tar`.
pub(crate) fn is_pattern(place: &Path) -> bool {
    !place.exists() && place.to_str().is_some_and(|text| text.contains(['{', '*', '?']))
}

/// Whether a place is or holds files that end in one of `endings`: a file, a pattern, or a folder,
/// in which they may lie in folders of splits.
pub(super) fn are(place: &Path, endings: &[&str]) -> bool {
    let ends = |text: &str| endings.iter().any(|ending| text.ends_with(ending));
    // A range of which a file is missing is one too, and whoever opens it says so.
    let named = is_pattern(place) && place.to_str().is_some_and(|text| ends(&text.to_lowercase()));
    named || listed(place, endings).is_ok_and(|(files, ..)| !files.is_empty())
}

/// The same of an address, which may have to be asked for.
///
/// # Errors
/// It cannot be.
pub(super) fn at_address(place: &Path, endings: &[&str]) -> Result<bool, DataError> {
    let text = place.to_str().unwrap_or_default().to_lowercase();
    match is_folder(place) {
        true => listed(place, endings).map(|(files, ..)| !files.is_empty()),
        false => Ok(endings.iter().any(|ending| text.ends_with(ending))),
    }
}

/// What lies at an address, for an error.
///
/// # Errors
/// It cannot be asked for.
pub(super) fn described(place: &Path) -> Result<String, DataError> {
    if !is_folder(place) {
        return Ok("another file".to_string());
    }
    let Entries { folders, files, .. } = inside(place)?;
    let names = files.iter().chain(&folders).filter_map(|path| path.file_name());
    let names: Vec<String> = names.take(3).map(|name| text::name(name).to_string()).collect();
    Ok(match names.is_empty() {
        true => "nothing".to_string(),
        false => {
            format!("{} files and {} folders, as {}", files.len(), folders.len(), names.join(", "))
        }
    })
}

/// The files that a place means, by split.
///
/// # Errors
/// A file of a range is missing, there are too many or none, or there is no training split.
pub(super) fn find(place: &Path, endings: &[&str]) -> Result<Shards, DataError> {
    let (files, root, watched) = listed(place, endings)?;
    if files.is_empty() {
        if let Some(refusal) = refused::refusal(place) {
            return Err(refusal);
        }
        let expected = format!("files that end in {}", endings.join(" or "));
        let found = if place.is_dir() { describe(place) } else { "none".into() };
        return Err(DataError::content(place, expected, found, "check the path"));
    }
    let mut groups: Vec<(usize, Group)> = Vec::new();
    let (mut plain, mut unused) = (Vec::new(), Vec::new());
    for file in files {
        let Some((name, role, rank)) = split_of(&root, &file) else {
            plain.push(file);
            continue;
        };
        match groups.iter_mut().find(|(_, group)| group.name == name) {
            Some((_, group)) => group.files.push(file),
            None => groups.push((rank, Group { role, name, files: vec![file] })),
        }
    }
    if groups.is_empty() || groups.len() == 1 && plain.is_empty() {
        let lone = groups.pop().map(|(_, group)| group);
        let group = lone.unwrap_or(Group { role: Role::Train, name: String::new(), files: plain });
        // A single split is what there is to learn from, whatever it is called.
        let groups = vec![Group { role: Role::Train, ..group }];
        return Ok(Shards { root, groups, watched, unused });
    }
    let not_used = |file: PathBuf, why: &str| Warning::file(file, format!("is not used: {why}"));
    unused.extend(plain.into_iter().map(|file| not_used(file, "its name names no split")));
    groups.sort_by(|(a, x), (b, y)| (x.role as u8, a, &x.name).cmp(&(y.role as u8, b, &y.name)));
    let mut kept: Vec<Group> = Vec::new();
    for (_, group) in groups {
        match kept.last() {
            Some(last) if last.role == group.role => {
                let why = format!("there are files of {} too", last.name);
                unused.extend(group.files.into_iter().map(|file| not_used(file, &why)));
            }
            _ => kept.push(group),
        }
    }
    if kept[0].role != Role::Train {
        return Err(DataError::content(
            place,
            format!("files of {} beside those of {}", names(Role::Train), kept[0].name),
            "none",
            "labels are numbered by the training pictures: name their files too",
        ));
    }
    Ok(Shards { root, groups: kept, watched, unused })
}

/// What the name of a file, or of the folder that it lies in below `root`, says of its split.
fn split_of(root: &Path, file: &Path) -> Option<(String, Role, usize)> {
    let of_name = |name: &str| {
        let words = name.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        words.into_iter().find_map(|word| {
            let (role, rank) = role(word)?;
            Some((word.to_string(), role, rank))
        })
    };
    let folder = file.parent().filter(|folder| *folder != root).and_then(Path::file_name);
    let folder = folder.and_then(|name| name.to_str()).and_then(of_name);
    folder.or_else(|| of_name(file.file_stem()?.to_str()?))
}

/// What a folder holds, on a disk or at an address.
fn inside(folder: &Path) -> Result<Entries, DataError> {
    if !remote::is_remote(folder) {
        return walk::entries(folder);
    }
    let failed = |error| DataError::io(folder, error);
    let remote::Inside { folders, files } = remote::inside(folder).map_err(failed)?;
    Ok(Entries { folders, files, ..Entries::default() })
}

/// Whether a place is a folder; that of an address, by its name.
pub(super) fn is_folder(place: &Path) -> bool {
    match remote::is_remote(place) {
        true => !is_pattern(place) && !remote::names_object(place),
        false => place.is_dir(),
    }
}

/// The folder that shards at an address lie in.
pub(super) fn root_of(place: &Path) -> PathBuf {
    if is_folder(place) {
        return place.to_path_buf();
    }
    let text = place.to_str().unwrap_or_default();
    let fixed = &text[..text.find(['{', '*', '?']).unwrap_or(text.len())];
    PathBuf::from(fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder))
}

/// The folder before the first part of a pattern that varies.
fn unvaried(pattern: &Path) -> PathBuf {
    let text = pattern.to_str().unwrap_or_default();
    let fixed = &text[..text.find(['{', '*', '?']).unwrap_or(text.len())];
    match fixed.rfind(std::path::is_separator) {
        Some(end) => PathBuf::from(&fixed[..=end]),
        None => PathBuf::from("."),
    }
}

type Found = (Vec<PathBuf>, PathBuf, Vec<(PathBuf, Stamp)>);

/// The files, the folder that they lie in, and folders that were asked, from there on.
fn listed(place: &Path, endings: &[&str]) -> Result<Found, DataError> {
    let wanted = |file: &Path| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.to_lowercase();
        !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending))
    };
    if is_pattern(place) {
        let files = expand(place)?;
        let files: Vec<PathBuf> = files.into_iter().filter(|file| wanted(file)).collect();
        let root = match remote::is_remote(place) {
            true => root_of(place),
            false => unvaried(place),
        };
        let mut watched = Vec::new();
        // Another file may come to be called so; a range says by itself which there are.
        if place.to_str().is_some_and(|text| text.contains(['*', '?'])) {
            let stamp = listing_of(&root).map_err(|error| DataError::io(&root, error))?;
            watched.push((PathBuf::new(), stamp));
        }
        return Ok((files, root, watched));
    }
    if !is_folder(place) {
        let files = if wanted(place) { vec![place.to_path_buf()] } else { Vec::new() };
        let root = place.parent().unwrap_or(Path::new("")).to_path_buf();
        return Ok((files, root, Vec::new()));
    }
    let mut watched = Vec::new();
    let mut files = Vec::new();
    let list = |folder: &Path, watched: &mut Vec<(PathBuf, Stamp)>| {
        let failed = |error| DataError::io(folder, error);
        let below = folder.strip_prefix(place).unwrap_or(folder);
        let stamp = if folder == place { listing_of(folder) } else { stamp_of(folder) };
        watched.push((below.to_path_buf(), stamp.map_err(failed)?));
        inside(folder)
    };
    let top = list(place, &mut watched)?;
    files.extend(top.files.into_iter().filter(|file| wanted(file)));
    for folder in top.folders {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if role(name).is_some() {
            let inside = list(&folder, &mut watched)?;
            files.extend(inside.files.into_iter().filter(|file| wanted(file)));
        }
    }
    Ok((files, place.to_path_buf(), watched))
}

/// The files that a pattern means: every one of a range, and what is there for `*` and `?`, which
/// stand in the last part of the path.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, DataError> {
    let text = pattern.to_str().unwrap_or_default();
    let mut found = Vec::new();
    for path in braces(text).ok_or_else(|| {
        let hint = "a range is two numbers of as many digits, as in train-{0000..0146}.tar";
        let expected = format!("ranges of at most {MOST} files");
        DataError::content(pattern, expected, "another", hint)
    })? {
        let path = PathBuf::from(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.contains(['*', '?']) {
            // Those of an address are asked for when they are listed.
            if !remote::is_remote(&path)
                && let Err(error) = fs::metadata(&path)
            {
                return Err(DataError::io(path, error));
            }
            found.push(path);
            continue;
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let matching = inside(folder)?.files.into_iter().filter(|file| {
            file.file_name().and_then(|name| name.to_str()).is_some_and(|n| matches(name, n))
        });
        found.extend(matching);
        if found.len() > MOST {
            break;
        }
    }
    found.dedup();
    if found.len() > MOST {
        let found = format!("more than {MOST}");
        return Err(DataError::content(pattern, "fewer files", found, "name some of them"));
    }
    if found.is_empty() {
        let shown = text::path(pattern).to_string();
        return Err(DataError::Source { given: shown, hint: "no file is called so".into() });
    }
    Ok(found)
}

/// A text with each `{a..b}` and `{x,y}` replaced, the last changing first; nothing for what is no
/// range, or too many.
fn braces(text: &str) -> Option<Vec<String>> {
    let Some(open) = text.find('{') else { return Some(vec![text.to_string()]) };
    let close = open + text[open..].find('}')?;
    let (before, inside, after) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
    let choices: Vec<String> = match inside.split_once("..") {
        Some((from, to)) => {
            let number = |text: &str| {
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                text.parse::<u64>().ok().filter(|_| digits)
            };
            let (first, last) = (number(from)?, number(to)?);
            let width = if from.starts_with('0') { from.len().min(20) } else { 1 };
            if last < first || last - first >= MOST as u64 {
                return None;
            }
            (first..=last).map(|n| format!("{n:0width$}")).collect()
        }
        None => inside.split(',').map(str::to_string).collect(),
    };
    let rest = braces(after)?;
    if choices.len().checked_mul(rest.len())? > MOST {
        return None;
    }
    let joined = |choice: &String| -> Vec<String> {
        rest.iter().map(|rest| format!("{before}{choice}{rest}")).collect()
    };
    Some(choices.iter().flat_map(joined).collect())
}

/// Whether a name matches a pattern of `*` and `?`. Time is at most the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::TempDir;

    fn names_of(shards: &Shards) -> Vec<(String, Vec<String>)> {
        let short =
            |file: &PathBuf| file.strip_prefix(&shards.root).unwrap().to_str().unwrap().to_string();
        let group = |group: &Group| (group.name.clone(), group.files.iter().map(short).collect());
        shards.groups.iter().map(group).collect()
    }

    #[test]
    fn braces_and_stars_are_files() {
        let all = |text: &str| braces(text).unwrap_or_default();
        assert_eq!(all("a-{08..10}.tar"), ["a-08.tar", "a-09.tar", "a-10.tar"]);
        assert_eq!(all("{t,v}{1..2}"), ["t1", "t2", "v1", "v2"]);
        for wrong in ["a{1..", "{2..1}", "{0..99999999999999999999}", "{0..9999999}", "{-1..2}"] {
            assert_eq!(braces(wrong), None, "{wrong}");
        }
        assert_eq!(braces(&"{0..99}".repeat(9)), None);
        assert!(matches("tr*-?.tar", "train-1.tar") && matches("*", "") && matches("a*b*", "acb"));
        assert!(!matches("tr*-?.tar", "train-10.tar") && !matches("?", ""));
        let dir = TempDir::new("shards-range");
        for n in 0..3 {
            dir.write(&format!("x-{n:03}.tar"), b"");
        }
        let at = |text: &str| dir.path().join(text);
        assert!(are(&at("x-{000..002}.tar"), &[".tar"]) && are(&at("*.tar"), &[".tar"]));
        let found = find(&at("x-{001..002}.tar"), &[".tar"]).unwrap();
        assert_eq!(
            names_of(&found),
            [(String::new(), vec!["x-001.tar".into(), "x-002.tar".into()])]
        );
        let missing = find(&at("x-{001..003}.tar"), &[".tar"]).err().unwrap().to_string();
        assert!(missing.contains("x-003.tar: cannot be read"), "{missing}");
        assert!(find(&at("y-*.tar"), &[".tar"]).is_err());
        for split in ["train", "val"] {
            dir.write(&format!("{split}/x.tar"), b"");
        }
        let found = find(&at("{train,val}/x.tar"), &[".tar"]).unwrap();
        let split = |name: &str| (name.to_string(), vec![format!("{name}/x.tar")]);
        assert_eq!(names_of(&found), [split("train"), split("val")]);
        assert_eq!(unvaried(Path::new("{train,val}/x.tar")), Path::new("."));
    }

    #[test]
    fn splits_are_told_by_names() {
        let dir = TempDir::new("shards-splits");
        for name in ["in-train-1.tar", "in-train-0.tar", "in-val-0.tar", "notes.txt"] {
            dir.write(name, b"");
        }
        let named = |dir: &TempDir| names_of(&find(dir.path(), &[".tar"]).unwrap());
        let files = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let train = ("train".to_string(), files(&["in-train-0.tar", "in-train-1.tar"]));
        assert_eq!(named(&dir), [train.clone(), ("val".into(), files(&["in-val-0.tar"]))]);
        dir.write("other.tar", b"");
        dir.write("in-validation-0.tar", b"");
        let found = find(dir.path(), &[".tar"]).unwrap();
        let unused: Vec<String> = found.unused.iter().map(|w| w.message.clone()).collect();
        assert_eq!(found.groups.len(), 2);
        let why =
            ["is not used: its name names no split", "is not used: there are files of val too"];
        assert_eq!(unused, why);
        let folders = TempDir::new("shards-folders");
        folders.write("train/0.tar", b"");
        folders.write("test/0.tar", b"");
        folders.write("mine/0.tar", b"");
        let shown: Vec<String> = named(&folders).into_iter().map(|(name, _)| name).collect();
        assert_eq!(shown, ["train", "test"]);
        let only = TempDir::new("shards-only");
        only.write("val-0.tar", b"");
        only.write("test-0.tar", b"");
        let error = find(only.path(), &[".tar"]).err().unwrap().to_string();
        assert!(
            error.contains("expected files of train/, training/ beside those of val"),
            "{error}"
        );
    }
}
