//! The run directory.
//!
//! `config.toml` (every choice), `environment.json` (machine and command), `events.jsonl`,
//! `metrics.csv`, `checkpoints/{last,best}.safetensors`, and at the end `model.safetensors` and
//! `report.html`.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use resnet_engine::exec::Device;

use super::TrainError;
use crate::base::files::{self, FileError};
use crate::train::recipe::Recipe;

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

/// Every choice of the run.
pub const CONFIG: &str = "config.toml";
const ENVIRONMENT: &str = "environment.json";
/// Largest small file that is read back.
const MOST_BYTES: u64 = 1 << 20;

/// A run directory.
pub(super) struct Directory {
    root: PathBuf,
    /// `config.toml`, locked while the run is under way; the lock ends with the process, however it
    /// ends.
    _lock: Option<File>,
    /// What goes on with the run, where somebody said it.
    pub(super) resume_command: Option<String>,
}

impl Directory {
    fn of(root: &Path) -> Directory {
        Directory { root: root.to_owned(), _lock: None, resume_command: None }
    }

    /// Makes the directory of a new run. Files of the same names are never replaced.
    pub(super) fn create(
        root: &Path,
        recipe: &Recipe,
        command: &str,
        device: &dyn Device,
    ) -> Result<Directory, TrainError> {
        let mut directory = Directory::of(root);
        for name in [CONFIG, EVENTS, METRICS_CSV, MODEL, REPORT, LAST, BEST] {
            if directory.path(name).exists() {
                return Err(TrainError::Taken(root.to_owned(), name));
            }
        }
        let checkpoints = directory.path("checkpoints");
        let failed = |source: io::Error| FileError::Write { path: checkpoints.clone(), source };
        fs::create_dir_all(&checkpoints).map_err(failed)?;
        let environment = serde_json::to_string_pretty(&environment(command, device))
            .expect("texts always become JSON");
        directory.write(ENVIRONMENT, &(environment + "\n"))?;
        directory.write(CONFIG, &recipe.to_toml())?;
        directory.lock()?;
        Ok(directory)
    }

    /// Opens the directory of a run that began before.
    pub(super) fn open(root: &Path) -> Result<(Directory, Recipe), TrainError> {
        let mut directory = Directory::of(root);
        if !directory.path(CONFIG).is_file() {
            return Err(TrainError::NoRun(root.to_owned(), CONFIG));
        }
        directory.lock()?;
        let recipe = Recipe::of_run(&directory.path(CONFIG))?;
        Ok((directory, recipe))
    }

    /// Keeps other processes out.
    fn lock(&mut self) -> Result<(), TrainError> {
        let path = self.path(CONFIG);
        let file = File::open(&path).map_err(|source| FileError::Read { path, source })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainError::InUse(self.root.clone())),
            // Some file systems have no locks; the run can do without.
            Err(TryLockError::Error(_)) => Ok(()),
            Ok(()) => {
                self._lock = Some(file);
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

/// Where a run happens.
fn environment(command: &str, device: &dyn Device) -> BTreeMap<&'static str, String> {
    let cores = resnet_engine::exec::threads(0);
    BTreeMap::from([
        ("command", command.to_string()),
        ("cores", cores.to_string()),
        ("cpu", cpu_model()),
        ("isa", device.about()),
        ("threads", device.threads().to_string()),
        ("resnet", env!("CARGO_PKG_VERSION").to_string()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
    ])
}

/// The processor's name where the system tells it.
fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1))
        .map_or_else(|| "unknown".into(), |name| name.trim().to_string())
}
