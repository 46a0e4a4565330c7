//! A model that is loaded, and what is counted of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resnet::data::Image;
use resnet::engine::exec::Device;
use resnet::measure::evaluate::UseError;
use resnet::measure::predict::{Ask, How};
use resnet::{Predictor, Shape};

/// A version of a model, ready to answer.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) predictor: Predictor,
    /// What is counted, also of what stood here before.
    pub(crate) counts: Arc<Counts>,
    /// Nanoseconds that a thread needs for a picture, of late.
    cost: AtomicU64,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// Of the file that is there now.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let metadata = path.metadata().ok()?;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        Some(Stamp { path: path.to_owned(), length, modified })
    }
}

impl Loaded {
    /// Opens a model file, checks it, and makes it ready to answer.
    pub(crate) fn open(
        name: &str,
        version: u64,
        path: &Path,
        how: How,
        device: &dyn Device,
        counts: Arc<Counts>,
    ) -> Result<Loaded, UseError> {
        let predictor = Predictor::open(path, how, device)?;
        let cost = warm_up(&predictor, device.threads()).as_nanos() as u64;
        let cost = AtomicU64::new(cost);
        Ok(Loaded { name: name.to_owned(), version, predictor, counts, cost })
    }

    /// How long a thread is thought to need for a picture.
    pub(crate) fn cost(&self) -> Duration {
        Duration::from_nanos(self.cost.load(Ordering::Relaxed))
    }

    /// Takes in how long a picture took; the last sixteen count most.
    pub(crate) fn note_cost(&self, took: Duration) {
        let (old, took) = (self.cost.load(Ordering::Relaxed), took.as_nanos() as u64);
        // Another thread's measurement may be lost, which matters to nobody.
        self.cost.store(old - old / 16 + took / 16, Ordering::Relaxed);
    }
}

/// What is counted of a version since the server started.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Totals>);

/// The counts of a version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Pictures that were answered.
    pub(crate) success: u64,
    /// Pictures that were not, by the reason.
    pub(crate) failure: std::collections::BTreeMap<&'static str, u64>,
    pub(crate) queue: Duration,
    pub(crate) decode: Duration,
    pub(crate) compute: Duration,
    /// Milliseconds since 1970.
    pub(crate) last: u64,
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// Counts a picture.
    pub(crate) fn add(&self, stages: &crate::wire::Stages, refused: Option<&'static str>) {
        let mut totals = self.lock();
        match refused {
            Some(reason) => *totals.failure.entry(reason).or_default() += 1,
            None => totals.success += 1,
        }
        totals.queue += stages.queue;
        totals.decode += stages.decode;
        totals.compute += stages.compute;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        totals.last = now.as_millis() as u64;
    }
}

/// Gets a network ready to answer: the first answer takes memory and touches every weight. Returns
/// how long a thread takes for a picture, which is at most what all of them together take for the
/// second, each.
fn warm_up(predictor: &Predictor, threads: usize) -> Duration {
    let Shape { h, w, c } = predictor.input_shape();
    let image = Image { width: w, height: h, channels: c, pixels: vec![128; h * w * c] };
    // Memory for as many answers at once.
    predictor.each(threads, |_| (), |_, ()| std::ops::ControlFlow::Continue(()));
    // What goes wrong here goes wrong again where somebody is told.
    let answer = || drop(predictor.answer(&image, Ask::default()));
    answer();
    let began = Instant::now();
    answer();
    began.elapsed() * u32::try_from(threads).unwrap_or(u32::MAX)
}
