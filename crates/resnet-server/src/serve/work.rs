//! One picture, from its bytes to what is known of it: what the threads that compute do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use resnet::Shape;
use resnet::data::{Image, Packed, PictureFault};
use resnet::measure::evaluate::UseError;
use resnet::measure::predict::Ask;
use tokio::sync::oneshot;

use super::budget::Budget;
use super::metrics::Metrics;
use super::model::Loaded;
use super::queue::{Client, Queue, Waiting};
use crate::http::{Refusal, Share};
use crate::wire::{Picture, Seen, Stages};

/// A picture that waits.
pub(crate) struct Job {
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) picture: Picture,
    pub(crate) model: Arc<Loaded>,
    pub(crate) ask: Ask,
    /// Classes that are wanted.
    pub(crate) top: usize,
    pub(crate) client: Client,
    pub(crate) priority: u64,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// Of the body that the picture came in; its call may end before it is looked at.
    pub(crate) _share: Arc<Share>,
    /// Closed where nobody waits any more.
    pub(crate) reply: oneshot::Sender<Result<Seen, Refusal>>,
}

impl Waiting for Job {
    fn client(&self) -> Client {
        self.client
    }

    fn priority(&self) -> u64 {
        self.priority
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn cost(&self) -> Duration {
        self.model.cost()
    }

    fn goes_with(&self, other: &Job) -> bool {
        Arc::ptr_eq(&self.model, &other.model)
    }
}

/// What threads share.
pub(crate) struct Workshop {
    pub(crate) queue: Queue<Job>,
    pub(crate) budget: Budget,
    pub(crate) most_pixels: u64,
    pub(crate) metrics: Metrics,
}

/// What decoding takes beside the picture: the decoder's own rows and tables.
const DECODER: u64 = 1 << 20;
/// Bytes a pixel while a picture is decoded and turned upright: the decoder's and ours.
const BYTES_A_PIXEL: u64 = 6;

impl Workshop {
    /// Computes whatever waits until the queue is closed.
    pub(crate) fn work(&self) {
        while let Some(mut taken) = self.queue.take() {
            for job in taken.jobs.drain(..) {
                self.one(job);
            }
        }
    }

    fn one(&self, mut job: Job) {
        let began = Instant::now();
        let queue = began - job.arrived;
        if job.reply.is_closed() {
            self.metrics.cancelled();
            return;
        }
        let (answer, stages) = if began >= job.deadline {
            let waited = format!("{} waited {:.3} s", job.name, queue.as_secs_f64());
            let late = Refusal::late(format!("{waited}, until its deadline had passed"));
            (Err(late), Stages { queue, ..Stages::default() })
        } else {
            let mut stages = Stages { queue, ..Stages::default() };
            // A fault of ours is one picture's, not the server's.
            let seen = catch_unwind(AssertUnwindSafe(|| self.see(&mut job, &mut stages)));
            let seen = seen.unwrap_or_else(|_| {
                Err(Refusal::fault(format!(
                    "{} made the server panic; its log says more",
                    job.name
                )))
            });
            if seen.is_ok() {
                job.model.note_cost(began.elapsed());
            }
            (seen.map(|seen| Seen { stages, ..seen }), stages)
        };
        self.metrics.picture(&job.model, &stages, &answer);
        // Nobody may wait for it any more.
        let _ = job.reply.send(answer);
    }

    fn see(&self, job: &mut Job, stages: &mut Stages) -> Result<Seen, Refusal> {
        let began = Instant::now();
        let predictor = &job.model.predictor;
        let mut image = Image::default();
        // Given back with the picture, at the end.
        let mut lent = None;
        let input = match std::mem::replace(&mut job.picture, Picture::Input(Vec::new())) {
            Picture::Input(numbers) => Some(channels_last(&numbers, predictor.input_shape())),
            Picture::Pixels { h, w, c, bytes } => {
                if (h * w) as u64 > self.most_pixels {
                    return Err(Refusal::too_large(format!(
                        "{} has {w} x {h} pixels; at most {} are taken",
                        job.name, self.most_pixels
                    )));
                }
                image = Image { width: w, height: h, channels: c, pixels: bytes.to_vec() };
                None
            }
            Picture::File(bytes) => {
                let packed = Packed::open(&bytes, self.most_pixels);
                let packed = packed.map_err(|fault| refusal(&job.name, fault))?;
                lent = Some(self.budget.take(DECODER + BYTES_A_PIXEL * packed.pixels()));
                packed.decode(&mut image).map_err(|fault| refusal(&job.name, fault))?;
                None
            }
        };
        stages.decode = began.elapsed();
        let began = Instant::now();
        // How like the training pictures it is, shows in the embedding.
        let likeness = predictor.confidence().is_some_and(|known| known.likeness.is_some());
        job.ask.embedding |= likeness;
        job.ask.crowded = self.queue.len() > 0;
        let answer = match &input {
            Some(x) => predictor.answer_to_input(x, job.ask),
            None => predictor.answer(&image, job.ask),
        };
        let answer = answer.map_err(|error| {
            let message = format!("{}: {error}", job.name);
            match error {
                UseError::NotFinite { .. } => Refusal::damaged(message),
                _ => Refusal::fault(message),
            }
        })?;
        let (width, height, region) = match input {
            Some(_) => {
                let Shape { h, w, .. } = predictor.input_shape();
                (w, h, [0.0, 0.0, w as f64, h as f64])
            }
            None => {
                let [top, left, height, width] = predictor.seen(&image);
                (image.width, image.height, [left, top, width, height])
            }
        };
        drop((image, lent));
        let seen = Seen {
            width,
            height,
            top: predictor.guesses(&answer.logits, job.top),
            probabilities: predictor.probabilities(&answer.logits),
            verdict: predictor.verdict(&answer),
            answer,
            region,
            stages: *stages,
        };
        stages.compute = began.elapsed();
        Ok(seen)
    }
}

/// Why a picture is refused, by its name.
fn refusal(name: &str, fault: PictureFault) -> Refusal {
    let message = format!("{name} {fault}");
    match fault {
        PictureFault::Format(_) => Refusal::format(message),
        PictureFault::TooLarge(_) => Refusal::too_large(message),
        PictureFault::Damaged(_) => Refusal::damaged(message),
    }
}

/// `[h, w, c]` of `[c, h, w]`.
fn channels_last(numbers: &[f32], shape: Shape) -> Vec<f32> {
    let places = shape.h * shape.w;
    (0..shape.len()).map(|i| numbers[i % shape.c * places + i / shape.c]).collect()
}

#[cfg(test)]
mod tests {
    use super::channels_last;
    use resnet::Shape;

    #[test]
    fn planes_become_pixels() {
        let numbers: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let expected = [0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0];
        assert_eq!(channels_last(&numbers, Shape::new(2, 2, 3)), expected);
    }
}
