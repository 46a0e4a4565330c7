//! Reads a log while it grows: only what is new, in little memory, and without parsing what nobody
//! asks for.
//!
//! A run that goes on cuts its log back first, so what was read may no longer stand there. That is
//! seen by the length, and by the bytes before the place that reading had come to: they hold times,
//! which no second part of a run has again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::log::{EventError, LONGEST};
use super::{Event, Step};
use crate::base::files::FileError;

/// Bytes before the place that must still stand there.
const TAIL: u64 = 1024;
/// Bytes read at once.
const BUFFER: usize = 1 << 18;
/// How lines begin, and those of steps, as this program writes them.
const EVENT: &[u8] = b"{\"event\":";
const STEP: &[u8] = b"{\"event\":\"step\",";

/// A whole line of a log.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its text, without the line break.
    pub text: &'a [u8],
}

/// What can be told of a line without reading all of it into memory.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Head {
    /// The name of its event, such as `step`.
    pub event: String,
    /// Steps done when it happened; none at the beginning and the end of a run.
    #[serde(default)]
    pub step: Option<u64>,
}

impl Entry<'_> {
    /// The event, if the line is one of a step. Most are, so that is seen without parsing others.
    pub fn step(&self) -> Option<Step> {
        let written_here = self.text.starts_with(EVENT);
        let is_step = match written_here {
            true => self.text.starts_with(STEP),
            false => self.head().is_some_and(|head| head.event == "step"),
        };
        serde_json::from_slice(is_step.then_some(self.text)?).ok()
    }

    /// The event's name and step; none if the line is damaged.
    pub fn head(&self) -> Option<Head> {
        serde_json::from_slice(self.text).ok()
    }

    /// The event; none if the line is damaged, or of a kind that is not known here.
    pub fn event(&self) -> Option<Event> {
        serde_json::from_slice(self.text).ok()
    }
}

/// How far a log was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// To its end, but for a line that is being written.
    End,
    /// Not to its end: there is more than was asked for.
    More,
    /// Nowhere: what was read no longer stands there. Forget it; reading begins again.
    CutBack,
}

/// A reader of a log that others write.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Bytes of the whole lines that were read.
    offset: u64,
    /// The last of them.
    tail: Vec<u8>,
    /// How many lines they are.
    lines: usize,
    /// Length and time of the file when it had been read to its end.
    seen: Option<(u64, Option<SystemTime>)>,
    buffer: Vec<u8>,
}

impl Follower {
    /// A reader that stands at the beginning of a log, which may not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Follower {
        Follower {
            path: path.into(),
            offset: 0,
            tail: Vec::new(),
            lines: 0,
            seen: None,
            buffer: Vec::new(),
        }
    }

    /// The same that stands where a line begins, as [`Entry::offset`] told it.
    pub fn begin_at(path: impl Into<PathBuf>, offset: u64) -> Follower {
        Follower { offset, ..Follower::new(path) }
    }

    /// The log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads lines that came since, until there are none or about `most` bytes are read. A log that
    /// is not there is an empty one.
    ///
    /// # Errors
    /// The file cannot be read, or has a line that is longer than any event.
    pub fn read(
        &mut self,
        most: u64,
        on: &mut dyn FnMut(Entry<'_>),
    ) -> Result<Followed, EventError> {
        let read = self.try_read(most, on);
        if matches!(read, Ok(Followed::CutBack)) {
            *self = Follower::new(std::mem::take(&mut self.path));
        }
        // The buffer is large for who follows many logs, most of which are at their end.
        self.buffer = Vec::new();
        match read {
            Ok(followed) => Ok(followed),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => Err(EventError::Line {
                path: self.path.clone(),
                line: self.lines + 1,
                found: source.to_string(),
            }),
            Err(source) => Err(FileError::Read { path: self.path.clone(), source }.into()),
        }
    }

    fn try_read(&mut self, most: u64, on: &mut dyn FnMut(Entry<'_>)) -> io::Result<Followed> {
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(if self.offset > 0 { Followed::CutBack } else { Followed::End });
            }
            metadata => metadata?,
        };
        let now = Some((metadata.len(), metadata.modified().ok()));
        if self.seen == now {
            return Ok(Followed::End);
        }
        let mut file = File::open(&self.path)?;
        if metadata.len() < self.offset || !self.stands_in(&mut file)? {
            return Ok(Followed::CutBack);
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut done, mut filled) = (0, 0);
        loop {
            if self.buffer.len() < filled + BUFFER {
                self.buffer.resize(filled + BUFFER, 0);
            }
            let read = file.read(&mut self.buffer[filled..filled + BUFFER])?;
            let known = filled;
            filled += read;
            if read == 0 {
                self.seen = now;
                return Ok(Followed::End);
            }
            let Some(end) = self.buffer[known..filled].iter().rposition(|&b| b == b'\n') else {
                if filled as u64 > LONGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("a line of more than {LONGEST} bytes"),
                    ));
                }
                continue;
            };
            let whole = known + end + 1;
            let mut at = 0;
            while at < whole {
                let length = self.buffer[at..whole].iter().position(|&b| b == b'\n').unwrap_or(0);
                let text = &self.buffer[at..at + length];
                on(Entry { offset: self.offset + at as u64, text });
                at += length + 1;
                self.lines += 1;
            }
            self.keep_tail(whole);
            self.offset += whole as u64;
            self.buffer.copy_within(whole..filled, 0);
            filled -= whole;
            done += whole as u64;
            if done >= most {
                return Ok(Followed::More);
            }
        }
    }

    /// Whether what was read last still stands before the place.
    fn stands_in(&self, file: &mut File) -> io::Result<bool> {
        file.seek(SeekFrom::Start(self.offset - self.tail.len() as u64))?;
        let mut found = Vec::with_capacity(self.tail.len());
        file.take(self.tail.len() as u64).read_to_end(&mut found)?;
        Ok(found == self.tail)
    }

    fn keep_tail(&mut self, whole: usize) {
        let keep = TAIL as usize;
        self.tail.extend_from_slice(&self.buffer[whole.saturating_sub(keep)..whole]);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
    }
}

/// The line that begins at a place of a log, as [`Entry::offset`] told it.
///
/// # Errors
/// The file cannot be read. Where the log was cut back since, it is a part of another line, or
/// empty.
pub fn line_at(path: &Path, offset: u64) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut text = Vec::new();
        BufReader::new(file).take(LONGEST).read_until(b'\n', &mut text)?;
        text.pop_if(|last| *last == b'\n');
        Ok(text)
    };
    read().map_err(|source| FileError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::base::files::TestDir;
    use crate::train::event::tests::{ended, evaluated, predicted, started, step};

    fn line(event: &Event) -> String {
        serde_json::to_string(event).unwrap() + "\n"
    }

    fn text(events: &[Event]) -> String {
        events.iter().map(line).collect()
    }

    /// Reads to the end, and returns what came.
    fn read(follower: &mut Follower) -> (Followed, Vec<Event>) {
        let mut events = Vec::new();
        let mut on = |entry: Entry<'_>| events.push(entry.event().unwrap());
        let followed = follower.read(u64::MAX, &mut on).unwrap();
        (followed, events)
    }

    fn run() -> Vec<Event> {
        vec![started(), step(5), evaluated(10), predicted(10), step(15), ended(20)]
    }

    #[test]
    fn a_log_that_grows_by_single_bytes_is_told_once() {
        let dir = TestDir::new("follow");
        let path = dir.0.join("events.jsonl");
        let mut follower = Follower::new(&path);
        assert_eq!(read(&mut follower), (Followed::End, vec![]));
        let (whole, mut told) = (text(&run()), Vec::new());
        let mut file = File::create(&path).unwrap();
        for byte in whole.as_bytes() {
            file.write_all(&[*byte]).unwrap();
            told.extend(read(&mut follower).1);
        }
        assert_eq!(told, run());
    }

    #[test]
    fn offsets_lead_back_to_lines() {
        let dir = TestDir::new("follow-offsets");
        let path = dir.0.join("events.jsonl");
        fs::write(&path, text(&run())).unwrap();
        let mut heads = Vec::new();
        let mut on = |entry: Entry<'_>| {
            assert_eq!(line_at(&path, entry.offset).unwrap(), entry.text);
            assert_eq!(
                entry.step().is_some(),
                entry.event().unwrap() == step(5) || { entry.event().unwrap() == step(15) }
            );
            heads.push(entry.head().unwrap());
        };
        Follower::new(&path).read(u64::MAX, &mut on).unwrap();
        let heads: Vec<_> = heads.iter().map(|head| (head.event.as_str(), head.step)).collect();
        let expected = [
            ("run_started", None),
            ("step", Some(5)),
            ("evaluated", Some(10)),
            ("predicted", Some(10)),
            ("step", Some(15)),
            ("run_ended", None),
        ];
        assert_eq!(heads, expected);
        assert_eq!(line_at(&path, 1 << 40).unwrap(), b"");
    }

    #[test]
    fn lines_whose_keys_stand_in_another_order_are_the_same() {
        let json: serde_json::Value = serde_json::from_str(&line(&step(7))).unwrap();
        let Event::Step(step) = step(7) else { unreachable!() };
        // As maps have it: sorted.
        let sorted = json.to_string();
        assert!(!sorted.starts_with("{\"event\""));
        let entry = |text| Entry { offset: 0, text };
        assert_eq!(entry(sorted.as_bytes()).step(), Some(step));
        for other in ["{\"a\":1,\"event\":\"steps\"}", "{\"event\":\"steps\"}", "", "{}"] {
            assert_eq!(entry(other.as_bytes()).step(), None, "{other}");
        }
    }

    #[test]
    fn little_is_read_at_a_time() {
        let dir = TestDir::new("follow-parts");
        let path = dir.0.join("events.jsonl");
        let steps: Vec<Event> = (1..=20_000).map(step).collect();
        fs::write(&path, text(&steps)).unwrap();
        let (mut follower, mut told, mut parts) = (Follower::new(&path), Vec::new(), 0);
        loop {
            parts += 1;
            let mut on = |entry: Entry<'_>| told.push(Event::Step(entry.step().unwrap()));
            if follower.read(1, &mut on).unwrap() == Followed::End {
                break;
            }
        }
        assert!(parts > 5 && told == steps, "{parts} parts");
    }

    #[test]
    fn a_log_that_was_cut_back_is_read_anew() {
        let dir = TestDir::new("follow-cut");
        let path = dir.0.join("events.jsonl");
        let first = [started(), step(5), step(10), step(15), ended(15)];
        let other = |step: Event| match step {
            Event::Step(step) => Event::Step(Step { images_per_s: 498.25, ..step }),
            other => other,
        };
        // Shorter, as long, and longer than what was read.
        for more in [0, 1, 2, 20] {
            fs::write(&path, text(&first)).unwrap();
            let mut follower = Follower::new(&path);
            assert_eq!(read(&mut follower), (Followed::End, first.to_vec()));
            let mut second = vec![started(), step(5), other(step(10))];
            second.extend((0..more).map(|i| other(step(15 + i))));
            fs::write(&path, text(&second)).unwrap();
            assert_eq!(read(&mut follower), (Followed::CutBack, vec![]), "{more} more");
            assert_eq!(read(&mut follower), (Followed::End, second), "{more} more");
        }
        fs::remove_file(&path).unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(read(&mut follower).0, Followed::End);
        fs::write(&path, text(&first)).unwrap();
        assert_eq!(read(&mut follower), (Followed::End, first.to_vec()));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&mut follower), (Followed::CutBack, vec![]));
    }

    #[test]
    fn damage_takes_no_memory_and_ends_nothing() {
        let dir = TestDir::new("follow-damage");
        let path = dir.0.join("events.jsonl");
        fs::write(&path, format!("garbage\n\n{}", line(&step(3)))).unwrap();
        let mut told = Vec::new();
        let mut on = |entry: Entry<'_>| told.push((entry.head().is_some(), entry.event()));
        let followed = Follower::new(&path).read(u64::MAX, &mut on).unwrap();
        assert_eq!(followed, Followed::End);
        assert_eq!(told, [(false, None), (false, None), (true, Some(step(3)))]);

        fs::write(&path, vec![b'['; 2 * LONGEST as usize]).unwrap();
        let error = Follower::new(&path).read(u64::MAX, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
    }
}
