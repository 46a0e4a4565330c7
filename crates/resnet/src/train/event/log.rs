//! `events.jsonl`: one event a line, each written with one call, so that a killed process can cut
//! short only the last.

use super::Event;
use crate::base::files::FileError;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line accepted, in bytes: a look into a network of tens of thousands of layers.
pub(super) const LONGEST: u64 = 1 << 24;

/// Largest file accepted, in bytes: millions of events.
const LARGEST: u64 = 1 << 30;

/// Why an event log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line that is not the last holds no event.
    #[error(
        "{}, line {line}: expected an event, found {found}; restore the file or start a new run",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, the first being 1.
        line: usize,
        /// What is wrong with it.
        found: String,
    },
}

/// The log of a run, open for appending.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
}

impl EventLog {
    /// Starts an empty log, replacing an old one.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn create(path: &Path) -> Result<EventLog, FileError> {
        let file = writing(path, File::create(path))?;
        Ok(EventLog { path: path.to_owned(), file })
    }

    /// Opens the log of a run that goes on from a checkpoint of `step` steps, after cutting off
    /// what happened later: the first event of a later step, an end of the run, a line cut short,
    /// and all that follows; and where the checkpoint `owes` the evaluation of its step, what was
    /// told of an evaluation since. Returns the events kept. If the run was killed just after that
    /// checkpoint was made, its `saved` event may not be among them.
    ///
    /// # Errors
    /// [`EventError`]; a damaged line that is followed by events of this step or before is not cut
    /// off.
    pub(crate) fn resume(
        path: &Path,
        step: u64,
        owes: bool,
    ) -> Result<(EventLog, Vec<Event>), EventError> {
        let mut kept = Vec::new();
        let mut ends = Vec::new();
        let mut cut: Option<(usize, Option<String>)> = None;
        for (number, line) in lines(path)?.into_iter().enumerate() {
            match (&cut, parse(&line)) {
                (None, Ok(event)) if line.complete && event.step().is_some_and(|s| s <= step) => {
                    ends.push(ends.last().copied().unwrap_or(0) + line.bytes);
                    kept.push(event);
                }
                (None, Err(found)) => cut = Some((number + 1, Some(found))),
                (None, Ok(_)) => cut = Some((number + 1, None)),
                (Some((bad, Some(found))), Ok(event))
                    if event.step().is_some_and(|s| s <= step) =>
                {
                    return Err(EventError::Line {
                        path: path.to_owned(),
                        line: *bad,
                        found: found.clone(),
                    });
                }
                _ => {}
            }
        }
        if owes {
            let saved =
                |event: &Event| matches!(event, Event::Saved { step: of, .. } if *of == step);
            let evaluated = |event: &Event| matches!(event, Event::Evaluated(e) if e.step == step);
            let after_save = kept.iter().rposition(saved).map(|at| at + 1);
            let length = after_save.or_else(|| kept.iter().position(evaluated));
            kept.truncate(length.unwrap_or(kept.len()));
        }
        let end = kept.len().checked_sub(1).map_or(0, |last| ends[last]);
        let file = writing(path, File::options().append(true).open(path))?;
        writing(path, file.set_len(end))?;
        Ok((EventLog { path: path.to_owned(), file }, kept))
    }

    /// Adds an event.
    ///
    /// # Errors
    /// [`FileError::Write`], such as on a full disk.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let line = serde_json::to_string(event).map_err(io::Error::from);
        let written = line.and_then(|line| self.file.write_all(format!("{line}\n").as_bytes()));
        writing(&self.path, written)
    }

    /// Waits until all events are on disk; to be done before a checkpoint of the same step is made.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        writing(&self.path, self.file.sync_data())
    }
}

/// All events of a log. A last line that a killed process cut short is left out.
///
/// # Errors
/// [`EventError`] names the line that is wrong.
pub fn read(path: &Path) -> Result<Vec<Event>, EventError> {
    let lines = lines(path)?;
    let mut events = Vec::with_capacity(lines.len());
    for (number, line) in lines.iter().enumerate() {
        match parse(line) {
            Ok(event) => events.push(event),
            Err(_) if !line.complete && number + 1 == lines.len() => {}
            Err(found) => {
                return Err(EventError::Line { path: path.to_owned(), line: number + 1, found });
            }
        }
    }
    Ok(events)
}

pub(super) fn writing<T>(path: &Path, result: io::Result<T>) -> Result<T, FileError> {
    result.map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// A line of a text file.
struct Line {
    /// Without its line break.
    text: Vec<u8>,
    /// With its line break.
    bytes: u64,
    /// Whether it has one.
    complete: bool,
}

/// All lines of a file, each cut off at [`LONGEST`].
fn lines(path: &Path) -> Result<Vec<Line>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > LARGEST {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: LARGEST });
    }
    let mut from = BufReader::new(file);
    let mut lines = Vec::new();
    loop {
        let mut text = Vec::new();
        let part = from.by_ref().take(LONGEST);
        let bytes = { part }.read_until(b'\n', &mut text).map_err(failed)? as u64;
        if bytes == 0 {
            return Ok(lines);
        }
        let complete = text.pop_if(|last| *last == b'\n').is_some();
        lines.push(Line { text, bytes, complete });
    }
}

fn parse(line: &Line) -> Result<Event, String> {
    serde_json::from_slice(&line.text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::TestDir;
    use crate::train::event::tests::{ended, evaluated, started, step};
    use std::fs;

    fn saved(step: u64) -> Event {
        Event::Saved { path: "checkpoints/last.safetensors".into(), step }
    }

    fn write(log: &mut EventLog, events: &[Event]) {
        for event in events {
            log.write(event).unwrap();
        }
    }

    /// A run with a checkpoint at step 10, then more.
    fn run() -> Vec<Event> {
        let late = Event::Warned { message: "late".into(), step: 15 };
        vec![
            started(),
            step(5),
            step(10),
            evaluated(10),
            saved(10),
            late,
            step(15),
            step(20),
            evaluated(20),
            saved(20),
            ended(20),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = TestDir::new("events");
        let path = dir.0.join("events.jsonl");
        fs::write(&path, "of an older run").unwrap();
        let mut log = EventLog::create(&path).unwrap();
        write(&mut log, &run());
        log.sync().unwrap();
        assert_eq!(read(&path).unwrap(), run());
    }

    #[test]
    fn a_log_killed_at_any_byte_and_resumed_is_the_whole_log() {
        let dir = TestDir::new("events-killed");
        let path = dir.0.join("events.jsonl");
        write(&mut EventLog::create(&path).unwrap(), &run());
        let whole = fs::read(&path).unwrap();
        let lines: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').collect();
        // The checkpoint of step 10 exists once `evaluated` has been written.
        for killed in lines[3] + 1..=whole.len() {
            fs::write(&path, &whole[..killed]).unwrap();
            assert!(read(&path).is_ok(), "killed at {killed}");
            let (mut log, kept) = EventLog::resume(&path, 10, false).unwrap();
            let told = kept.contains(&saved(10));
            assert_eq!(kept, run()[..if told { 5 } else { 4 }], "killed at {killed}");
            write(&mut log, &run()[kept.len()..]);
            assert_eq!(fs::read(&path).unwrap(), whole, "killed at {killed}");
        }
    }

    #[test]
    fn the_end_of_an_interrupted_run_is_cut_off() {
        let dir = TestDir::new("events-ended");
        let path = dir.0.join("events.jsonl");
        write(&mut EventLog::create(&path).unwrap(), &[started(), step(10), saved(10), ended(10)]);
        let (_, kept) = EventLog::resume(&path, 10, false).unwrap();
        assert_eq!(kept, [started(), step(10), saved(10)]);
        assert_eq!(read(&path).unwrap(), kept);
    }

    #[test]
    fn an_evaluation_that_is_still_owed_is_not_told_twice() {
        let dir = TestDir::new("events-owed");
        let path = dir.0.join("events.jsonl");
        let warned = Event::Warned { message: "a picture is damaged".into(), step: 10 };
        let told = [started(), step(10), saved(10), warned, evaluated(10)];
        write(&mut EventLog::create(&path).unwrap(), &told);
        assert_eq!(EventLog::resume(&path, 10, false).unwrap().1, told);
        assert_eq!(EventLog::resume(&path, 10, true).unwrap().1, told[..3]);
        assert_eq!(read(&path).unwrap(), told[..3]);
        // Killed between checkpoint and event, nothing tells where the evaluation began.
        write(&mut EventLog::create(&path).unwrap(), &[started(), step(10), evaluated(10)]);
        assert_eq!(EventLog::resume(&path, 10, true).unwrap().1, told[..2]);
    }

    #[test]
    fn damage_is_named_or_cut_off() {
        let dir = TestDir::new("events-damage");
        let path = dir.0.join("events.jsonl");
        let line = |event: &Event| serde_json::to_string(event).unwrap() + "\n";
        let (first, second) = (line(&step(1)), line(&step(2)));

        fs::write(&path, format!("{first}garbage\n{second}")).unwrap();
        for error in [read(&path).unwrap_err(), EventLog::resume(&path, 2, false).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("events.jsonl, line 2"), "{error}");
        }
        let (_, kept) = EventLog::resume(&path, 1, false).unwrap();
        assert_eq!(kept, [step(1)]);

        fs::write(&path, [first.as_bytes(), &[0; 100]].concat()).unwrap();
        assert_eq!(read(&path).unwrap(), [step(1)]);
        assert_eq!(EventLog::resume(&path, 2, false).unwrap().1, [step(1)]);

        fs::write(&path, "{\"event\":\"danced\"}\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("danced"));
        fs::write(&path, vec![b'['; 2 * LONGEST as usize]).unwrap();
        assert!(read(&path).is_err());
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), []);
        assert!(read(&dir.0.join("none")).unwrap_err().to_string().contains("none"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let mut log = EventLog::create(Path::new("/dev/full")).unwrap();
        let error = log.write(&step(1)).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("free some space"), "{error}");
    }
}
