//! `metrics.csv`: one row an evaluation, for spreadsheets and plots. No field ever needs quoting.

use super::log::{lines, writing};
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
pub struct MetricsCsv {
    path: PathBuf,
    file: File,
}

impl MetricsCsv {
    /// Starts a table that has only its head, replacing an old one.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn create(path: &Path) -> Result<MetricsCsv, FileError> {
        let file = writing(path, File::create(path))?;
        let mut csv = MetricsCsv { path: path.to_owned(), file };
        csv.row(COLUMNS.iter().map(|(name, _)| *name))?;
        Ok(csv)
    }

    /// Opens the table of a run that goes on from a checkpoint of `step` steps, after cutting off
    /// the first row of a later step, or one cut short, and all that follows.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn resume(path: &Path, step: u64) -> Result<MetricsCsv, FileError> {
        let kept = lines(path)?
            .into_iter()
            .enumerate()
            .take_while(|(number, line)| {
                line.complete && (*number == 0 || row_step(&line.text).is_some_and(|s| s <= step))
            })
            .map(|(_, line)| line.bytes);
        let end: u64 = kept.sum();
        if end == 0 {
            return MetricsCsv::create(path);
        }
        let file = writing(path, File::options().append(true).open(path))?;
        writing(path, file.set_len(end))?;
        Ok(MetricsCsv { path: path.to_owned(), file })
    }

    /// Adds a row if the event is an evaluation.
    ///
    /// # Errors
    /// [`FileError::Write`], such as on a full disk.
    pub fn write(&mut self, event: &Event) -> Result<(), FileError> {
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
    pub fn sync(&self) -> Result<(), FileError> {
        writing(&self.path, self.file.sync_data())
    }

    fn row<T: Display>(&mut self, fields: impl Iterator<Item = T>) -> Result<(), FileError> {
        let fields: Vec<String> = fields.map(|field| field.to_string()).collect();
        let written = self.file.write_all((fields.join(",") + "\n").as_bytes());
        writing(&self.path, written)
    }
}

fn row_step(row: &[u8]) -> Option<u64> {
    let first = row.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(first).ok()?.parse().ok()
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
    fn a_table_killed_at_any_byte_and_resumed_is_the_whole_table() {
        let dir = TestDir::new("csv-killed");
        let path = dir.0.join("metrics.csv");
        let mut csv = MetricsCsv::create(&path).unwrap();
        let rows = [10, 20, 30].map(evaluated);
        for row in &rows {
            csv.write(row).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        for killed in 0..=whole.len() {
            fs::write(&path, &whole[..killed]).unwrap();
            let rows_left =
                whole[..killed].iter().filter(|&&b| b == b'\n').count().saturating_sub(1);
            let mut csv = MetricsCsv::resume(&path, 20).unwrap();
            for row in &rows[rows_left.min(2)..] {
                csv.write(row).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), whole, "killed at {killed}");
        }
    }
}
