//! What a folder holds, for errors.

use std::path::Path;

use crate::base::text;

/// What a folder holds, for an error: its first few entries.
pub(super) fn describe(folder: &Path) -> String {
    let Ok(entries) = folder.read_dir() else {
        return "nothing readable".to_string();
    };
    let mut names: Vec<String> = entries
        .take(1000) // enough for a message, whatever the folder
        .flatten()
        .map(|entry| text::name(&entry.file_name()).to_string())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    match names.len() {
        0 => "an empty folder".to_string(),
        1..=4 => names.join(", "),
        _ => format!("{}, ...", names[..4].join(", ")),
    }
}
