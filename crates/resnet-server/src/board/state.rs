//! All runs of a board, and how they are kept up to date.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::find::{self, Found};
use super::run::{Asked, Notice, Run, State, Summary};

/// Bytes of a log that are read before others have their turn.
const PART: u64 = 1 << 18;

/// All runs.
#[derive(Default)]
pub(super) struct Runs {
    roots: Vec<PathBuf>,
    pub(super) runs: BTreeMap<String, Run>,
    /// Why there may be more.
    cut: Option<String>,
    /// The number of the last change of anything.
    version: u64,
    /// Notices so far.
    notices: u64,
}

/// What changed since some version.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    /// The version that this leads to.
    pub(super) version: u64,
    /// Runs that are new or changed.
    pub(super) runs: Vec<Summary>,
    /// All runs there are.
    pub(super) all: Vec<String>,
    /// Why there may be more.
    pub(super) cut: Option<String>,
    /// Whether runs can be stopped and resumed from here.
    pub(super) actions: bool,
}

impl Runs {
    pub(super) fn new(roots: Vec<PathBuf>) -> Runs {
        Runs { roots, ..Runs::default() }
    }

    /// Adds a folder to look in.
    pub(super) fn watch(&mut self, root: PathBuf) {
        if !self.roots.contains(&root) {
            self.roots.push(root);
        }
    }

    /// The number of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Looks for runs that are new or gone.
    pub(super) fn discover(&mut self) {
        let Found { runs, cut, .. } = find::runs(&self.roots);
        let before = self.runs.len();
        // A name may pass to another directory.
        self.runs.retain(|id, run| runs.iter().any(|(name, path)| name == id && *path == run.root));
        let mut changed = self.runs.len() != before || cut != self.cut;
        for (id, path) in runs {
            let next = self.version + 1;
            self.runs.entry(id).or_insert_with(|| {
                changed = true;
                Run::new(path, next)
            });
        }
        self.cut = cut;
        self.version += u64::from(changed);
    }

    /// Reads a part of what is new in every log, and looks at what each run is doing. Returns
    /// whether there may be more to read.
    pub(super) fn follow(&mut self) -> bool {
        let next = self.version + 1;
        let mut more = false;
        for run in self.runs.values_mut() {
            more |= run.read(PART, next);
            run.look(next);
            if run.asked == Some(Asked::Resume) && run.state() == State::Running {
                run.asked = None;
                tell(run, &mut self.notices, next, false, "it is resumed".into());
            }
            if run.asked == Some(Asked::Stop) && run.state() != State::Running {
                run.asked = None;
                let step = run.place().step;
                let text = match run.state() {
                    State::Stopped => format!("stopped after step {step}, its checkpoint is saved"),
                    _ => format!("it had ended, after step {step}, before it could be stopped"),
                };
                tell(run, &mut self.notices, next, false, text);
            }
        }
        if self.runs.values().any(|run| run.version == next) {
            self.version = next;
        }
        more
    }

    /// Notes what somebody asked of a run.
    pub(super) fn ask(&mut self, id: &str, asked: Option<Asked>) {
        self.version += 1;
        if let Some(run) = self.runs.get_mut(id) {
            run.asked = asked;
            run.version = self.version;
        }
    }

    /// Tells that what was asked of a run is done.
    pub(super) fn done(&mut self, id: &str, text: String) {
        self.settle(id, text, false);
    }

    /// Tells that what was asked of a run failed.
    pub(super) fn fail(&mut self, id: &str, text: String) {
        self.settle(id, text, true);
    }

    fn settle(&mut self, id: &str, text: String, failed: bool) {
        self.version += 1;
        let version = self.version;
        if let Some(run) = self.runs.get_mut(id) {
            run.asked = None;
            tell(run, &mut self.notices, version, failed, text);
        }
    }

    /// What changed since a version.
    pub(super) fn changes(&self, since: u64, actions: bool) -> Changes {
        let changed = self.runs.iter().filter(|(_, run)| since == 0 || run.version > since);
        Changes {
            version: self.version,
            runs: changed.map(|(id, run)| run.summary(id)).collect(),
            all: self.runs.keys().cloned().collect(),
            cut: self.cut.clone(),
            actions,
        }
    }
}

fn tell(run: &mut Run, notices: &mut u64, version: u64, failed: bool, text: String) {
    *notices += 1;
    run.notice = Some(Notice { number: *notices, text, failed });
    run.version = version;
}
