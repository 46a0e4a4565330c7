//! The models there are: by name and version, loaded or why not. Whoever asks gets the model of
//! this moment; one that is replaced answers what it has begun.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use resnet::engine::exec::Device;
use resnet::measure::predict::How;

use super::Source;
use super::model::{Counts, Loaded, Stamp};
use crate::http::Refusal;

/// All models.
pub(crate) struct Models {
    state: RwLock<BTreeMap<String, Entry>>,
    sources: Vec<Source>,
    how: How,
    device: Arc<dyn Device>,
}

/// A model by its name.
#[derive(Default)]
struct Entry {
    versions: BTreeMap<u64, Version>,
    /// Taken out by its administrator, and not looked for again.
    unloaded: bool,
}

/// A version of it.
struct Version {
    loaded: Option<Arc<Loaded>>,
    /// What was read, or could not be.
    stamp: Option<Stamp>,
    /// Why it is not as its file now says.
    problem: Option<String>,
    counts: Arc<Counts>,
}

/// A version as lists show it.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) ready: bool,
    pub(crate) problem: Option<String>,
    pub(crate) loaded: Option<Arc<Loaded>>,
    pub(crate) counts: Arc<Counts>,
}

/// What loading came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What was loaded: name, version and why, in a sentence.
    pub(crate) loaded: Vec<String>,
    /// What could not be, with the reason.
    pub(crate) failed: Vec<String>,
}

/// How soon a model that is being loaded may be there.
const SOON: Duration = Duration::from_secs(1);

impl Models {
    pub(crate) fn new(sources: Vec<Source>, how: How, device: Arc<dyn Device>) -> Models {
        let entries = sources.iter().map(|source| (source.name.clone(), Entry::default()));
        Models { state: RwLock::new(entries.collect()), sources, how, device }
    }

    /// The name of the model that is meant where none is named.
    pub(crate) fn default_name(&self) -> &str {
        &self.sources[0].name
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<String, Entry>) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// A model; without a version, the newest that is ready.
    pub(crate) fn get(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, Refusal> {
        self.read(|entries| {
            let entry = entries.get(name).ok_or_else(|| {
                let known = entries.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Refusal::unknown(format!("there is no model `{name}`; there is {known}"))
            })?;
            let of_version = |text: &str| {
                let number = text.parse::<u64>().ok();
                number.and_then(|number| entry.versions.get(&number)).ok_or_else(|| {
                    let known: Vec<String> = entry.versions.keys().map(u64::to_string).collect();
                    let known = known.join(", ");
                    Refusal::unknown(format!("`{name}` has no version `{text}`; it has {known}"))
                })
            };
            let found = match version {
                Some(text) => of_version(text)?.loaded.clone(),
                None => entry.versions.values().rev().find_map(|version| version.loaded.clone()),
            };
            found.ok_or_else(|| match entry.unloaded {
                true => Refusal::busy("unloaded", format!("`{name}` is unloaded"), SOON),
                false => Refusal::busy("loading", format!("`{name}` is not loaded yet"), SOON),
            })
        })
    }

    /// Every version of every model.
    pub(crate) fn list(&self) -> Vec<Listed> {
        self.read(|entries| {
            let versions = entries.iter().flat_map(|(name, entry)| {
                entry.versions.iter().map(move |(number, version)| Listed {
                    name: name.clone(),
                    version: *number,
                    ready: version.loaded.is_some(),
                    problem: version.problem.clone(),
                    loaded: version.loaded.clone(),
                    counts: version.counts.clone(),
                })
            });
            versions.collect()
        })
    }

    /// The names, those that are not loaded too.
    pub(crate) fn names(&self) -> Vec<String> {
        self.read(|entries| entries.keys().cloned().collect())
    }

    /// Whether every model that is wanted has a version that answers.
    pub(crate) fn all_ready(&self) -> bool {
        self.read(|entries| {
            entries.values().all(|entry| {
                entry.unloaded || entry.versions.values().any(|version| version.loaded.is_some())
            })
        })
    }

    /// Loads what is new, of one model or all; `again` also what has not changed. What fails leaves
    /// the model that was there.
    pub(crate) fn load(&self, name: Option<&str>, again: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for source in self.sources.iter().filter(|source| name.is_none_or(|n| n == source.name)) {
            let unloaded =
                self.read(|entries| entries.get(&source.name).is_some_and(|e| e.unloaded));
            // Asked for by its name, it comes back.
            if unloaded && name.is_none() {
                continue;
            }
            self.load_source(source, again, &mut outcome);
        }
        outcome
    }

    fn load_source(&self, source: &Source, again: bool, outcome: &mut Outcome) {
        let files = match versions(&source.path) {
            Ok(files) => files,
            Err(problem) => {
                outcome.failed.push(format!("{}: {problem}", source.name));
                self.write(|entries| {
                    let versions = entries.get_mut(&source.name).map(|entry| &mut entry.versions);
                    for version in versions.into_iter().flat_map(BTreeMap::values_mut) {
                        version.problem = Some(problem.clone());
                    }
                });
                return;
            }
        };
        for (number, path) in &files {
            let stamp = Stamp::of(path);
            let (counts, known) = self.read(|entries| {
                let version =
                    entries.get(&source.name).and_then(|entry| entry.versions.get(number));
                let known = version.is_some_and(|version| version.stamp == stamp);
                (version.map(|version| version.counts.clone()).unwrap_or_default(), known)
            });
            if known && !again {
                continue;
            }
            let device = self.device.as_ref();
            let opened =
                Loaded::open(&source.name, *number, path, self.how, device, counts.clone());
            self.write(|entries| {
                let entry = entries.entry(source.name.clone()).or_default();
                entry.unloaded = false;
                let version = entry.versions.entry(*number).or_insert_with(|| Version {
                    loaded: None,
                    stamp: None,
                    problem: None,
                    counts,
                });
                version.stamp = stamp;
                match opened {
                    Ok(loaded) => {
                        version.loaded = Some(Arc::new(loaded));
                        version.problem = None;
                        outcome.loaded.push(format!("{} version {number}", source.name));
                    }
                    Err(error) => {
                        version.problem = Some(error.to_string());
                        outcome.failed.push(format!("{} version {number}: {error}", source.name));
                    }
                }
            });
        }
        // A version whose folder is gone goes too, once another one answers.
        self.write(|entries| {
            let Some(entry) = entries.get_mut(&source.name) else { return };
            let stays = |number: &u64| files.iter().any(|(known, _)| known == number);
            if entry.versions.iter().any(|(number, v)| stays(number) && v.loaded.is_some()) {
                entry.versions.retain(|number, _| stays(number));
            }
        });
    }

    /// Whether a file is there that is not what is loaded, by its size and time.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let files = self.sources.iter().filter_map(|source| versions(&source.path).ok()).flatten();
        files.filter_map(|(_, path)| Stamp::of(&path)).collect()
    }

    /// Takes a model out of use.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn unload(&self, name: &str) -> Result<(), Refusal> {
        self.write(|entries| {
            let entry = entries
                .get_mut(name)
                .ok_or_else(|| Refusal::unknown(format!("there is no model `{name}`")))?;
            entry.unloaded = true;
            for version in entry.versions.values_mut() {
                (version.loaded, version.stamp) = (None, None);
            }
            Ok(())
        })
    }
}

/// The model file itself in a folder of a version.
const FILE: &str = "model.safetensors";

/// The versions at a path, with their files: a file is version 1; a folder holds folders whose
/// names are numbers.
pub(crate) fn versions(path: &Path) -> Result<Vec<(u64, PathBuf)>, String> {
    if path.is_file() {
        return Ok(vec![(1, path.to_owned())]);
    }
    let entries = std::fs::read_dir(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| *number > 0) else { continue };
        if let Some(file) = file_of(&entry.path()) {
            found.push((number, file));
        }
    }
    found.sort_unstable();
    match found.is_empty() {
        true => Err(format!(
            "{} holds no versions; expected folders 1, 2, ... with a {FILE} each",
            path.display()
        )),
        false => Ok(found),
    }
}

/// The model file in a version's folder: the usual one, or the only one.
fn file_of(folder: &Path) -> Option<PathBuf> {
    let usual = folder.join(FILE);
    if usual.is_file() {
        return Some(usual);
    }
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_model = |path: &PathBuf| {
        let known = ["safetensors", "pth", "pt"];
        path.is_file() && path.extension().is_some_and(|e| known.iter().any(|k| e == *k))
    };
    let mut models = files.filter(is_model);
    let only = models.next();
    only.filter(|_| models.next().is_none())
}
