//! The run directory.
//!
//! `config.toml` (every choice), `environment.json` (machine and command), `events.jsonl`,
//! `metrics.csv`, `pictures.png` (those whose predictions are told), `checkpoints/{last,
//! best}.safetensors`, and at the end `model.safetensors` and `report.html`.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resnet_engine::exec::Device;

use super::TrainError;
use super::outside::{self, LOCK};
use crate::base::files::{self, FileError};
use crate::base::machine;
use crate::data;
use crate::device;
use crate::train::event::{self, Event};
use crate::train::recipe::Recipe;
use crate::train::task::GIVEN;

/// The checkpoint that a run goes on from, inside its directory.
pub const LAST: &str = "checkpoints/last.safetensors";
/// The checkpoint with the best top-1 so far.
pub const BEST: &str = "checkpoints/best.safetensors";
/// The model that a finished run leaves.
pub const MODEL: &str = "model.safetensors";
/// The page about the run.
pub const REPORT: &str = "report.html";

/// Everything that happened, one JSON event a line.
pub const EVENTS: &str = "events.jsonl";
/// The evaluations as a table.
pub(super) const METRICS_CSV: &str = "metrics.csv";

/// Small copies, side by side, of the pictures whose predictions are told at evaluations.
pub const PICTURES: &str = "pictures.png";

/// Every choice of the run.
pub const CONFIG: &str = "config.toml";
const ENVIRONMENT: &str = "environment.json";
/// In the environment, the directory that the run's paths are relative to.
const BEGAN_IN: &str = "directory";
/// The folder of checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// What a directory that is free for a run must not hold.
const NAMES: [&str; 9] =
    [CONFIG, EVENTS, METRICS_CSV, PICTURES, MODEL, REPORT, LAST, BEST, ENVIRONMENT];
/// How often the lock is tried again, and how long after.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Largest small file that is read back.
const MOST_BYTES: u64 = 1 << 20;

/// Where a new run goes.
pub(super) enum Place {
    /// This directory, which may be there but must not hold a run.
    At(PathBuf),
    /// The first of `DIR`, `DIR-2`, `DIR-3`, ... that nobody has.
    Free(PathBuf),
}

/// Says what to type to go on with the run in a directory.
pub(super) type ResumeCommand = Box<dyn Fn(&Path) -> String>;

/// A run directory.
pub(super) struct Directory {
    root: PathBuf,
    /// Locked while the run is under way; the lock ends with the process, however it ends.
    lock: Option<File>,
    /// What goes on with the run, where somebody said it.
    pub(super) resume_command: Option<String>,
}

impl Directory {
    fn of(root: &Path) -> Directory {
        Directory { root: root.to_owned(), lock: None, resume_command: None }
    }

    /// Makes the directory of a new run, which is then nobody else's. Files of the same names are
    /// never replaced; where the run is refused, what was made for it is gone.
    pub(super) fn create(
        place: &Place,
        recipe: &Recipe,
        command: &str,
        device: &dyn Device,
    ) -> Result<Directory, TrainError> {
        let environment = environment(command, device);
        match place {
            Place::At(root) => {
                let made = !root.exists();
                if root.is_file() {
                    return Err(TrainError::NotADirectory(root.clone()));
                }
                fs::create_dir_all(root)
                    .map_err(|source| FileError::Write { path: root.clone(), source })?;
                Directory::claim(root, made, recipe, &environment)
            }
            Place::Free(first) => loop {
                let root = files::free_directory(first)?;
                match Directory::claim(&root, true, recipe, &environment) {
                    // Somebody was told to take this very directory, and was faster.
                    Err(
                        TrainError::Taken(..) | TrainError::Occupied(..) | TrainError::InUse(_),
                    ) => {}
                    claimed => return claimed,
                }
            },
        }
    }

    /// Takes a directory that is there; `made` for the run, it goes again where it is refused.
    fn claim(
        root: &Path,
        made: bool,
        recipe: &Recipe,
        environment: &BTreeMap<&str, String>,
    ) -> Result<Directory, TrainError> {
        let mut directory = Directory::of(root);
        let mut own = Vec::new();
        match directory.fill(recipe, environment, &mut own) {
            Ok(()) => Ok(directory),
            Err(error) => {
                directory.give_back(made, &own);
                Err(error)
            }
        }
    }

    /// Makes what a run begins with, and notes in `own` what was not there before.
    fn fill(
        &mut self,
        recipe: &Recipe,
        environment: &BTreeMap<&str, String>,
        own: &mut Vec<&'static str>,
    ) -> Result<(), TrainError> {
        // Before a lock: what is not ours gets no file of ours.
        self.check_free(&NAMES)?;
        let locked_before = self.path(LOCK).exists();
        self.lock()?;
        if self.lock.is_some() && !locked_before {
            own.push(LOCK);
        }
        outside::forget_stop(&self.root)?;
        self.add(CONFIG, &recipe.to_toml(), own)?;
        self.check_free(&NAMES[1..])?;
        if !self.path(CHECKPOINTS).exists() {
            own.push(CHECKPOINTS);
        }
        self.make_checkpoints()?;
        let json = serde_json::to_string_pretty(environment).expect("texts become JSON");
        self.add(ENVIRONMENT, &(json + "\n"), own)
    }

    /// Refuses a directory that holds one of these.
    fn check_free(&self, names: &[&'static str]) -> Result<(), TrainError> {
        match names.iter().find(|name| self.path(name).exists()) {
            Some(name) => Err(self.refused(name)),
            None => Ok(()),
        }
    }

    /// Why a directory that holds this file is not free; only a run can be gone on with.
    fn refused(&self, name: &'static str) -> TrainError {
        match name {
            CONFIG => TrainError::Taken(self.root.clone(), CONFIG),
            other => TrainError::Occupied(self.root.clone(), other),
        }
    }

    /// Writes a file that must not be there yet.
    fn add(
        &self,
        name: &'static str,
        text: &str,
        own: &mut Vec<&'static str>,
    ) -> Result<(), TrainError> {
        match files::create_whole(&self.path(name), text.as_bytes()) {
            Err(FileError::Write { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                return Err(self.refused(name));
            }
            created => created?,
        }
        own.push(name);
        Ok(())
    }

    /// Removes what a claim made. Directories that are not empty stay; nothing else can be done
    /// where removing fails.
    fn give_back(self, made: bool, own: &[&'static str]) {
        for name in own.iter().rev() {
            let path = self.path(name);
            let _ = match *name {
                CHECKPOINTS => fs::remove_dir(path),
                _ => fs::remove_file(path),
            };
        }
        if made {
            let _ = fs::remove_dir(&self.root);
        }
    }

    /// Opens the directory of a run that began before.
    pub(super) fn open(root: &Path) -> Result<(Directory, Recipe), TrainError> {
        let mut directory = Directory::of(root);
        if !files::is_there(&directory.path(CONFIG))? {
            return Err(TrainError::NoRun(root.to_owned(), CONFIG));
        }
        directory.lock()?;
        outside::forget_stop(root)?;
        let recipe = recipe_of_run(root)?;
        // Killed at its very beginning, the run has none yet.
        directory.make_checkpoints()?;
        Ok((directory, recipe))
    }

    fn make_checkpoints(&self) -> Result<(), FileError> {
        let path = self.path(CHECKPOINTS);
        fs::create_dir_all(&path).map_err(|source| FileError::Write { path, source })
    }

    /// Where the run began, if that is known and not here.
    fn began_elsewhere(&self) -> Option<PathBuf> {
        let began = PathBuf::from(self.environment().remove(BEGAN_IN)?);
        let here = std::env::current_dir().ok()?;
        (began != here).then_some(began)
    }

    /// Makes paths that were named just now, from here, name the same for whoever reads the
    /// recipe.
    pub(super) fn place_paths(&self, recipe: &mut Recipe) {
        if self.began_elsewhere().is_some()
            && let Ok(here) = std::env::current_dir()
        {
            place_paths(recipe, &here);
        }
    }

    /// Writes the recipe that the run goes on by, where it is another than before.
    pub(super) fn keep_recipe(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let path = self.path(CONFIG);
        let text = recipe.to_toml();
        let bytes = files::read_bounded(&path, MOST_BYTES)?;
        if bytes != text.as_bytes() {
            self.write(CONFIG, &text)?;
        }
        Ok(())
    }

    /// Keeps other processes out.
    fn lock(&mut self) -> Result<(), TrainError> {
        let path = self.path(LOCK);
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let file = options.map_err(|source| FileError::Write { path, source })?;
        let mut locked = file.try_lock();
        // Who only wants to know whether a run is under way has it for a moment.
        for _ in 0..LOCK_TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            locked = file.try_lock();
        }
        match locked {
            Err(TryLockError::WouldBlock) => Err(TrainError::InUse(self.root.clone())),
            // Some file systems have no locks; the run can do without.
            Err(TryLockError::Error(_)) => Ok(()),
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
        }
    }

    /// Path of a file of the run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a text file of the run, whole or not at all.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), FileError> {
        files::write_atomic(&self.path(name), |to| to.write_all(text.as_bytes()))
    }

    /// What `environment.json` says; empty if it cannot be read.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let bytes = files::read_bounded(&self.path(ENVIRONMENT), MOST_BYTES);
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

/// The recipe of the run in a directory. Paths in it that are relative are so to where the run
/// began; where nothing is there any more, to the present directory.
///
/// # Errors
/// The directory holds no run, or one whose configuration cannot be read.
pub fn recipe_of_run(root: &Path) -> Result<Recipe, TrainError> {
    let config = root.join(CONFIG);
    if !files::is_there(&config)? {
        return Err(TrainError::NoRun(root.to_owned(), CONFIG));
    }
    let mut recipe = Recipe::of_run(&config)?;
    if let Some(began) = Directory::of(root).began_elsewhere() {
        place_paths(&mut recipe, &began);
    }
    Ok(recipe)
}

/// What the run in a directory began to compute on, as it was told; empty where nothing says so.
pub(super) fn device_of_run(root: &Path) -> String {
    Directory::of(root).environment().remove("device").unwrap_or_default()
}

/// Whether the run in a directory is known to be unfinished: begun or gone on with, and neither at
/// the end of its budget nor out of patience. Of a log that cannot be read nothing is known.
pub fn is_unfinished(root: &Path) -> bool {
    let events = event::read(&root.join(EVENTS)).unwrap_or_default();
    match events.last() {
        None => false,
        Some(Event::RunEnded(ended)) => ended.stopped.is_some(),
        Some(_) => true,
    }
}

/// Makes relative paths of a recipe absolute, if something is there.
fn place_paths(recipe: &mut Recipe, from: &Path) {
    let place = |path: &str| {
        let there = from.join(path);
        // A pattern such as `train-{0000..0146}.tar` is nothing that is there.
        let around = || there.parent().is_some_and(Path::exists);
        let known = there.exists() || data::is_pattern(&there) && around();
        let there = there.to_str().filter(|_| !path.is_empty() && known);
        there.map(str::to_owned)
    };
    let (kind, path) = path_in(&recipe.data.source);
    if let Some(there) = path.and_then(place) {
        recipe.data.source = format!("{kind}{there}");
    }
    if let Some(there) = place(&recipe.model.start) {
        recipe.model.start = there;
    }
}

/// What of a source of data is a path, if any, and what stands before it.
fn path_in(source: &str) -> (&str, Option<&str>) {
    match data::split_source(source) {
        (Some(format), _) if !format.takes_folder => (source, None),
        (Some(_), path) if !path.is_empty() => (&source[..source.len() - path.len()], Some(path)),
        _ if source == GIVEN => (source, None),
        _ => ("", Some(source)),
    }
}

/// Where a run happens.
fn environment(command: &str, device: &dyn Device) -> BTreeMap<&'static str, String> {
    let cores = resnet_engine::exec::threads(0);
    BTreeMap::from([
        ("command", command.to_string()),
        ("cores", cores.to_string()),
        ("cpu", machine::cpu().unwrap_or_else(|| "unknown".into())),
        (BEGAN_IN, std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned()),
        ("device", device::label(device)),
        ("isa", device.about()),
        ("threads", device.threads().to_string()),
        ("resnet", env!("CARGO_PKG_VERSION").to_string()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
    ])
}

#[cfg(test)]
mod tests;
