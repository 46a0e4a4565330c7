//! Measures a network on a data set.

use std::sync::Arc;

use crate::arch::ArchError;
use crate::data::{self, Augment, DataError, Dataset, Loader, LoaderOptions, Transform};
use crate::exec::{Backend, Cpu, NoMemory};
use crate::metric::{self, Confusion, METRICS};
use crate::op::ShapeError;
use crate::plan::{Options, Plan};
use crate::weights::{Model, ModelError};

/// Most images in a batch of an evaluation: enough to keep the cores busy, few enough to need little memory.
pub const BATCH: usize = 100;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UseError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its network.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A layer of it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Its plan needs too much memory.
    #[error(transparent)]
    Memory(#[from] NoMemory),
    /// A picture, the data or the preprocessing.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Loader threads that keep up with `threads` that compute: pictures of one size lie in memory and cost little, others are
/// decoded and resized.
pub fn loader_workers(data: &dyn Dataset, threads: usize) -> usize {
    if data.shape().is_some() {
        1
    } else {
        threads.min(MOST_WORKERS)
    }
}

/// Most loader threads; each holds batches in memory.
const MOST_WORKERS: usize = 16;

/// Evaluates a model file's network on a data set, whose classes are matched to the model's by name.
///
/// # Errors
/// The model's parts do not fit each other, the data has a class that the model does not know, or an image cannot be read.
pub fn evaluate_model(
    model: &Model,
    data: Arc<dyn Dataset>,
    threads: usize,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, UseError> {
    let data = data::with_classes(data, &model.classes)?;
    let batch = BATCH.min(data.len()).max(1);
    let plan = Plan::build(&model.graph()?, Options::infer(batch))?;
    model.check(&plan)?;
    let mut cpu = Cpu::new(plan, threads)?;
    model.apply(&mut cpu)?;
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let workers = loader_workers(data.as_ref(), threads);
    let loader = Loader::new(data, transform, LoaderOptions::eval(batch, workers))?;
    Ok(evaluate(&mut cpu, &loader, on)?)
}

/// What a network does on a data set.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Value of each of [`METRICS`], by name and in their order.
    pub values: Vec<(&'static str, f64)>,
    /// Images.
    pub count: u64,
    /// Images whose most likely class is wrong.
    pub wrong: u64,
    /// How often each class was taken for each other.
    pub confusion: Confusion,
    /// Every image that was misclassified, in the data's order.
    pub mistakes: Vec<Mistake>,
    /// Warnings about pictures that could not be read.
    pub warnings: Vec<String>,
}

/// A misclassified image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Its index in the data.
    pub index: u32,
    /// Its class.
    pub label: u32,
    /// The class it was taken for; `None` if the network's outputs were not numbers.
    pub predicted: Option<u32>,
    /// The probability given to that class.
    pub probability: f32,
}

impl Evaluation {
    /// The value of a metric; NaN if there is none of this name.
    pub fn value(&self, name: &str) -> f64 {
        self.values
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(f64::NAN, |(_, value)| *value)
    }
}

/// Runs every image of `loader` through a backend prepared for inference with the loader's batch, and calls `on` with the
/// number of images done.
///
/// # Errors
/// An image cannot be read.
pub fn evaluate(
    backend: &mut dyn Backend,
    loader: &Loader,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, DataError> {
    let (input, logits_slot) = (backend.plan().input, backend.plan().logits);
    let (steps, classes) = (backend.plan().forward.clone(), backend.plan().classes);
    let mut logits = vec![0.0; backend.plan().options.batch * classes];
    let mut metrics: Vec<_> = METRICS.iter().map(|row| (row.name, (row.new)())).collect();
    let mut confusion = Confusion::default();
    let (mut mistakes, mut warnings, mut count) = (Vec::new(), Vec::new(), 0);
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        warnings.extend(batch.warnings.iter().map(ToString::to_string));
        backend.write(input, &batch.x);
        backend.run(steps.clone());
        backend.read(logits_slot, &mut logits);
        let (rows, labels) = (
            &logits[..batch.count * classes],
            &batch.labels[..batch.count],
        );
        metrics
            .iter_mut()
            .for_each(|(_, metric)| metric.update(rows, labels));
        confusion.update(rows, labels);
        for (i, row) in rows.chunks_exact(classes).enumerate() {
            let predicted = metric::predicted(row);
            if predicted != Some(labels[i]) {
                let probability = predicted.map_or(f32::NAN, |p| softmax(row)[p as usize]);
                mistakes.push(Mistake {
                    index: batch.indices[i],
                    label: labels[i],
                    predicted,
                    probability,
                });
            }
        }
        count += batch.count;
        on(count);
    }
    if count == 0 {
        return Err(DataError::Loader(
            "none of the pictures to evaluate on can be read".into(),
        ));
    }
    let values = metrics
        .iter()
        .map(|(name, metric)| (*name, metric.value()))
        .collect();
    Ok(Evaluation {
        values,
        count: count as u64,
        wrong: mistakes.len() as u64,
        confusion,
        mistakes,
        warnings,
    })
}

/// Probabilities of one row of logits.
pub fn softmax(row: &[f32]) -> Vec<f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = row.iter().map(|&l| f64::from(l - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| (p / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn probabilities_add_up_and_do_not_overflow() {
        let p = softmax(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
        assert!((softmax(&[0.3, -2.0, 1.7]).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
