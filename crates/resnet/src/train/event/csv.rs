//! `metrics.csv`: one row an evaluation, for spreadsheets and plots. No field ever needs quoting.

use super::log::writing;
use super::{Evaluated, Event};
use crate::base::files::FileError;
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A column: its name and its text.
type Column = (&'static str, fn(&Evaluated) -> String);

const COLUMNS: &[Column] = &[
    ("step", |e| e.step.to_string()),
    ("epoch", |e| e.epoch.to_string()),
    ("split", |e| e.split.clone()),
    ("count", |e| e.count.to_string()),
    ("top1", |e| e.top1.to_string()),
    ("top5", |e| e.top5.to_string()),
    ("loss", |e| e.loss.to_string()),
    ("train_loss", |e| e.train_loss.to_string()),
    ("train_top1", |e| e.train_top1.to_string()),
    ("lr", |e| e.lr.to_string()),
    ("seconds", |e| e.seconds.to_string()),
];

/// The table of a run, open for appending.
#[derive(Debug)]
pub(crate) struct MetricsCsv {
    path: PathBuf,
    file: File,
}

impl MetricsCsv {
    /// Starts a table that has only its head, replacing an old one.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn create(path: &Path) -> Result<MetricsCsv, FileError> {
        let file = writing(path, File::create(path))?;
        let mut csv = MetricsCsv { path: path.to_owned(), file };
        csv.row(COLUMNS.iter().map(|(name, _)| *name))?;
        Ok(csv)
    }

    /// Makes the table of a run that goes on anew from its events, so that a lost or damaged one
    /// is no loss.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn resume(path: &Path, events: &[Event]) -> Result<MetricsCsv, FileError> {
        let mut csv = MetricsCsv::create(path)?;
        events.iter().try_for_each(|event| csv.write(event))?;
        Ok(csv)
    }
    /// Adds a row if the event is an evaluation.
    ///
    /// # Errors
    /// [`FileError::Write`], such as on a full disk.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), FileError> {
        match event {
            Event::Evaluated(evaluated) => {
                self.row(COLUMNS.iter().map(|(_, text)| text(evaluated)))
            }
            _ => Ok(()),
        }
    }

    /// Waits until all rows are on disk; to be done before a checkpoint of the same step is made.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        writing(&self.path, self.file.sync_data())
    }

    fn row<T: Display>(&mut self, fields: impl Iterator<Item = T>) -> Result<(), FileError> {
        let fields: Vec<String> = fields.map(|field| field.to_string()).collect();
        let written = self.file.write_all((fields.join(",") + "\n").as_bytes());
        writing(&self.path, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::TestDir;
    use crate::train::event::tests::{evaluated, step};
    use std::fs;

    const HEAD: &str = "step,epoch,split,count,top1,top5,loss,train_loss,train_top1,lr,seconds\n";

    #[test]
    fn the_table_is_this() {
        let dir = TestDir::new("csv");
        let path = dir.0.join("metrics.csv");
        let mut csv = MetricsCsv::create(&path).unwrap();
        for event in [step(5), evaluated(10), step(20), evaluated(20)] {
            csv.write(&event).unwrap();
        }
        csv.sync().unwrap();
        let expected = "10,1,test,2000,0.875,0.984375,0.5,0.75,0.8125,0.1,12.5\n20,2,test,2000,0.875,0.984375,0.5,0.75,0.8125,0.1,12.5\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), HEAD.to_owned() + expected);
    }

    #[test]
    fn a_table_that_was_cut_or_lost_is_made_again() {
        let dir = TestDir::new("csv-killed");
        let path = dir.0.join("metrics.csv");
        let rows = [10, 20, 30].map(evaluated);
        let mut csv = MetricsCsv::create(&path).unwrap();
        rows.iter().for_each(|row| csv.write(row).unwrap());
        let whole = fs::read(&path).unwrap();
        for killed in [None, Some(0), Some(40), Some(whole.len() - 1), Some(whole.len())] {
            match killed {
                None => fs::remove_file(&path).unwrap(),
                Some(killed) => fs::write(&path, &whole[..killed]).unwrap(),
            }
            let events = [step(5), rows[0].clone(), rows[1].clone()];
            let mut csv = MetricsCsv::resume(&path, &events).unwrap();
            csv.write(&rows[2]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "killed at {killed:?}");
        }
    }
}
