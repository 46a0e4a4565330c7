//! What a run tells and leaves: events to whoever watches, and into a directory, where it has one.

use std::path::PathBuf;

use super::directory::{Directory, EVENTS, LAST, METRICS_CSV};
use super::event::{self, Event, EventLog, MetricsCsv, RunStarted};
use super::{Observer, TrainError};
use crate::base::{files, text};

/// The record of a run under way.
pub(super) struct Record<'a> {
    pub(super) observer: &'a mut dyn Observer,
    kept: Option<Kept>,
    /// Everything that happened, for the report.
    pub(super) history: Vec<Event>,
}

struct Kept {
    directory: Directory,
    log: EventLog,
    csv: MetricsCsv,
}

impl<'a> Record<'a> {
    /// Of a run that begins.
    pub(super) fn start(
        directory: Option<Directory>,
        observer: &'a mut dyn Observer,
    ) -> Result<Record<'a>, TrainError> {
        let keep = |directory: Directory| -> Result<Kept, TrainError> {
            let log = EventLog::create(&directory.path(EVENTS))?;
            let csv = MetricsCsv::create(&directory.path(METRICS_CSV))?;
            Ok(Kept { directory, log, csv })
        };
        let kept = directory.map(keep).transpose()?;
        Ok(Record { observer, kept, history: Vec::new() })
    }

    /// Of a run that goes on after so many steps; `owes` says whether the evaluation of that step
    /// is still to be made.
    pub(super) fn resume(
        directory: Directory,
        step: u64,
        owes: bool,
        observer: &'a mut dyn Observer,
    ) -> Result<Record<'a>, TrainError> {
        let events = directory.path(EVENTS);
        if !files::is_there(&events)? {
            let problem = "it is missing, though the run has a checkpoint; restore it, or start a \
                           new run";
            return Err(TrainError::Checkpoint { path: events, problem: problem.into() });
        }
        let (log, history) = EventLog::resume(&events, step, owes)?;
        let csv = MetricsCsv::resume(&directory.path(METRICS_CSV), &history)?;
        Ok(Record { observer, kept: Some(Kept { directory, log, csv }), history })
    }

    /// Whether a run in a directory has saved a checkpoint, as far as its events tell.
    pub(super) fn tells_of_checkpoint(directory: &Directory) -> Result<bool, TrainError> {
        let events = directory.path(EVENTS);
        if !files::is_there(&events)? {
            return Ok(false);
        }
        Ok(event::read(&events)?.iter().any(|event| matches!(event, Event::Saved { .. })))
    }

    /// The directory, where there is one.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.kept.as_ref().map(|kept| &kept.directory)
    }

    /// Path of a file of the run.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.directory().map(|directory| directory.path(name))
    }

    /// The checkpoint to go on from, where there is one.
    pub(super) fn last(&self) -> Option<PathBuf> {
        self.path(LAST).filter(|path| path.exists())
    }

    /// The directory as text, or nothing.
    pub(super) fn root(&self) -> String {
        let root = self.directory().map(Directory::root);
        root.map(|root| text::path(root).to_string()).unwrap_or_default()
    }

    pub(super) fn emit(&mut self, event: Event) -> Result<(), TrainError> {
        if let Some(kept) = &mut self.kept {
            kept.log.write(&event)?;
            kept.csv.write(&event)?;
        }
        self.observer.event(&event);
        self.history.push(event);
        Ok(())
    }

    /// Tells that the run goes on, and keeps that where its budget is another than before.
    pub(super) fn go_on(&mut self, started: RunStarted) -> Result<(), TrainError> {
        let known = self.history.iter().rev().find_map(|event| match event {
            Event::RunStarted(known) => Some(known.steps),
            _ => None,
        });
        let again = known == Some(started.steps);
        let event = Event::RunStarted(Box::new(started));
        if again {
            self.observer.event(&event);
            return Ok(());
        }
        self.emit(event)
    }

    /// Brings everything that happened so far to the disk.
    pub(super) fn sync(&mut self) -> Result<(), TrainError> {
        if let Some(kept) = &mut self.kept {
            kept.log.sync()?;
            kept.csv.sync()?;
        }
        Ok(())
    }
}
