//! Classifies pictures with a trained model, and shows where it looked.

mod cam;
mod legend;
mod overlay;
mod workers;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use resnet_engine::exec::{self, Device, ExecError, Session};
use resnet_engine::graph::{LayerId, Shape};
use resnet_engine::op;
use resnet_engine::plan::{Mode, Options, Plan};
use resnet_engine::step::Precision;

use crate::data::{self, Augment, Image, Transform};
use crate::measure::evaluate::{UseError, softmax};
use crate::model::{Model, Opened};
use workers::{Worker, Workers};

pub use cam::Cam;

/// A model ready to classify pictures, from any number of threads at once.
pub struct Predictor {
    workers: Workers,
    threads: usize,
    transform: Transform,
    arch: String,
    classes: Vec<String>,
    /// The layer whose maps are looked at, where the predictor explains.
    layer: Option<LayerId>,
    shape_of_layer: Shape,
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability.
    pub probability: f32,
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
    /// Prepares a model, whose weights move in, to compute with maps of some precision.
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn new(
        model: Model,
        precision: Precision,
        device: &dyn Device,
    ) -> Result<Predictor, UseError> {
        Predictor::prepare(model.into(), precision, device, None)
    }

    /// The same of a model file, whose weights are read as they are needed.
    ///
    /// # Errors
    /// The file cannot be read, or its parts do not fit each other.
    pub fn open(
        path: &Path,
        precision: Precision,
        device: &dyn Device,
    ) -> Result<Predictor, UseError> {
        Predictor::prepare(Opened::open(path)?, precision, device, None)
    }

    /// Prepares a model to classify and to explain, in f32; see [`Predictor::explain`].
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn explaining(model: Model, device: &dyn Device) -> Result<Predictor, UseError> {
        let layer = cam::layer(&model.graph()?)?;
        Predictor::prepare(model.into(), Precision::F32, device, Some(layer))
    }

    fn prepare(
        opened: Opened,
        precision: Precision,
        device: &dyn Device,
        layer: Option<LayerId>,
    ) -> Result<Predictor, UseError> {
        let options = Options {
            mode: layer.map_or(Mode::Infer, |layer| Mode::Explain { layer }),
            precision,
            ..Options::infer(1)
        };
        opened.model.check_head()?;
        let graph = opened.model.graph()?;
        let shape_of_layer = op::shapes(&graph)?[layer.unwrap_or(graph.output()).0];
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
            layer,
            shape_of_layer,
        })
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
        let logits = self.logits(image)?;
        self.finite(&logits)?;
        Ok(self.top(&logits, top))
    }

    fn finite(&self, logits: &[f32]) -> Result<(), UseError> {
        match logits.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(UseError::NotFinite { what: String::new(), arch: self.arch.clone() }),
        }
    }

    /// The logits of a picture, one a class.
    ///
    /// # Errors
    /// The device fails.
    pub fn logits(&self, image: &Image) -> Result<Vec<f32>, UseError> {
        let logits = self.workers.with(|worker| {
            self.run(worker, image)?;
            Ok(worker.logits.clone())
        });
        Ok(logits?)
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

    /// The forward pass of a picture.
    fn run(&self, worker: &mut Worker, image: &Image) -> Result<(), ExecError> {
        self.transform.eval(image, &mut worker.x);
        worker.session.infer(&worker.x, &mut worker.logits)
    }

    fn top(&self, logits: &[f32], top: usize) -> Vec<Guess> {
        let probabilities = softmax(logits);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let guess = |class: usize| Guess {
            class,
            label: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.into_iter().take(top).map(guess).collect()
    }
}

#[cfg(test)]
mod tests;
