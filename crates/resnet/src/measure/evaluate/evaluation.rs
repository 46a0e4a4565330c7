//! What an evaluation comes to.

use super::shown::Shown;
use super::worst::Mistakes;
use crate::measure::metric::{Calibration, Confusion};

/// What a network does on a data set.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Value of each metric by name: `top1`, `top5`, `loss` (cross-entropy, in nats), `ece` (the
    /// expected calibration error) and `macro_f1`.
    pub values: Vec<(&'static str, f64)>,
    /// Images.
    pub count: u64,
    /// Images whose most likely class is wrong.
    pub wrong: u64,
    /// How often each class was taken for each other.
    pub confusion: Confusion,
    /// How often predictions of each confidence were right.
    pub calibration: Calibration,
    /// The worst mistakes, and examples of each.
    pub mistakes: Mistakes,
    /// What it would be without the model's calibration, if it has one.
    pub uncalibrated: Option<Uncalibrated>,
    /// What a few pictures, always the same of the same data, were taken for, as far as they could
    /// be read.
    pub shown: Vec<Shown>,
    /// Images whose logits are not all finite, by index; they count as wrong.
    pub not_finite: Vec<u32>,
    /// Warnings about pictures that could not be read; of many, the first, and how many more.
    pub warnings: Vec<String>,
}

/// What a calibration changes of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uncalibrated {
    /// By which the logits were divided.
    pub temperature: f64,
    /// The cross-entropy without it.
    pub loss: f64,
    /// The expected calibration error without it.
    pub ece: f64,
}

impl Evaluation {
    /// The value of a metric; NaN if there is none of this name.
    pub fn value(&self, name: &str) -> f64 {
        self.values.iter().find(|(n, _)| *n == name).map_or(f64::NAN, |(_, value)| *value)
    }
}
