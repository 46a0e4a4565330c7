//! What a model knows of its own answers: how sure it may be of them, and how the pictures look
//! that it learned from. A part of its file: numbers in one text, statistics as arrays beside the
//! weights.
//!
//! | array | shape | content |
//! |---|---|---|
//! | `confidence.quantiles` | `[101]` | rising distances of held-out pictures: the least, those that 1, 2, ... 99 % of them do not exceed, the largest |
//! | `confidence.means` | `[k, features]` | of the k classes with pictures, the mean of whitened features |
//! | `confidence.factor` | `[features (features + 1) / 2]` | L, lower triangle row by row, of the features' covariance L L^T |

use std::collections::{BTreeMap, HashMap};

use resnet_formats::Array;
use serde::{Deserialize, Serialize};

use super::error::ModelError;
use super::file::Model;
use super::layout::{misvalued, none_of};
use resnet_engine::op;

/// Metadata key of the numbers.
pub(super) const CONFIDENCE: &str = "confidence";
/// Names of the arrays.
const QUANTILES: &str = "confidence.quantiles";
const MEANS: &str = "confidence.means";
const FACTOR: &str = "confidence.factor";

/// Quantiles of distances, from 0 to 100 %.
pub(crate) const PARTS: usize = 101;

/// How sure a model may be of its answers, as held-out pictures showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Confidence {
    /// T: probabilities are softmax(logits / T). Above 0.
    pub temperature: f64,
    /// Answers whose probability is at least this are sure; `None` if none may be.
    pub threshold: Option<f32>,
    /// The share of sure answers that was wanted to be right, between 0 and 1.
    pub precision: f64,
    /// The pictures that showed it.
    pub data: String,
    /// How many they were.
    pub count: u64,
    /// How pictures look that are like those that the model learned from, if that is known.
    pub likeness: Option<Likeness>,
}

/// How features of training pictures lie, and how far held-out pictures are from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Likeness {
    /// A picture is unlike the training pictures if a smaller share of held-out pictures than this
    /// is farther from them.
    pub limit: f32,
    /// `[PARTS]`.
    pub(crate) quantiles: Vec<f32>,
    pub(crate) space: Space,
}

/// Where features of training pictures lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Space {
    /// Numbers that the last layer reads.
    pub(crate) features: usize,
    /// `[k, features]`.
    pub(crate) means: Vec<f32>,
    /// `[features (features + 1) / 2]`.
    pub(crate) factor: Vec<f32>,
}

/// The text of a file.
#[derive(Serialize, Deserialize)]
struct Text {
    temperature: f64,
    threshold: Option<f32>,
    precision: f64,
    data: String,
    count: u64,
    /// [`Likeness::limit`]; there are arrays where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unlike: Option<f32>,
}

/// Numbers of a lower triangle.
pub(crate) fn triangle(features: usize) -> usize {
    features * (features + 1) / 2
}

impl Confidence {
    /// The text of a file, with or without what its arrays belong to.
    fn text(&self, whole: bool) -> String {
        let Confidence { temperature, threshold, precision, data, count, likeness } = self;
        let text = Text {
            temperature: *temperature,
            threshold: *threshold,
            precision: *precision,
            data: data.clone(),
            count: *count,
            unlike: likeness.as_ref().filter(|_| whole).map(|likeness| likeness.limit),
        };
        serde_json::to_string(&text).expect("names and numbers always become JSON")
    }

    /// What a file's text says, still without arrays.
    fn parse(text: &str) -> Result<Confidence, String> {
        let text: Text = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let likeness = text.unlike.map(|limit| {
            let (quantiles, space) = (Vec::new(), Space::default());
            Likeness { limit, quantiles, space }
        });
        let Text { temperature, threshold, precision, data, count, .. } = text;
        let found = Confidence { temperature, threshold, precision, data, count, likeness };
        found.check_numbers()?;
        Ok(found)
    }

    fn check_numbers(&self) -> Result<(), String> {
        let t = self.temperature;
        if !(t.is_finite() && t > 0.0) {
            return Err(format!("has the temperature {t}, expected one above 0"));
        }
        let shares = [
            ("threshold", self.threshold.map(f64::from), true),
            ("precision", Some(self.precision), false),
            ("unlike", self.likeness.as_ref().map(|likeness| likeness.limit.into()), true),
        ];
        for (name, share, ends) in shares {
            let fits = |x: f64| (x > 0.0 && x < 1.0) || (ends && (x == 0.0 || x == 1.0));
            if let Some(x) = share.filter(|&x| !fits(x)) {
                return Err(format!("has `{name}` {x}, expected a share from 0 to 1"));
            }
        }
        Ok(())
    }
}

/// The shapes of the arrays of a network, as far as they are known before they are read, or what is
/// wrong with those that are found.
fn misshapen(
    features: usize,
    classes: usize,
    found: impl Fn(&str) -> Option<Vec<usize>>,
) -> impl Iterator<Item = String> {
    let fits = move |name: &str, dims: &[usize]| match name {
        QUANTILES => dims == [PARTS],
        MEANS => matches!(dims, [k, width] if (1..=classes).contains(k) && *width == features),
        _ => dims == [triangle(features)],
    };
    let expected = [
        (QUANTILES, format!("[{PARTS}]")),
        (MEANS, format!("[1 to {classes}, {features}]")),
        (FACTOR, format!("[{}]", triangle(features))),
    ];
    let problems = expected.into_iter().filter_map(move |(name, expected)| match found(name) {
        None => Some(format!("`{name}` is missing")),
        Some(dims) if !fits(name, &dims) => {
            Some(format!("`{name}` is {dims:?}, expected {expected}"))
        }
        Some(_) => None,
    });
    problems.collect::<Vec<_>>().into_iter()
}

impl Likeness {
    /// What is wrong with the numbers, whose shapes are right.
    fn misvalued(&self) -> Option<String> {
        let Space { features, factor, .. } = &self.space;
        if !self.quantiles.is_sorted() {
            return Some(format!("`{QUANTILES}` does not rise"));
        }
        let flat = |i: &usize| factor[triangle(*i) + i] <= 0.0;
        let at = (0..*features).find(flat)?;
        Some(format!("`{FACTOR}` holds {} for feature {at}", factor[triangle(at) + at]))
    }
}

impl Model {
    /// Takes the text out of a file's.
    pub(super) fn take_confidence(
        &mut self,
        metadata: &mut BTreeMap<String, String>,
    ) -> Result<(), ModelError> {
        if let Some(text) = metadata.remove(CONFIDENCE) {
            let parsed = Confidence::parse(&text);
            self.confidence = Some(parsed.map_err(|problem| self.unsure(CONFIDENCE, problem))?);
        }
        Ok(())
    }

    /// Whether an array is one of the statistics that are still to be read.
    pub(super) fn awaits(&self, name: &str) -> bool {
        self.likeness().is_some() && [QUANTILES, MEANS, FACTOR].contains(&name)
    }

    fn likeness(&self) -> Option<&Likeness> {
        self.confidence.as_ref()?.likeness.as_ref()
    }

    /// Checks the shapes that a file says its statistics have, before memory is taken for them.
    pub(super) fn check_statistics(
        &self,
        found: &HashMap<&str, &[usize]>,
    ) -> Result<(), ModelError> {
        if self.likeness().is_none() {
            return Ok(());
        }
        let shape = |name: &str| found.get(name).map(|dims| dims.to_vec());
        let problems = misshapen(self.features()?, self.classes.len(), shape);
        none_of(problems).map_err(|problem| self.misfit(problem))
    }

    /// Takes the statistics, where the text says that there are some, out of the arrays.
    pub(super) fn take_statistics(
        &mut self,
        arrays: &mut BTreeMap<String, Array>,
    ) -> Result<(), ModelError> {
        if self.likeness().is_none() {
            return Ok(());
        }
        let shape = |name: &str| arrays.get(name).map(|array| array.shape().to_vec());
        let features = self.features()?;
        none_of(misshapen(features, self.classes.len(), shape))
            .map_err(|problem| self.misfit(problem))?;
        let mut take = |name: &str| {
            let array = arrays.remove(name).expect("its shape was looked at");
            match misvalued(name, false, array.to_f32().as_deref()) {
                Some(problem) => Err(self.misfit(problem)),
                None => Ok(array.to_f32().map(|values| values.into_owned()).unwrap_or_default()),
            }
        };
        let (quantiles, means, factor) = (take(QUANTILES)?, take(MEANS)?, take(FACTOR)?);
        let likeness = self.confidence.as_mut().and_then(|found| found.likeness.as_mut());
        let likeness = likeness.expect("it was there");
        likeness.quantiles = quantiles;
        likeness.space = Space { features, means, factor };
        match likeness.misvalued() {
            Some(problem) => Err(self.misfit(problem)),
            None => Ok(()),
        }
    }

    /// Checks that what is known of its answers is of this model: it may have been put there.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check_confidence(&self) -> Result<(), ModelError> {
        let Some(confidence) = &self.confidence else { return Ok(()) };
        confidence.check_numbers().map_err(|problem| self.unsure(CONFIDENCE, problem))?;
        let Some(likeness) = &confidence.likeness else { return Ok(()) };
        let features = self.features()?;
        let Space { means, factor, .. } = &likeness.space;
        let shape = |name: &str| {
            Some(match name {
                MEANS => vec![means.len() / features, means.len() % features + features],
                FACTOR => vec![factor.len()],
                _ => vec![likeness.quantiles.len()],
            })
        };
        none_of(misshapen(features, self.classes.len(), shape).chain(likeness.misvalued()))
            .map_err(|problem| self.misfit(problem))
    }

    /// The texts of a file, `whole` where its arrays go with it.
    pub(super) fn add_confidence(&self, metadata: &mut BTreeMap<String, String>, whole: bool) {
        if let Some(confidence) = &self.confidence {
            metadata.insert(CONFIDENCE.into(), confidence.text(whole));
        }
    }

    /// The statistics as arrays.
    pub(super) fn statistics(&self) -> Vec<(&'static str, Array)> {
        let Some(Likeness { quantiles, space, .. }) = self.likeness() else { return Vec::new() };
        let Space { features, means, factor } = space;
        vec![
            (QUANTILES, Array::f32(vec![quantiles.len()], quantiles.clone())),
            (MEANS, Array::f32(vec![means.len() / features, *features], means.clone())),
            (FACTOR, Array::f32(vec![factor.len()], factor.clone())),
        ]
    }

    /// Numbers that the last layer reads of a picture: the length of its embedding.
    fn features(&self) -> Result<usize, ModelError> {
        let path = || self.path().to_owned();
        let graph = self.graph().map_err(|error| ModelError::Arch { path: path(), error })?;
        let shapes =
            op::shapes(&graph).map_err(|error| ModelError::Shape { path: path(), error })?;
        let head = graph.layer(graph.head());
        Ok(head.inputs.first().map_or(graph.input, |input| shapes[input.0]).len())
    }

    fn unsure(&self, key: &'static str, problem: String) -> ModelError {
        ModelError::Confidence { path: self.path().to_owned(), key, problem }
    }
}

#[cfg(test)]
mod tests;
