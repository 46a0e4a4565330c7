//! Batches, made ahead of the trainer by worker threads.
//!
//! Batch s of epoch e is the same for any number of workers, also none: the order is a function of
//! (seed, e), augmentation of (seed, e, index). So a run resumed at step s goes on with the batches
//! it would have had. Each worker makes whole batches; they are handed over in order through a
//! window of a few places, and a batch's memory returns to the loader when the batch is dropped.
//! After the first few batches nothing is allocated but what picture decoders take.
//!
//! ```
//! use resnet::data::{Augment, Loader, LoaderOptions, Normalize, OpenOptions, Preprocess, Transform, open};
//! # fn main() -> Result<(), resnet::data::DataError> {
//! let data = open("builtin", &OpenOptions::default())?.train;
//! let shape = data.shape().expect("the built-in pictures have one shape");
//! let normalize = Normalize::channel(data.as_ref(), shape.c)?;
//! let augment = Augment { pad: 2, flip: true, ..Augment::default() };
//! let transform = Transform::new(Preprocess { shape, resize: None, normalize }, augment)?;
//! let loader = Loader::new(data, transform, LoaderOptions::train(128, 0, 1))?;
//! assert_eq!(loader.steps(), 93); // of 12,000 pictures; the last 96 wait for another epoch's order
//! for batch in loader.epoch(0, 90) {
//!     let batch = batch?;
//!     assert_eq!((batch.count, batch.x.len()), (128, 128 * 28 * 28));
//! }
//! # Ok(())
//! # }
//! ```

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Area, DataError, Dataset, Image, Part, Targets, Transform, View, Warning};

mod crew;
mod order;
mod share;

use crew::Crew;
use order::Turn;
pub use share::Share;

/// How batches are made.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Pictures in a batch.
    pub batch: usize,
    /// Names the order and the augmentation.
    pub seed: u64,
    /// Threads that make batches; 0: the caller's thread makes each batch when it is asked for.
    pub workers: usize,
    /// Another order each epoch, instead of the data's own.
    pub shuffle: bool,
    /// [`View::Train`] instead of [`View::Eval`].
    pub augment: bool,
    /// Every class equally often, pictures of rare classes several times an epoch; for shuffled
    /// data.
    pub balanced: bool,
    /// Inputs made of each picture, one after another: 1, or [`CROPS`](super::CROPS) for
    /// evaluation.
    pub crops: usize,
    /// Leave out what does not fill a batch at the end, and batches that do not fill a group of
    /// the share.
    pub drop_last: bool,
    /// Which of the batches are made; the others are made by other processes.
    pub share: Share,
    /// Batches ready or under way at most, beside the one in the caller's hands; at least one a
    /// worker.
    pub prefetch: usize,
    /// What to do about a picture that turns out to be broken when it is decoded.
    pub on_broken: OnBroken,
    /// How targets are made of labels, for training; `None` makes none.
    pub targets: Option<Targets>,
}

/// What to do about a picture that cannot be decoded. A warning names it the first time, in each
/// case but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBroken {
    /// Stop with its error.
    Fail,
    /// Take the next readable picture of the data in its place, so that training batches stay full.
    Replace,
    /// Leave it out, so that no picture is counted twice in an evaluation; the batch counts one
    /// less.
    LeaveOut,
}

impl LoaderOptions {
    /// For training: shuffled, augmented, full batches only.
    pub fn train(batch: usize, seed: u64, workers: usize) -> LoaderOptions {
        LoaderOptions {
            batch,
            seed,
            workers,
            shuffle: true,
            augment: true,
            balanced: false,
            crops: 1,
            drop_last: true,
            share: Share::default(),
            prefetch: 3,
            on_broken: OnBroken::Replace,
            targets: Some(Targets::default()),
        }
    }

    /// For evaluation: every picture once, in order, as it is.
    pub fn eval(batch: usize, workers: usize) -> LoaderOptions {
        LoaderOptions {
            shuffle: false,
            augment: false,
            drop_last: false,
            on_broken: OnBroken::LeaveOut,
            targets: None,
            ..LoaderOptions::train(batch, 0, workers)
        }
    }
}

/// A batch of network inputs. Its memory is used again after it is dropped.
pub struct Batch {
    /// Inputs, NHWC, always of the full batch; 0 from `count` on. With several crops, those of a
    /// picture stand together.
    pub x: Vec<f32>,
    /// Labels; 0 from `count` on.
    pub labels: Vec<u32>,
    /// What is wanted of the network, `[batch, classes]`, each row adding up to 1; 0 from `count`
    /// on; empty where no targets are made.
    pub target: Vec<f32>,
    /// How much each picture counts in the loss; 0 from `count` on; empty where no targets are
    /// made.
    pub weight: Vec<f32>,
    /// Index of each picture in the data; 0 from `count` on.
    pub indices: Vec<u32>,
    /// Pictures in the batch. Fewer than fill it at the end of an evaluation, and after
    /// [`OnBroken::LeaveOut`] (even none).
    pub count: usize,
    /// Position of the batch in its epoch, among those of all shares.
    pub step: usize,
    /// Pictures found broken for the first time.
    pub warnings: Vec<Warning>,
    /// The same before first times are told from others, by index.
    broken: Vec<(u32, Warning)>,
    home: Arc<Shared>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let buffers = Buffers {
            x: std::mem::take(&mut self.x),
            labels: std::mem::take(&mut self.labels),
            target: std::mem::take(&mut self.target),
            weight: std::mem::take(&mut self.weight),
            indices: std::mem::take(&mut self.indices),
        };
        lock(&self.home.free).push(buffers);
    }
}

/// Makes the batches of a data set, epoch by epoch.
pub struct Loader {
    shared: Arc<Shared>,
}

struct Shared {
    data: Arc<dyn Dataset>,
    transform: Transform,
    options: LoaderOptions,
    free: Mutex<Vec<Buffers>>,
    warned: Mutex<HashSet<u32>>,
    wait_nanos: AtomicU64,
}

struct Buffers {
    x: Vec<f32>,
    labels: Vec<u32>,
    target: Vec<f32>,
    weight: Vec<f32>,
    indices: Vec<u32>,
}

/// Pictures tried in place of a broken one.
const REPLACEMENTS: usize = 64;

impl Loader {
    /// A loader of `data`'s pictures through `transform`.
    ///
    /// # Errors
    /// The batch is 0, or larger than the data while only full batches are wanted, or the share is
    /// none.
    pub fn new(
        data: Arc<dyn Dataset>,
        transform: Transform,
        options: LoaderOptions,
    ) -> Result<Loader, DataError> {
        let (len, batch) = (data.len(), options.batch);
        let fault = if batch == 0 {
            Some("the batch is 0; it must be at least 1".to_string())
        } else if let Some(fault) = options.share.fault() {
            Some(fault)
        } else if len == 0 || len > u32::MAX as usize {
            Some(format!("the data has {len} pictures; 1 to {} are possible", u32::MAX))
        } else if options.drop_last && batch > len {
            Some(format!(
                "the batch is {batch}, but the data has only {len} pictures; use a batch of {len} or less"
            ))
        } else if options.drop_last && len / batch < options.share.of {
            let of = options.share.of;
            Some(format!(
                "{of} batches of {batch} pictures are wanted at once, but the data has only {len} \
                 pictures; use smaller batches, or fewer at once"
            ))
        } else if batch
            .checked_mul(options.crops * transform.shape().len() * size_of::<f32>())
            .is_none_or(|bytes| bytes > isize::MAX as usize)
        {
            Some(format!("a batch of {batch} pictures does not fit in memory"))
        } else {
            None
        };
        match fault {
            Some(fault) => Err(DataError::Loader(fault)),
            None => Ok(Loader {
                shared: Arc::new(Shared {
                    data,
                    transform,
                    options,
                    free: Mutex::default(),
                    warned: Mutex::default(),
                    wait_nanos: AtomicU64::new(0),
                }),
            }),
        }
    }

    /// Batches in an epoch, of the loader's share.
    pub fn steps(&self) -> usize {
        self.shared.options.share.count(self.batches())
    }

    /// Which of the batches it makes.
    pub(crate) fn share(&self) -> &Share {
        &self.shared.options.share
    }

    /// Groups of batches in an epoch; the last may have fewer than the share is of.
    pub(crate) fn groups(&self) -> usize {
        self.batches().div_ceil(self.shared.options.share.of)
    }

    /// Batches in an epoch, of all shares.
    fn batches(&self) -> usize {
        let Shared { data, options, .. } = self.shared.as_ref();
        let Share { of, .. } = options.share;
        match options.drop_last {
            true => data.len() / options.batch / of * of,
            false => data.len().div_ceil(options.batch),
        }
    }

    /// Inputs made of each picture.
    pub(crate) fn crops(&self) -> usize {
        self.shared.options.crops
    }

    /// The data.
    pub(crate) fn data(&self) -> &Arc<dyn Dataset> {
        &self.shared.data
    }

    /// The batches of an epoch in order, without the first `from_step` of the loader's share.
    /// Dropping it stops its workers.
    pub fn epoch(&self, epoch: u64, from_step: usize) -> Epoch {
        let shared = self.shared.clone();
        let order = order::order(shared.data.as_ref(), &shared.options, epoch);
        let job = Arc::new(Job { shared, order, epoch, end: self.steps() });
        let workers = job.shared.options.workers.min(job.end.saturating_sub(from_step));
        Epoch {
            next: from_step,
            image: Image::default(),
            crew: Crew::start(&job, from_step, workers),
            job,
        }
    }

    /// Time that all epochs so far have waited for batches; without workers, all of the time spent
    /// making them.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_nanos(self.shared.wait_nanos.load(Ordering::Relaxed))
    }
}

/// What makes one epoch's batches, which are counted as the loader's share has them.
struct Job {
    shared: Arc<Shared>,
    order: Vec<Turn>,
    epoch: u64,
    end: usize,
}

impl Job {
    /// Batch `own` of the share; a panic inside becomes an error.
    fn build(&self, own: usize, image: &mut Image) -> Result<Batch, DataError> {
        let step = self.place(own);
        catch_unwind(AssertUnwindSafe(|| self.build_unguarded(step, image))).unwrap_or_else(
            |panic| {
                Err(DataError::Worker { epoch: self.epoch, step, message: text_of(panic.as_ref()) })
            },
        )
    }

    /// The position in the epoch of batch `own` of the share.
    fn place(&self, own: usize) -> usize {
        self.shared.options.share.place(own)
    }

    fn build_unguarded(&self, step: usize, image: &mut Image) -> Result<Batch, DataError> {
        let Shared { data, transform, options, .. } = self.shared.as_ref();
        let size = options.crops * transform.shape().len();
        let targets = if options.targets.is_some() { options.batch } else { 0 };
        let buffers = lock(&self.shared.free).pop().unwrap_or_else(|| Buffers {
            x: vec![0.0; options.batch * size],
            labels: vec![0; options.batch],
            target: vec![0.0; targets * data.classes().len()],
            weight: vec![0.0; targets],
            indices: vec![0; options.batch],
        });
        let mut batch = Batch {
            x: buffers.x,
            labels: buffers.labels,
            target: buffers.target,
            weight: buffers.weight,
            indices: buffers.indices,
            count: 0,
            step,
            warnings: Vec::new(),
            broken: Vec::new(),
            home: self.shared.clone(),
        };
        let end = self.order.len().min((step + 1) * options.batch);
        for &turn in &self.order[step * options.batch..end] {
            let view = |crop| match options.augment {
                true => {
                    let turn = u64::from(turn.index) + u64::from(turn.round) * data.len() as u64;
                    View::Train { seed: options.seed, epoch: self.epoch, index: turn }
                }
                false if options.crops == 1 => View::Eval,
                false => View::Crop(crop),
            };
            // Several views together read most of a picture.
            let wanted = |height, width| match options.crops {
                1 => transform.reads(view(0), height, width),
                _ => (0..height, 0..width),
            };
            let broken = &mut batch.broken;
            let Some((index, part)) = self.read(turn.index, &wanted, image, broken)? else {
                continue;
            };
            let at = batch.count;
            let x = &mut batch.x[at * size..(at + 1) * size];
            for (crop, x) in x.chunks_exact_mut(transform.shape().len()).enumerate() {
                transform.look(view(crop), image, &part, x);
            }
            batch.labels[at] = data.label(index as usize);
            batch.indices[at] = index;
            batch.count += 1;
        }
        batch.x[batch.count * size..].fill(0.0);
        batch.labels[batch.count..].fill(0);
        batch.indices[batch.count..].fill(0);
        if let Some(targets) = &options.targets {
            let key = (options.seed, self.epoch, step as u64);
            let Batch { x, labels, target, weight, count, .. } = &mut batch;
            let classes = data.classes().len();
            target[*count * classes..].fill(0.0);
            weight[*count..].fill(0.0);
            let (target, weight) = (&mut target[..*count * classes], &mut weight[..*count]);
            targets.write(key, &labels[..*count], &mut x[..*count * size], target, weight);
        }
        Ok(batch)
    }

    /// Decodes `part` of picture `wanted`, or of another in its place, and says which, and what of
    /// it; none if it is to be left out.
    fn read(
        &self,
        wanted: u32,
        part: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
        broken: &mut Vec<(u32, Warning)>,
    ) -> Result<Option<(u32, Part)>, DataError> {
        let Shared { data, options, .. } = self.shared.as_ref();
        let error = match data.read_part(wanted as usize, part, image) {
            Ok(part) => return Ok(Some((wanted, part))),
            Err(error) => error,
        };
        let mut warn = |what: &str| {
            let message = format!("{error}; {what}");
            broken.push((wanted, Warning { file: None, message }));
        };
        match options.on_broken {
            OnBroken::Fail => Err(error),
            _ if error.is_of_system() => Err(error),
            OnBroken::LeaveOut => {
                warn("left out");
                Ok(None)
            }
            OnBroken::Replace => {
                for step in 1..data.len().min(REPLACEMENTS + 1) {
                    let index = (wanted as usize + step) % data.len();
                    match data.read_part(index, part, image) {
                        Ok(part) => {
                            warn(&format!("{} is used in its place", data.name(index)));
                            return Ok(Some((index as u32, part)));
                        }
                        Err(error) if error.is_of_system() => return Err(error),
                        Err(_) => {}
                    }
                }
                Err(error)
            }
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing is left half done under any of these locks
}

/// The batches of one epoch. After an error there are no more.
pub struct Epoch {
    job: Arc<Job>,
    next: usize,
    image: Image,
    crew: Option<Crew>,
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.job.end {
            return None;
        }
        let start = Instant::now();
        let built = match &self.crew {
            Some(crew) => crew.take(self.next).unwrap_or_else(|| {
                let (epoch, step) = (self.job.epoch, self.job.place(self.next));
                let message = "the workers have ended".to_string();
                Err(DataError::Worker { epoch, step, message })
            }),
            None => self.job.build(self.next, &mut self.image),
        };
        let waited = start.elapsed();
        let shared = &self.job.shared;
        shared.wait_nanos.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        self.next += 1;
        if built.is_err() {
            self.next = self.job.end;
            self.crew = None;
        }
        Some(built.map(|mut batch| {
            if !batch.broken.is_empty() {
                let mut warned = lock(&shared.warned);
                let first = std::mem::take(&mut batch.broken)
                    .into_iter()
                    .filter(|(index, _)| warned.insert(*index));
                batch.warnings = first.map(|(_, warning)| warning).collect();
            }
            batch
        }))
    }
}

#[cfg(test)]
mod tests;
