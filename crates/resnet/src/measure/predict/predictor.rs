//! A model ready to classify, from any number of threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use resnet_engine::exec::{self, Device, ExecError, Session};
use resnet_engine::graph::{LayerId, Shape};
use resnet_engine::op::{self, ShapeError};
use resnet_engine::plan::{Mode, Options, Plan};
use resnet_engine::step::Precision;

use super::answer::{Answer, Ask, Guess, Look};
use super::cam;
use super::workers::{Worker, Workers};
use crate::data::{self, Augment, Image, Transform};
use crate::measure::confidence::{Confidence, Verdict, softmax};
use crate::measure::evaluate::UseError;
use crate::model::{Model, Opened};

/// A model ready to classify pictures, from any number of threads at once.
pub struct Predictor {
    pub(super) workers: Workers,
    threads: usize,
    pub(super) transform: Transform,
    arch: String,
    pub(super) classes: Vec<String>,
    precision: Precision,
    confidence: Option<Confidence>,
    input_shape: Shape,
    /// Numbers of an embedding.
    features: usize,
    /// Of each layer's output.
    pub(super) shapes: Vec<Shape>,
    /// The layer whose maps are looked at, if the network has one, where the predictor explains.
    layer: Option<Result<LayerId, ShapeError>>,
}

/// How a predictor computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// How maps are stored.
    pub precision: Precision,
    /// Whether heat maps can be asked for; the last layers' weights are kept for them as they are,
    /// beside what kernels make of them.
    pub explain: bool,
}

impl From<Precision> for How {
    fn from(precision: Precision) -> How {
        How { precision, explain: false }
    }
}

impl Model {
    /// Gets ready to classify pictures, in f32 on this machine's CPU; see [`Predictor::new`].
    ///
    /// # Errors
    /// As there.
    pub fn predictor(self) -> Result<Predictor, UseError> {
        Predictor::new(self, Precision::F32, exec::cpu(0)?.as_ref())
    }
}

impl Predictor {
    /// Prepares a model, whose weights move in.
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn new(
        model: Model,
        how: impl Into<How>,
        device: &dyn Device,
    ) -> Result<Predictor, UseError> {
        Predictor::prepare(model.into(), how.into(), device)
    }

    /// The same of a model file, whose weights are read as they are needed.
    ///
    /// # Errors
    /// The file cannot be read, or its parts do not fit each other.
    pub fn open(
        path: &Path,
        how: impl Into<How>,
        device: &dyn Device,
    ) -> Result<Predictor, UseError> {
        Predictor::prepare(Opened::open(path)?, how.into(), device)
    }

    fn prepare(opened: Opened, how: How, device: &dyn Device) -> Result<Predictor, UseError> {
        opened.model.check_head()?;
        let graph = opened.model.graph()?;
        let shapes = op::shapes(&graph)?;
        let layer = how.explain.then(|| cam::layer(&graph, &shapes));
        let mode = match &layer {
            Some(Ok(layer)) => Mode::Explain { layer: *layer },
            _ => Mode::Infer,
        };
        let options = Options { mode, precision: how.precision, ..Options::infer(1) };
        let mut session = Session::to_run(device, Plan::build(&graph, options)?)?;
        let model = opened.hand_over(&mut session)?;
        let transform = Transform::new(model.preprocess, Augment::default())?;
        let threads = device.threads();
        Ok(Predictor {
            workers: Workers::new(Worker::new(session), threads),
            threads,
            transform,
            arch: model.arch.name(),
            classes: model.classes,
            precision: how.precision,
            confidence: model.confidence,
            input_shape: graph.input,
            features: shapes[graph.layer(graph.head()).inputs[0].0].len(),
            shapes,
            layer,
        })
    }

    /// The layer whose maps a heat map shows.
    ///
    /// # Errors
    /// No map of the network has more than one place.
    ///
    /// # Panics
    /// If the predictor was not [made for it](How::explain).
    pub fn layer(&self) -> Result<LayerId, UseError> {
        Ok(self.layer.clone().expect("the predictor explains")?)
    }

    /// Its network, options included.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Shape of its input.
    pub fn input_shape(&self) -> Shape {
        self.input_shape
    }

    /// Numbers of an embedding.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How its maps are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Top, left, height and width of the part of a picture that the network sees, in pixels.
    pub fn seen(&self, image: &Image) -> [f64; 4] {
        self.transform.seen(image)
    }

    /// The `top` most likely classes of the picture in a file, most likely first.
    ///
    /// # Errors
    /// The file is not a picture that can be read.
    pub fn file(&self, path: &Path, top: usize) -> Result<Vec<Guess>, UseError> {
        let mut image = Image::default();
        data::read_picture(path, &mut image)?;
        self.image(&image, top)
    }

    /// The `top` most likely classes of a picture, most likely first.
    ///
    /// # Errors
    /// The device fails, or the network's answer is not finite.
    pub fn image(&self, image: &Image, top: usize) -> Result<Vec<Guess>, UseError> {
        let answer = self.answer(image, Ask::default())?;
        Ok(self.guesses(&answer.logits, top))
    }

    /// Does `work` for each of `count` things on all threads, each of which computes for itself
    /// what it asks of this predictor, and tells `on` the results in order until it breaks. A
    /// machine that refuses threads, or memory for them, does it with fewer.
    pub fn each<T: Send>(
        &self,
        count: usize,
        work: impl Fn(usize) -> T + Sync,
        mut on: impl FnMut(usize, T) -> ControlFlow<()>,
    ) {
        let threads = self.threads.min(count);
        if threads <= 1 || !self.each_on(threads, count, &work, &mut on) {
            let _ = (0..count).try_for_each(|i| on(i, work(i)));
        }
    }

    /// The same on other threads than the caller's; `false` if the system gives none.
    fn each_on<T: Send>(
        &self,
        threads: usize,
        count: usize,
        work: &(impl Fn(usize) -> T + Sync),
        on: &mut impl FnMut(usize, T) -> ControlFlow<()>,
    ) -> bool {
        let _crowd = self.workers.crowd(threads);
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (send, results) = mpsc::sync_channel(threads);
            let spawn = |_| {
                let (send, next) = (send.clone(), &next);
                let run = move || {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        // Nobody receives once `on` has seen enough.
                        if i >= count || send.send((i, work(i))).is_err() {
                            return;
                        }
                    }
                };
                thread::Builder::new().spawn_scoped(scope, run).ok()
            };
            if (0..threads).map_while(spawn).count() == 0 {
                return false;
            }
            drop(send);
            let (mut early, mut told) = (BTreeMap::new(), 0);
            for (i, result) in results {
                early.insert(i, result);
                while let Some(result) = early.remove(&told) {
                    if on(told, result).is_break() {
                        return true;
                    }
                    told += 1;
                }
            }
            true
        })
    }

    /// What the network says of a picture.
    ///
    /// # Errors
    /// The device fails, the network's answer is not finite, or a heat map is wanted of a network
    /// that has none.
    ///
    /// # Panics
    /// If there is no such class, or a heat map is wanted of a predictor that was not
    /// [made for it](How::explain).
    pub fn answer(&self, image: &Image, ask: Ask) -> Result<Answer, UseError> {
        self.answer_with(ask, |x| self.transform.eval(image, x))
    }

    /// The same of an input that is resized, cropped and normalised: `[h, w, c]`.
    ///
    /// # Errors
    /// As [`Predictor::answer`].
    ///
    /// # Panics
    /// As [`Predictor::answer`], or if the length is another.
    pub fn answer_to_input(&self, input: &[f32], ask: Ask) -> Result<Answer, UseError> {
        self.answer_with(ask, |x| x.copy_from_slice(input))
    }

    fn answer_with(&self, ask: Ask, fill: impl FnOnce(&mut [f32])) -> Result<Answer, UseError> {
        let layer = ask.cam.map(|_| self.layer()).transpose()?;
        let answer = self.workers.with(ask.crowded, |worker| {
            let Worker { session, x, logits } = worker;
            fill(x);
            session.infer(x, logits)?;
            let embedding = ask.embedding.then(|| embedding(session)).transpose()?;
            let class = ask.cam.map(|look| match look {
                Look::Class(class) => class,
                Look::Likeliest => self.guesses(logits, 1)[0].class,
            });
            let cam = layer
                .zip(class)
                .map(|(layer, class)| cam::cam(session, layer, self.shapes[layer.0], class));
            Ok(Answer { logits: logits.clone(), embedding, cam: cam.transpose()? })
        })?;
        match answer.logits.iter().all(|x| x.is_finite()) {
            true => Ok(answer),
            false => Err(UseError::NotFinite { what: String::new(), arch: self.arch.clone() }),
        }
    }

    /// The `top` most likely classes by these logits, most likely first. The probabilities are
    /// calibrated if the model is.
    pub fn guesses(&self, logits: &[f32], top: usize) -> Vec<Guess> {
        let probabilities = self.probabilities(logits);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        let guess = |class: usize| Guess {
            class,
            label: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.into_iter().take(top).map(guess).collect()
    }

    /// The probability of each class by these logits, calibrated if the model is.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        softmax(logits, self.confidence.as_ref().map_or(1.0, |confidence| confidence.temperature))
    }

    /// How far an answer can be trusted: as far as the model is calibrated. How like the training
    /// pictures a picture is, is known of an answer with its [embedding](Ask::embedding).
    ///
    /// # Panics
    /// If the answer is another network's.
    pub fn verdict(&self, answer: &Answer) -> Verdict {
        let Some(Confidence { threshold, likeness, .. }) = &self.confidence else {
            return Verdict::default();
        };
        let most = self.probabilities(&answer.logits).into_iter().fold(0.0, f32::max);
        let sure = threshold.is_some_and(|threshold| most >= threshold);
        let likeness = likeness.as_ref().zip(answer.embedding.as_deref());
        let likeness = likeness.map(|(known, embedding)| (known.of(embedding), known.limit));
        Verdict {
            sure: Some(sure),
            likeness: likeness.map(|(share, _)| share),
            unlike: likeness.map(|(share, limit)| share < limit),
        }
    }

    /// How sure the model may be of its answers, if it was calibrated.
    pub fn confidence(&self) -> Option<&Confidence> {
        self.confidence.as_ref()
    }
}

/// What the last step of the forward pass, the head's, read for the picture inferred last.
fn embedding(session: &Session) -> Result<Vec<f32>, ExecError> {
    let plan = session.plan();
    let head = &plan.steps[plan.forward.end - 1];
    session.get(head.reads[0])
}

#[cfg(test)]
mod tests;
