//! A part of a run's curves in all its detail, read from the log again: what is kept of a long run
//! in memory is too coarse to look closely at.

use std::path::PathBuf;

use resnet::train::event::{Followed, Follower};
use serde::Serialize;

use super::run::Run;
use super::series::{Curves, Place, Series};

/// Bytes of a log that are read for one part.
const MOST: u64 = 64 << 20;
/// Bytes that are read before it is seen whether that is enough.
const PART: u64 = 1 << 20;

/// A part of a run.
pub(super) struct Part {
    log: PathBuf,
    reading: u64,
    /// Where in the log it begins, about.
    offset: u64,
    first: u64,
    last: u64,
}

/// The points of a part. Of epochs and seconds, which the whole log decides, the curves of all of
/// the run tell.
#[derive(Serialize)]
pub(super) struct Detail {
    reading: u64,
    #[serde(flatten)]
    curves: Curves,
}

impl Part {
    /// The steps from `first` to `last`.
    pub(super) fn of(run: &Run, first: u64, last: u64) -> Part {
        let offset = run.steps().offset_after(first.saturating_sub(1));
        Part { log: run.log().to_owned(), reading: run.reading, offset, first, last }
    }

    /// Reads it.
    pub(super) fn read(&self) -> Detail {
        let mut follower = Follower::begin_at(&self.log, self.offset);
        let (mut series, mut read, mut over) = (Series::default(), 0, false);
        while !over && read < MOST {
            let followed = follower.read(PART, &mut |entry| {
                let Some(step) = entry.step() else { return };
                over |= step.step > self.last;
                if (self.first..=self.last).contains(&step.step) {
                    series.add(&step, Place { step: step.step, ..Place::default() }, entry.offset);
                }
            });
            read += PART;
            if !matches!(followed, Ok(Followed::More)) {
                break;
            }
        }
        Detail { reading: self.reading, curves: series.curves(0, 0) }
    }
}
