//! Where weights may be: this program's cache, PyTorch's, a mirror.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use resnet::base::files::caches;
use resnet::base::text;

use crate::term::quoted;

/// The variable that names a mirror.
pub(crate) const MIRROR: &str = "RESNET_WEIGHTS";

/// What [`MIRROR`] says.
pub(crate) enum Mirror {
    /// Nothing.
    None,
    /// Files are under this address.
    Address(String),
    /// Files are in this folder.
    Folder(PathBuf),
}

impl Mirror {
    pub(crate) fn of_environment() -> Result<Mirror, String> {
        let Some(value) = set(MIRROR) else { return Ok(Mirror::None) };
        let text = value.to_string_lossy();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Mirror::Address(text.into_owned()));
        }
        if value.is_dir() {
            return Ok(Mirror::Folder(value));
        }
        Err(format!("{MIRROR} is `{text}`, expected a folder or an address, https://..."))
    }
}

/// A variable that is there and not empty.
fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// This program's cache.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let caches = caches().ok_or("there is no place for weights: set XDG_CACHE_HOME to a folder")?;
    Ok(caches.join("resnet"))
}

/// The folder in a cache that holds the models made of published weights.
pub(crate) fn models(cache: &Path) -> PathBuf {
    cache.join("models")
}

/// Whether a file is one of these models, which can be made again.
pub(crate) fn is_made(file: &Path) -> bool {
    cache().is_ok_and(|cache| file.parent() == Some(&models(&cache)))
}

/// PyTorch's.
pub(crate) fn torch() -> Option<PathBuf> {
    let home = set("TORCH_HOME").or_else(|| Some(caches()?.join("torch")))?;
    Some(home.join("hub").join("checkpoints"))
}

/// What was done in a folder of the cache, which may be of no use.
pub(crate) fn usable<T>(folder: &Path, result: io::Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| {
        anyhow::anyhow!(
            "cannot write in {}: {error}; set XDG_CACHE_HOME to another folder",
            folder.display()
        )
    })
}

/// The command that gets a file where it is looked for.
pub(crate) fn curl(url: &str, to: &Path) -> String {
    format!("curl -fL --create-dirs -o {} {}", quoted(text::path(to)), quoted(url))
}
