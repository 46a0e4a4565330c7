//! Where weights may be: this program's cache, PyTorch's, a mirror.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use resnet::base::text;

use crate::exit::Usage;
use crate::term::quoted;

/// The variable that names a mirror.
pub(super) const MIRROR: &str = "RESNET_WEIGHTS";

/// What [`MIRROR`] says.
pub(super) enum Mirror {
    /// Nothing.
    None,
    /// Files are under this address.
    Address(String),
    /// Files are in this folder.
    Folder(PathBuf),
}

impl Mirror {
    pub(super) fn of_environment() -> Result<Mirror, Usage> {
        let Some(value) = set(MIRROR) else { return Ok(Mirror::None) };
        let text = value.to_string_lossy();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Mirror::Address(text.into_owned()));
        }
        if value.is_dir() {
            return Ok(Mirror::Folder(value));
        }
        Err(Usage(format!("{MIRROR} is `{text}`, expected a folder or an address, https://...")))
    }
}

/// A variable that is there and not empty.
fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of all programs' caches.
fn caches() -> Option<PathBuf> {
    // A relative path there is to be ignored, says the XDG specification.
    let given = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    given.or_else(|| {
        Some(env::home_dir().filter(|home| !home.as_os_str().is_empty())?.join(".cache"))
    })
}

/// This program's cache.
pub(super) fn cache() -> Result<PathBuf, Usage> {
    let none = || Usage("there is no place for weights: set XDG_CACHE_HOME to a folder".into());
    Ok(caches().ok_or_else(none)?.join("resnet"))
}

/// PyTorch's.
pub(super) fn torch() -> Option<PathBuf> {
    let home = set("TORCH_HOME").or_else(|| Some(caches()?.join("torch")))?;
    Some(home.join("hub").join("checkpoints"))
}

/// What was done in a folder of the cache, which may be of no use.
pub(super) fn usable<T>(folder: &Path, result: io::Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| {
        anyhow::anyhow!(
            "cannot write in {}: {error}; set XDG_CACHE_HOME to another folder",
            folder.display()
        )
    })
}

/// The command that gets a file where it is looked for.
pub(super) fn curl(url: &str, to: &Path) -> String {
    format!("curl -fL --create-dirs -o {} {}", quoted(text::path(to)), quoted(url))
}
