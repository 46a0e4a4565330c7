//! Files that are either the old one or the new one, never half of each.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

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
        StorageFull | QuotaExceeded | FileTooLarge => {
            "free some space there or choose another directory"
        }
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

/// Writes a file through a temporary one beside it: write, sync, rename, sync the directory.
/// Whatever fails, and whenever the process is killed, `path` holds either its old content or all
/// of the new.
///
/// The temporary file is `.NAME.partial`; one left by a killed process is replaced by the next
/// write. A link is followed; a device or pipe is written directly.
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
    let Some(name) = target.file_name() else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    let partial = directory.join(partial);

    let result = fill(&partial, write).and_then(|()| fs::rename(&partial, &target));
    match result {
        Ok(()) => sync_directory(directory),
        Err(error) => {
            // The first error is the one to report; a temporary file that stays is replaced by the
            // next write.
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

fn fill(partial: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = BufWriter::with_capacity(1 << 16, File::create_new(partial)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
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
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = TestDir::new("replace");
        let path = dir.0.join("last");
        for content in ["first", "second"] {
            write_atomic(&path, |to| to.write_all(content.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names(&dir.0), ["last"]);
        }
    }

    #[test]
    fn a_failure_at_any_byte_keeps_the_old_file() {
        let dir = TestDir::new("failure");
        let path = dir.0.join("last");
        fs::write(&path, "old").unwrap();
        for written in [0, 1, 1 << 17] {
            let error = write_atomic(&path, |to| {
                to.write_all(&vec![b'x'; written])?;
                Err(io::ErrorKind::StorageFull.into())
            })
            .unwrap_err()
            .to_string();
            assert!(error.contains("last") && error.contains("free some space"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            assert_eq!(names(&dir.0), ["last"]);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let dir = TestDir::new("killed");
        let path = dir.0.join("last");
        fs::write(dir.0.join(".last.partial"), "half").unwrap();
        write_atomic(&path, |to| to.write_all(b"whole")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(names(&dir.0), ["last"]);
    }

    #[test]
    fn places_that_cannot_be_written_are_named() {
        let dir = TestDir::new("places");
        fs::write(dir.0.join("file"), "").unwrap();
        fs::create_dir(dir.0.join("folder")).unwrap();
        let cases = [
            ("missing/last", "check the path"),
            ("file/last", "check the path"),
            ("folder", "name a file"),
        ];
        for (place, advice) in cases {
            let error = write_atomic(&dir.0.join(place), |to| to.write_all(b"x"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(advice), "{error}");
        }
        assert_eq!(names(&dir.0), ["file", "folder"]);
        assert!(write_atomic(Path::new("/"), |_| Ok(())).is_err());
        assert!(write_atomic(Path::new(""), |_| Ok(())).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_and_links_are_written_through() {
        let full = Path::new("/dev/full");
        let error = write_atomic(full, |to| to.write_all(b"x")).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(!fs::metadata(full).unwrap().is_file());

        let dir = TestDir::new("links");
        fs::write(dir.0.join("target"), "old").unwrap();
        std::os::unix::fs::symlink("target", dir.0.join("link")).unwrap();
        write_atomic(&dir.0.join("link"), |to| to.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(dir.0.join("target")).unwrap(), "new");
        assert!(fs::symlink_metadata(dir.0.join("link")).unwrap().is_symlink());
    }

    #[test]
    fn reading_is_bounded() {
        let dir = TestDir::new("bounded");
        let path = dir.0.join("recipe");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_bounded(&path, 4), Err(FileError::TooLarge { limit: 4, .. })));
        let error = read_bounded(&dir.0.join("none"), 4).unwrap_err().to_string();
        assert!(error.contains("none") && error.contains("check the path"), "{error}");
    }
}
