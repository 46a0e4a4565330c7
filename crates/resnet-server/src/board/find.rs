//! Which directories hold runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use resnet::base::text;
use resnet::train::{CONFIG, EVENTS};

/// Folders below one that is given in which runs are looked for.
const DEPTH: usize = 4;
/// Most entries of folders that are looked at in one go: a disk's root is no folder of runs.
const ENTRIES: usize = 20_000;
/// Most runs of a board: each takes up to a quarter of a MiB.
pub(super) const MOST: usize = 256;

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Directories of runs with the names to call them by.
    pub(super) runs: Vec<(String, PathBuf)>,
    /// Why there may be more, in a sentence.
    pub(super) cut: Option<String>,
    /// Where the runs are, links followed.
    places: BTreeSet<PathBuf>,
}

/// The runs in folders, or that the folders are. Hidden folders and what lies in a run's directory
/// are not looked at.
pub(super) fn runs(roots: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut entries = 0;
    for root in roots {
        let own = name(root);
        if is_run(root) {
            add(&mut found, own, root.clone());
            continue;
        }
        let mut folders = vec![(root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let all = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut inside = Vec::new();
            for entry in all.take(ENTRIES.saturating_sub(entries)) {
                entries += 1;
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                // Links are followed; depth ends a circle of them.
                let folder = entry
                    .file_type()
                    .is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && entry.path().is_dir());
                if folder && !hidden {
                    inside.push(entry.path());
                }
            }
            inside.sort();
            for path in inside {
                let label = format!("{prefix}{}", name(&path));
                if is_run(&path) {
                    let label = match roots.len() {
                        1 => label,
                        _ => format!("{own}/{label}"),
                    };
                    add(&mut found, label, path);
                } else if depth + 1 < DEPTH {
                    folders.push((path, label + "/", depth + 1));
                }
            }
        }
    }
    if entries >= ENTRIES {
        let which = roots.iter().map(|root| text::path(root).to_string()).collect::<Vec<_>>();
        found.cut = Some(format!(
            "only the first {ENTRIES} files and folders of {} were looked at; name a folder that \
             holds runs alone",
            which.join(", ")
        ));
    }
    found
}

/// Whether a directory is one of a run: it has a log, or is about to have one.
fn is_run(path: &Path) -> bool {
    let has = |name: &str| path.join(name).is_file();
    has(EVENTS) || has(CONFIG) && has("environment.json")
}

/// What to call a directory.
fn name(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A link is called by its own name.
    let named = path.file_name().filter(|name| *name != "." && *name != "..");
    text::name(named.or(whole.file_name()).unwrap_or(whole.as_os_str())).to_string()
}

/// Adds a run that is not there yet, under a name that nobody has.
fn add(found: &mut Found, name: String, path: PathBuf) {
    // Links lead to a run a second time.
    let place = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    if found.places.contains(&place) {
        return;
    }
    if found.runs.len() >= MOST {
        found.cut = Some(format!("only {MOST} runs are shown; name folders with fewer"));
        return;
    }
    let taken = |name: &String| found.runs.iter().any(|(known, _)| known == name);
    let names = (2..).map(|number| format!("{name}-{number}"));
    let free = std::iter::once(name.clone()).chain(names).find(|name| !taken(name));
    found.runs.push((free.unwrap_or(name), path));
    found.places.insert(place);
}
