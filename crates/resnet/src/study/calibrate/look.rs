//! Asks a network about pictures, one after another, and keeps what a calibration needs.

use std::ops::ControlFlow;

use crate::data::{DataError, Dataset, Image};
use crate::measure::confidence::{Confidence, softmax};
use crate::measure::evaluate::UseError;
use crate::measure::metric::predicted;
use crate::measure::predict::{Answer, Ask, Predictor};
use crate::model::confidence::Space;

/// Warnings that are kept.
const WARNINGS: usize = 100;

/// What a network said of pictures.
#[derive(Default)]
pub(super) struct Seen {
    /// `[n, classes]`.
    pub(super) logits: Vec<f32>,
    /// `[n]`.
    pub(super) labels: Vec<u32>,
    /// To the training pictures: `[n]`, or empty where nothing is known of these.
    pub(super) distances: Vec<f32>,
}

impl Seen {
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact((self.logits.len() / self.labels.len().max(1)).max(1))
    }

    /// The largest probability of each answer at a temperature, and whether it is right.
    pub(super) fn answers(&self, temperature: f64) -> Vec<(f32, bool)> {
        let answer = |(row, &label): (&[f32], &u32)| {
            let most = softmax(row, temperature).into_iter().fold(0.0, f32::max);
            (most, predicted(row) == Some(label))
        };
        self.rows().zip(&self.labels).map(answer).collect()
    }

    /// log sum exp of the logits: the less, the more unlike (Liu et al. 2020, eq. 4, negated).
    pub(super) fn energies(&self) -> Vec<f32> {
        let energy = |row: &[f32]| {
            let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let sum: f64 = row.iter().map(|&z| (f64::from(z) - most).exp()).sum();
            (most + sum.ln()) as f32
        };
        self.rows().map(energy).collect()
    }

    /// Likeness of each picture; empty where it is not known.
    pub(super) fn likeness(&self, confidence: &Confidence) -> Vec<f32> {
        let Some(known) = &confidence.likeness else { return Vec::new() };
        self.distances.iter().map(|&distance| known.share(distance)).collect()
    }
}

/// A network that is asked, and what is told meanwhile.
pub(super) struct Looker<'a> {
    predictor: &'a Predictor,
    on: &'a mut dyn FnMut(usize, usize),
    done: usize,
    total: usize,
    warnings: Vec<String>,
    unread: usize,
}

impl<'a> Looker<'a> {
    /// One that will be asked about `total` pictures.
    pub(super) fn new(
        predictor: &'a Predictor,
        total: usize,
        on: &'a mut dyn FnMut(usize, usize),
    ) -> Looker<'a> {
        Looker { predictor, on, done: 0, total, warnings: Vec::new(), unread: 0 }
    }

    /// Warnings about pictures that could not be read.
    pub(super) fn warnings(self) -> Vec<String> {
        let (mut warnings, unread) = (self.warnings, self.unread);
        if unread > warnings.len() {
            warnings.push(format!("and {} more pictures cannot be read", unread - warnings.len()));
        }
        warnings
    }

    /// Gives `take` the embedding and label of each picture, in their order.
    pub(super) fn embeddings(
        &mut self,
        data: &dyn Dataset,
        indices: Vec<u32>,
        take: &mut dyn FnMut(&[f32], u32),
    ) -> Result<(), UseError> {
        let ask = Ask { embedding: true, ..Ask::default() };
        let work = |answer: Answer| answer.embedding.expect("it was asked for");
        self.each(data, &indices, ask, work, |embedding, label| take(&embedding, label))
    }

    /// What the network says of each picture, and how far each is from the training pictures,
    /// where something is known of these.
    pub(super) fn see(
        &mut self,
        data: &dyn Dataset,
        indices: Vec<u32>,
        space: Option<&Space>,
    ) -> Result<Seen, UseError> {
        let mut seen = Seen::default();
        let ask = Ask { embedding: space.is_some(), ..Ask::default() };
        let work = |answer: Answer| {
            let known = space.zip(answer.embedding.as_deref());
            (answer.logits, known.map(|(space, embedding)| space.distance(embedding)))
        };
        self.each(data, &indices, ask, work, |(logits, distance), label| {
            seen.logits.extend(logits);
            seen.labels.push(label);
            seen.distances.extend(distance);
        })?;
        Ok(seen)
    }

    fn each<T: Send>(
        &mut self,
        data: &dyn Dataset,
        indices: &[u32],
        ask: Ask,
        work: impl Fn(Answer) -> T + Sync,
        mut take: impl FnMut(T, u32),
    ) -> Result<(), UseError> {
        let predictor = self.predictor;
        let answer = |i: usize| {
            let mut image = Image::default();
            data.read(indices[i] as usize, &mut image)?;
            Ok(work(predictor.answer(&image, ask)?))
        };
        let mut failed = None;
        predictor.each(indices.len(), answer, |i, result: Result<T, UseError>| {
            let index = indices[i] as usize;
            match result {
                Ok(found) => take(found, data.label(index)),
                Err(UseError::Data(error)) if !error.is_of_system() => self.warn(&error),
                Err(UseError::NotFinite { arch, .. }) => {
                    failed = Some(UseError::NotFinite { what: data.name(index), arch });
                }
                Err(error) => failed = Some(error),
            }
            self.done += 1;
            (self.on)(self.done, self.total);
            match failed {
                None => ControlFlow::Continue(()),
                Some(_) => ControlFlow::Break(()),
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn warn(&mut self, error: &DataError) {
        self.unread += 1;
        if self.warnings.len() < WARNINGS {
            self.warnings.push(error.to_string());
        }
    }
}
