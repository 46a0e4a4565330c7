//! Files that are either the old one or the new one, never half of each.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Writing failed; an older file of that name is as it was.
    #[error("cannot write {}: {source}; {}", path.display(), advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}; {}", path.display(), advice(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than what it should hold could be.
    #[error(
        "{} is larger than {limit} bytes, the most that is read here; check that it is the file you mean",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Largest size accepted, in bytes.
        limit: u64,
    },
}

fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::*;
    match error.kind() {
        StorageFull | QuotaExceeded => "free some space there or choose another directory",
        FileTooLarge => "raise the limit of the size of files, or choose another file system",
        PermissionDenied | ReadOnlyFilesystem => "choose a place that you may use",
        NotFound | NotADirectory => "check the path",
        IsADirectory => "name a file, not a directory",
        _ => "check the path and the disk",
    }
}

/// A text as part of a file name: letters, digits, `.`, `_` and `-` stay, everything else becomes
/// `_`.
pub fn safe_name(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let chars = text.chars();
    chars.map(|c| if safe(c) { c } else { '_' }).collect()
}

/// The folder of this user's caches, of all programs: `XDG_CACHE_HOME`, or `.cache` at home.
pub fn caches() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // A relative path there is to be ignored, says the XDG specification.
    let given = set("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| {
        Some(std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?.join(".cache"))
    })
}

/// Whether something is at a path. What the system refuses to tell, such as in a folder that may
/// not be entered, is an error and not an absence.
///
/// # Errors
/// [`FileError::Read`].
pub fn is_there(path: &Path) -> Result<bool, FileError> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// Writes a file through a temporary one beside it: write, sync, rename, sync the directory.
/// Whatever fails, and whenever the process is killed, `path` holds either its old content or all
/// of the new, also where several processes write it at once.
///
/// The temporary file is `.NAME.UNIQUE.partial`; what killed processes left of such files is
/// removed when another file is written there later. A link is followed; a device or pipe is
/// written directly.
///
/// # Errors
/// [`FileError::Write`], also for an error that `write` returns.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    replace(path, write).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let target = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            let mut device = BufWriter::new(File::options().write(true).open(path)?);
            write(&mut device)?;
            return device.flush();
        }
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let partial = Partial::fill(&target, write)?;
    fs::rename(&partial.path, &target)?;
    sync_directory(directory_of(&target))
}

/// Writes a file that is not there yet: of several who try at once one succeeds, and nobody ever
/// sees half of it. Where it fails, no file of ours is there.
///
/// # Errors
/// [`FileError::Write`]; the kind of its source is `AlreadyExists` where there is such a file.
pub(crate) fn create_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let create = || {
        let partial = Partial::fill(path, |to| to.write_all(bytes))?;
        match fs::hard_link(&partial.path, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Some file systems have no second names for a file.
            Err(_) => create_directly(path, |file| file.write_all(bytes))?,
            Ok(()) => {}
        }
        sync_directory(directory_of(path)).inspect_err(|_| {
            // The first error is the one to report.
            let _ = fs::remove_file(path);
        })
    };
    create().map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Writes a file that is not there yet under its own name; what could not be written whole is gone.
fn create_directly(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let written = write(&mut file).and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}

/// Makes a directory that was not there: `first`, or the first of `first-2`, `first-3`, ... that
/// nobody has. Directories around it are made as well.
///
/// # Errors
/// [`FileError::Write`].
pub fn free_directory(first: &Path) -> Result<PathBuf, FileError> {
    let failed = |path: &Path, source| FileError::Write { path: path.to_owned(), source };
    let around = directory_of(first);
    fs::create_dir_all(around).map_err(|error| failed(around, error))?;
    let mut path = first.to_owned();
    for number in 2u64.. {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut name = first.as_os_str().to_owned();
                name.push(format!("-{number}"));
                path = name.into();
            }
            Err(error) => return Err(failed(&path, error)),
        }
    }
    unreachable!("numbers do not end")
}

/// The directory that a file is in.
fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A temporary file with all its content, gone when dropped unless it was renamed.
struct Partial {
    path: PathBuf,
    /// Locked, so that others know that somebody is at it.
    _file: File,
}

/// How temporary files end.
const PARTIAL: &str = ".partial";
/// A temporary file that nobody has locked and that is older is a killed process's.
const ABANDONED: Duration = Duration::from_secs(60);
/// The same where there are no locks.
const LONG_ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

impl Partial {
    /// Writes and syncs a temporary file beside `target`.
    fn fill(
        target: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Partial> {
        let Some(name) = target.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let directory = directory_of(target);
        sweep(directory);
        let (path, file) = loop {
            let path = directory.join(partial_name(&name.to_string_lossy()));
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        // Where there are no locks, age alone tells what was abandoned.
        let _ = file.try_lock();
        let partial = Partial { path, _file: file };
        let mut to = BufWriter::with_capacity(1 << 16, &partial._file);
        write(&mut to)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(partial)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename it is not there any more. Another error is not the one to report.
        let _ = fs::remove_file(&self.path);
    }
}

/// A name that no other writer has, for a temporary file beside `name`.
fn partial_name(name: &str) -> String {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let start: String = safe_name(name).chars().take(100).collect();
    format!(".{start}.{:x}-{write:x}-{time:x}{PARTIAL}", std::process::id())
}

/// Whether a file's name is one that [`partial_name`] gives.
fn is_partial(name: &str) -> bool {
    let unique = name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL));
    let unique = unique.and_then(|name| name.rsplit_once('.')).map(|(_, unique)| unique);
    unique.is_some_and(|unique| {
        let hex = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit());
        unique.split('-').count() == 3 && unique.split('-').all(hex)
    })
}

/// Removes what killed processes left in a directory; each directory is looked at once.
fn sweep(directory: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.insert(directory.to_owned()) {
        return;
    }
    drop(swept);
    remove_abandoned(directory);
}

fn remove_abandoned(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_partial)) {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
        let Ok(file) = File::open(entry.path()) else { continue };
        let abandoned = match file.try_lock() {
            Ok(()) => age > ABANDONED,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => age > LONG_ABANDONED,
        };
        if abandoned {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a rename survive a power loss. Some file systems cannot sync a directory; the rename
/// stands all the same.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A whole file's bytes, if there are at most `limit`.
///
/// # Errors
/// [`FileError::TooLarge`] before memory is taken for more; [`FileError::Read`] otherwise.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// A directory for one test, removed at its end.
#[cfg(test)]
pub(crate) struct TestDir(pub(crate) PathBuf);

#[cfg(test)]
impl TestDir {
    pub(crate) fn new(name: &str) -> TestDir {
        let path = std::env::temp_dir().join(format!("resnet-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        TestDir(path)
    }
}

#[cfg(test)]
impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a directory of a test holds, sorted.
#[cfg(test)]
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
