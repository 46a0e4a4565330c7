//! What time a run tells of.

use std::time::{Duration, Instant};

/// Time since the run began, and since it was last told of.
pub(super) struct Clock {
    /// When this part of the run began.
    pub(super) began: Instant,
    /// Seconds of earlier parts.
    pub(super) before: f64,
    /// When the last step event or evaluation was over, and how long batches had been waited for by
    /// then.
    pub(super) window: (Instant, Duration),
    /// Images trained on since then.
    pub(super) images: u64,
    /// How long the processes of the run have waited for each other since then.
    pub(super) sync: Duration,
    /// What the slowest step took.
    pub(super) slowest: Duration,
}

impl Clock {
    /// Of a run that has taken so many seconds before, and whose batches were waited for so long.
    pub(super) fn new(before: f64, waited: Duration) -> Clock {
        let now = Instant::now();
        let (sync, slowest) = (Duration::ZERO, Duration::ZERO);
        Clock { began: now, before, window: (now, waited), images: 0, sync, slowest }
    }

    /// Begins to count anew.
    pub(super) fn begin(&mut self, waited: Duration) {
        self.window = (Instant::now(), waited);
        (self.images, self.sync) = (0, Duration::ZERO);
    }
}
