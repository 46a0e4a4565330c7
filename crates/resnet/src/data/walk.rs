//! The files of a folder and of the folders inside it.
//!
//! Links are followed, real folders first, and no folder is entered twice: a link that leads back
//! up ends there. What cannot be read is left out and named, and loses only itself; an error of the
//! system itself (too many open files, a failing disk) ends the walk.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::loses_only_itself;
use super::store::Stamp;
use super::{DataError, Warning};
use crate::base::text;

/// Folders inside folders.
const MAX_DEPTH: usize = 32;

/// What a walk finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The files, sorted by path.
    pub files: Vec<PathBuf>,
    /// What could not be reached, each with the reason: folders that cannot be read, links that
    /// lead nowhere.
    pub lost: Vec<Warning>,
    /// Links to folders that were passed over, each with the reason.
    pub passed: Vec<Warning>,
    /// Folders that were read, each with what it was before; a change in one of them changes this.
    pub(super) folders: Vec<(PathBuf, Stamp)>,
}

/// The files of a folder and of the folders inside it, whatever they hold. Names that begin with a
/// dot are passed over.
///
/// # Errors
/// The folder itself cannot be read, or the system fails on the way.
pub fn files_in(folder: &Path) -> Result<Walk, DataError> {
    walk(folder, None)
}

/// The same of a part of some data; links into its other parts are left out, or their pictures
/// would be here as well.
pub(super) fn walk(folder: &Path, of: Option<&Path>) -> Result<Walk, DataError> {
    Walker::new(folder, of, &list).walk(folder)
}

/// What a folder holds, sorted, without names that begin with a dot.
#[derive(Default)]
pub(super) struct Entries {
    /// Folders and links to folders.
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    /// Links that lead nowhere.
    pub(super) dangling: Vec<Warning>,
}

/// Lists a folder.
pub(super) fn entries(folder: &Path) -> Result<Entries, DataError> {
    list(folder).map_err(|error| DataError::io(folder, error))
}

fn list(folder: &Path) -> io::Result<Entries> {
    let mut entries = Entries::default();
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    for path in paths {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => entries.folders.push(path),
            // Whoever opens the file finds what is wrong with it.
            Ok(_) => entries.files.push(path),
            Err(_) => match fs::read_link(&path) {
                Ok(to) => {
                    let why = format!("is a link to {}, which is not there", text::path(&to));
                    entries.dangling.push(Warning::file(path, why));
                }
                Err(_) => entries.files.push(path),
            },
        }
    }
    Ok(entries)
}

struct Walker<'a> {
    list: &'a dyn Fn(&Path) -> io::Result<Entries>,
    /// Where the walk began, links resolved.
    home: PathBuf,
    /// The data that the folder is a part of, links resolved.
    of: Option<PathBuf>,
    /// Folders that were entered, links resolved.
    seen: HashSet<PathBuf>,
    /// Links to folders, with their depth.
    links: BTreeMap<PathBuf, usize>,
    found: Walk,
}

impl<'a> Walker<'a> {
    fn new(
        folder: &Path,
        of: Option<&Path>,
        list: &'a dyn Fn(&Path) -> io::Result<Entries>,
    ) -> Walker<'a> {
        let home = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        Walker {
            list,
            of: of.and_then(|of| fs::canonicalize(of).ok()),
            seen: HashSet::from([home.clone()]),
            home,
            links: BTreeMap::new(),
            found: Walk::default(),
        }
    }

    fn walk(mut self, folder: &Path) -> Result<Walk, DataError> {
        self.enter(folder, 0)?;
        while let Some((link, depth)) = self.links.pop_first() {
            self.follow(link, depth)?;
        }
        self.found.files.sort_unstable();
        Ok(self.found)
    }

    fn lose(&mut self, path: PathBuf, why: impl Into<String>) {
        self.found.lost.push(Warning::file(path, why));
    }

    fn pass(&mut self, link: PathBuf, why: impl Into<String>) {
        self.found.passed.push(Warning::file(link, why));
    }

    fn enter(&mut self, folder: &Path, depth: usize) -> Result<(), DataError> {
        let stamp = Stamp::of(folder).unwrap_or_default();
        let entries = match (self.list)(folder) {
            Ok(entries) => entries,
            Err(error) if depth > 0 && loses_only_itself(&error) => {
                self.lose(folder.to_path_buf(), format!("cannot be read: {error}"));
                return Ok(());
            }
            Err(error) => return Err(DataError::io(folder, error)),
        };
        self.found.folders.push((folder.to_path_buf(), stamp));
        self.found.files.extend(entries.files);
        self.found.lost.extend(entries.dangling);
        for inside in entries.folders {
            let link = fs::symlink_metadata(&inside).is_ok_and(|found| found.is_symlink());
            if depth == MAX_DEPTH {
                self.lose(inside, "lies too deep");
            } else if link {
                self.links.insert(inside, depth + 1);
            } else if self.seen.insert(resolved(&inside)) {
                self.enter(&inside, depth + 1)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, link: PathBuf, depth: usize) -> Result<(), DataError> {
        let to = resolved(&link);
        let inside = |part: &PathBuf| to.starts_with(part);
        if self.home.starts_with(&to) {
            self.pass(link, "is a link to a folder that holds it");
        } else if self.of.as_ref().is_some_and(inside) && !inside(&self.home) {
            let why = format!("is a link to {}, another part of the data", text::path(&to));
            self.pass(link, why);
        } else if self.seen.contains(&to) {
            let why = format!("is a link to {}, whose files are here already", text::path(&to));
            self.pass(link, why);
        } else {
            self.seen.insert(to);
            self.enter(&link, depth)?;
        }
        Ok(())
    }
}

/// Where a folder really lies.
fn resolved(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::data::testing::TempDir;

    fn shown(walk: &Walk, dir: &TempDir) -> (Vec<String>, Vec<String>) {
        let roots = [resolved(dir.path()), dir.path().to_path_buf()];
        let short = |text: String| {
            roots.iter().fold(text, |text, root| text.replace(&format!("{}/", root.display()), ""))
        };
        let files = walk.files.iter().map(|file| short(text::path(file).to_string()));
        let left_out = walk.lost.iter().chain(&walk.passed).map(|why| short(why.to_string()));
        (files.collect(), left_out.collect())
    }

    #[test]
    fn links_are_followed_once_and_never_in_circles() {
        let dir = TempDir::new("walk-links");
        for file in ["a/1", "a/deep/2", "other/3", "other/in/4"] {
            dir.write(file, b"");
        }
        let at = |name: &str| dir.path().join(name);
        symlink(at("other"), at("a/x")).unwrap();
        symlink(at("other"), at("a/y")).unwrap();
        symlink(at("a"), at("a/deep/round")).unwrap();
        symlink(at("a"), at("other/in/back")).unwrap();
        symlink(dir.path(), at("a/up")).unwrap();
        symlink(at("a/deep"), at("a/again")).unwrap();
        symlink(at("nowhere"), at("a/gone")).unwrap();
        let (files, left_out) = shown(&files_in(&at("a")).unwrap(), &dir);
        assert_eq!(files, ["a/1", "a/deep/2", "a/x/3", "a/x/in/4"]);
        assert_eq!(
            left_out,
            [
                "a/gone: is a link to nowhere, which is not there",
                "a/again: is a link to a/deep, whose files are here already",
                "a/deep/round: is a link to a folder that holds it",
                "a/up: is a link to a folder that holds it",
                "a/x/in/back: is a link to a folder that holds it",
                "a/y: is a link to other, whose files are here already",
            ]
        );
        let (files, left_out) = shown(&walk(&at("a"), Some(dir.path())).unwrap(), &dir);
        assert_eq!(files, ["a/1", "a/deep/2"]);
        assert!(left_out.contains(&"a/x: is a link to other, another part of the data".into()));
    }

    #[test]
    fn a_folder_that_cannot_be_read_loses_only_itself() {
        let dir = TempDir::new("walk-closed");
        dir.write("open/1", b"");
        dir.write("closed/2", b"");
        let with = |kind: io::ErrorKind| {
            let list = move |folder: &Path| match folder.ends_with("closed") {
                true => Err(io::Error::from(kind)),
                false => list(folder),
            };
            Walker::new(dir.path(), None, &list).walk(dir.path())
        };
        let (files, left_out) = shown(&with(io::ErrorKind::PermissionDenied).unwrap(), &dir);
        assert_eq!(files, ["open/1"]);
        assert_eq!(left_out, ["closed: cannot be read: permission denied"]);
        // No more files, no more memory, a failing disk: nothing is known of what comes next.
        assert!(with(io::ErrorKind::OutOfMemory).is_err());
        assert!(files_in(&dir.path().join("nowhere")).is_err());
    }
}
