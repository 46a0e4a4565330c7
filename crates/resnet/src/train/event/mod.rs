//! What happens in a run, as a closed set of events: the one thing that progress displays, log
//! files and reports read.
//!
//! As JSON an event is one line, `{"event":"step","step":10,...}`. A run directory keeps them in
//! `events.jsonl`, which [`read`] reads, and the evaluations also in `metrics.csv`. Both can be
//! cut back to a checkpoint's step, so a resumed run leaves the files of an uninterrupted one,
//! times apart; a [`Follower`] reads a log that is being written. JSON has no NaN: a number that is
//! not finite is written as `null`, and read as NaN.

mod csv;
mod follow;
mod kind;
mod log;
mod tensorboard;

pub(crate) use csv::MetricsCsv;
pub use follow::{Entry, Followed, Follower, Head, line_at};
pub use kind::{
    Evaluated, Event, Monitored, Pace, Predicted, PredictedPicture, RunEnded, RunStarted, Step,
};
pub(crate) use log::EventLog;
pub use log::{EventError, read};
pub use tensorboard::tensorboard;

#[cfg(test)]
pub(crate) use kind::tests;
