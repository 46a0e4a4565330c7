//! Which library is loaded, and how.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::dialect::{Dialect, Handle, Table, mpich, open_mpi, standard};
use crate::error::MpiError;
use crate::functions::{Functions, revoke};
use crate::launched::{LIBRARY_VARIABLE, Launcher, Wire};
use crate::mpi::{Bound, Mpi};
use crate::text::short;

const OPEN_MPI: &[&str] = &["libmpi.so.40"];
const MPICH: &[&str] = &["libmpi_abi.so.1", "libmpi.so.12", "libmpich.so.12"];

/// A library that was loaded.
pub(crate) struct Found {
    pub(crate) mpi: Box<dyn Mpi>,
    pub(crate) path: String,
}

/// Names by which a launcher's MPI is looked for, its own first.
fn names(launcher: Launcher) -> impl Iterator<Item = &'static str> {
    let open_first = match launcher {
        Launcher::OpenMpi | Launcher::Pmix | Launcher::Slurm(Wire::Pmix) => true,
        Launcher::Hydra | Launcher::Slurm(Wire::Pmi | Wire::None) => false,
    };
    let (first, then) = if open_first { (OPEN_MPI, MPICH) } else { (MPICH, OPEN_MPI) };
    first.iter().chain(then).copied()
}

/// Places beside the program that started this process: an MPI that was unpacked anywhere has its
/// launcher in `bin` and its library in `lib`.
fn beside_launcher() -> Vec<PathBuf> {
    #[cfg(unix)]
    let parent = fs::read_link(format!("/proc/{}/exe", std::os::unix::process::parent_id())).ok();
    #[cfg(not(unix))]
    let parent: Option<PathBuf> = None;
    let root = parent.as_deref().and_then(Path::parent).and_then(Path::parent);
    root.map_or(Vec::new(), |root| vec![root.join("lib"), root.join("lib64")])
}

/// Which MPI would carry messages, and where it was found, as `Open MPI 4.1.4 (libmpi.so.40)`; none
/// where `RESNET_MPI` says that none is wanted. Without a launcher, whichever is found first. It is
/// loaded and not started.
///
/// # Errors
/// None is found, or something that is no MPI of ours.
pub fn installed(launcher: Option<Launcher>) -> Result<Option<String>, MpiError> {
    if env::var_os(LIBRARY_VARIABLE).is_some_and(|path| path == "none") {
        return Ok(None);
    }
    let Found { mpi, path } = load(launcher.unwrap_or(Launcher::OpenMpi))?;
    Ok(Some(format!("{} ({path})", short(&mpi.version()))))
}

/// Loads the MPI of a launcher, or the one that the environment names.
pub(crate) fn load(launcher: Launcher) -> Result<Found, MpiError> {
    if let Some(path) = env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty()) {
        let path = path.to_string_lossy().into_owned();
        let library = open(&path);
        let library = library.map_err(|reason| MpiError::Unfit { path: path.clone(), reason })?;
        return bind(library, path);
    }
    let places = beside_launcher();
    let mut looked_for = Vec::new();
    let mut broken = None;
    for name in names(launcher) {
        let beside = places.iter().map(|place| place.join(name)).filter(|path| path.exists());
        let paths = beside.map(|path| path.to_string_lossy().into_owned());
        for path in paths.chain([name.to_string()]) {
            match open(&path) {
                Ok(library) => return bind(library, path),
                // What lies there and does not load says more than what is not there.
                Err(reason) if path != name => {
                    broken.get_or_insert(MpiError::Unfit { path, reason });
                }
                Err(_) => looked_for.push(path),
            }
        }
    }
    Err(broken.unwrap_or(MpiError::NotFound { launcher, looked_for }))
}

/// Loads a library with all its symbols, for all: Open MPI's own parts look for them.
fn open(path: &str) -> Result<Library, String> {
    #[cfg(unix)]
    {
        use libloading::os::unix;
        let flags = unix::RTLD_NOW | unix::RTLD_GLOBAL;
        // SAFETY: an MPI's start does nothing to this process but set up what is its own; a path
        // that names anything else is the user's.
        let library = unsafe { unix::Library::open(Some(path), flags) };
        library.map(Library::from).map_err(|error| with_source(&error))
    }
    #[cfg(not(unix))]
    Err(format!("{path} cannot be loaded on this system"))
}

#[cfg(unix)]
fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| source.to_string())
}

fn bind(library: Library, path: String) -> Result<Found, MpiError> {
    // An MPI leaves threads and handlers behind, so it is never unloaded.
    let library: &'static Library = Box::leak(Box::new(library));
    /// # Safety
    /// The table is that of the library, which stays loaded.
    unsafe fn bound<H: Handle>(library: &Library, table: Table<H>) -> Result<Box<dyn Mpi>, String> {
        // SAFETY: as the caller says.
        Ok(unsafe { Box::new(Bound::new(Functions::find(library)?, revoke(library), table)) })
    }
    // SAFETY: the dialect is told by what the library says of itself, so its functions take these
    // handles and the constants are its own; it stays loaded.
    let mpi = Dialect::of(library).and_then(|dialect| unsafe {
        match dialect {
            Dialect::OpenMpi => bound(library, open_mpi(library)?),
            Dialect::Mpich => bound(library, mpich()),
            Dialect::Standard => bound(library, standard()),
        }
    });
    match mpi {
        Ok(mpi) => Ok(Found { mpi, path }),
        Err(reason) => Err(MpiError::Unfit { path, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_own_library_comes_first() {
        assert_eq!(names(Launcher::OpenMpi).next(), Some("libmpi.so.40"));
        assert_eq!(names(Launcher::Hydra).next(), Some("libmpi_abi.so.1"));
        assert_eq!(names(Launcher::Slurm(Wire::Pmi)).last(), Some("libmpi.so.40"));
    }

    #[test]
    fn what_is_no_mpi_is_refused() {
        let refused = |path: &str| {
            let library = open(path).map_err(|reason| (path.to_string(), reason));
            library.map(|library| bind(library, path.into()).err())
        };
        assert!(refused("libno-such-mpi.so.40").is_err());
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        match refused("libm.so.6") {
            Ok(Some(MpiError::Unfit { path, reason })) => {
                assert!(path == "libm.so.6" && reason.contains("no MPI"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
