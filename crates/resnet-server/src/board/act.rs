//! Stopping and resuming runs.
//!
//! A run is asked to stop through its directory (`resnet::train::ask_to_stop`), wherever it is. To
//! resume one, a process is started that trains on by itself: it has a process group of its own, so
//! that what ends the board does not end the run.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use resnet::train;

use super::run::{Asked, State};
use super::state::Runs;
use crate::http::Refusal;

/// The command that goes on with the run in a directory.
pub type Resume = Box<dyn Fn(&Path) -> Command + Send + Sync>;

/// What a resumed run prints, in its directory.
const LOG: &str = "resume.log";
/// Bytes of it that are looked at when the process has failed.
const END: u64 = 4096;
/// The exit code of a run that was stopped and saved.
const STOPPED: i32 = 130;

/// A process that goes on with a run.
pub(super) struct Resumed {
    id: String,
    log: PathBuf,
    child: Child,
}

/// Asks a run to save and stop.
pub(super) fn stop(runs: &mut Runs, id: &str) -> Result<(), Refusal> {
    let run = find(runs, id)?;
    if run.state() != State::Running {
        return Err(Refusal::conflict(format!("`{id}` is not running")));
    }
    train::ask_to_stop(&run.root).map_err(|error| Refusal::fault(error.to_string()))?;
    runs.ask(id, Some(Asked::Stop));
    Ok(())
}

/// Starts a process that goes on with a run.
pub(super) fn resume(runs: &mut Runs, id: &str, with: &Resume) -> Result<Resumed, Refusal> {
    let run = find(runs, id)?;
    let refused = match run.state() {
        _ if run.asked == Some(Asked::Resume) => Some("is being resumed"),
        State::Running => Some("is running"),
        State::Finished => Some("is finished; it goes on with a larger budget only"),
        State::Diverged => {
            Some("diverged, and would again at the same step; start it with a lower rate")
        }
        State::Stopped | State::Waiting => None,
    };
    if let Some(why) = refused {
        return Err(Refusal::conflict(format!("`{id}` {why}")));
    }
    let log = run.root.join(LOG);
    let started = start(with(&run.root), &log);
    let child =
        started.map_err(|error| Refusal::fault(format!("`{id}` cannot be resumed: {error}")))?;
    runs.ask(id, Some(Asked::Resume));
    Ok(Resumed { id: id.into(), log, child })
}

fn find<'a>(runs: &'a Runs, id: &str) -> Result<&'a super::run::Run, Refusal> {
    runs.runs.get(id).ok_or_else(|| Refusal::unknown(format!("there is no run `{id}`")))
}

fn start(mut command: Command, log: &Path) -> std::io::Result<Child> {
    let out = File::create(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

/// Forgets processes that have ended, and tells of those that failed.
pub(super) fn reap(children: &mut Vec<Resumed>, runs: &mut Runs) {
    children.retain_mut(|resumed| match resumed.child.try_wait() {
        Ok(None) => true,
        Ok(Some(status)) => {
            ended(resumed, status, runs);
            false
        }
        // Nothing more can be learnt of it.
        Err(_) => false,
    });
}

fn ended(resumed: &Resumed, status: ExitStatus, runs: &mut Runs) {
    let Resumed { id, log, .. } = resumed;
    if status.success() || status.code() == Some(STOPPED) {
        let waiting = runs.runs.get(id).is_some_and(|run| run.asked == Some(Asked::Resume));
        if waiting {
            runs.done(id, "it was resumed, and has ended".into());
        }
        return;
    }
    let why = last_line(log).unwrap_or_else(|| status.to_string());
    runs.fail(id, format!("resumed, it failed: {why} ({LOG} in its directory has all of it)"));
}

/// The last line that a process printed.
fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim_start_matches("error: ").to_owned())
}

/// The runs whose processes go on.
pub(super) fn going_on(children: &mut [Resumed]) -> Vec<String> {
    let on = children.iter_mut().filter_map(|resumed| match resumed.child.try_wait() {
        Ok(None) => Some(resumed.id.clone()),
        _ => None,
    });
    on.collect()
}
