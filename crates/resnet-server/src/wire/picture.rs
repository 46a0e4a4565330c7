//! Pictures as they come, and what is found out about them, whatever the protocol.

use std::time::Duration;

use hyper::body::Bytes;
use resnet::measure::confidence::Verdict;
use resnet::measure::predict::{Answer, Guess};

/// A picture, as it comes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Picture {
    /// A file's bytes.
    File(Bytes),
    /// `[h, w, c]`, a byte a channel.
    Pixels {
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
        /// Channels, 1 or 3.
        c: usize,
        /// All of them.
        bytes: Bytes,
    },
    /// Resized, cropped and normalised: `[c, h, w]`.
    Input(Vec<f32>),
}

/// Most pictures of one request.
pub(crate) const MOST_PICTURES: usize = 1024;

/// What was found out about a picture.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Columns of the upright picture.
    pub(crate) width: usize,
    /// Rows of it.
    pub(crate) height: usize,
    pub(crate) answer: Answer,
    /// As many classes as were wanted, most likely first.
    pub(crate) top: Vec<Guess>,
    /// Of each class.
    pub(crate) probabilities: Vec<f32>,
    /// How far that can be trusted.
    pub(crate) verdict: Verdict,
    /// Left, top, width and height of what the network saw, in pixels of the upright picture.
    pub(crate) region: [f64; 4],
    pub(crate) stages: Stages,
}

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    /// Until a thread was free.
    pub(crate) queue: Duration,
    /// Until the picture was decoded.
    pub(crate) decode: Duration,
    /// Resizing and the network.
    pub(crate) compute: Duration,
}

/// Milliseconds, to a thousandth.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
