//! Calibrates a model on pictures that it did not learn from, and says what that is worth.
//!
//! The held-out pictures are cut into halves by a shuffle that is always the same. One half sets
//! temperature, threshold and distances ([`confidence`]); all that is
//! reported is of the other.

mod look;
mod page;
mod save;

use std::sync::Arc;

use crate::base::rng::Rng;
use crate::data::Dataset;
use crate::measure::confidence::{self, Confidence, Likeness, NoOptimum, Statistics};
use crate::measure::evaluate::UseError;
use crate::measure::metric::{Bin, Calibration, CrossEntropy, Metric};
use crate::measure::predict::Predictor;
use crate::model::{Model, ModelError};
use look::{Looker, Seen};
use resnet_engine::exec::Device;
use resnet_engine::step::Precision;

pub use save::{Report, save};

/// Most training pictures whose features are looked at; of more, as many evenly spaced ones.
pub const MOST: usize = 20_000;
/// Fewest held-out pictures.
pub const FEWEST: usize = 20;

/// Why a model cannot be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The share of sure answers that shall be right is none.
    #[error(
        "{0} of sure answers cannot be right; expected a share above 0 and below 1, such as 0.99"
    )]
    Wanted(f64),
    /// There are hardly any pictures.
    #[error(
        "{found} held-out pictures can be read, too few to calibrate on; expected at least {FEWEST}, \
         better some hundred, of the kind that the model is for"
    )]
    TooFew {
        /// Pictures that can be read.
        found: usize,
    },
    /// The model or a picture.
    #[error(transparent)]
    Use(#[from] UseError),
}

impl From<ModelError> for CalibrateError {
    fn from(error: ModelError) -> CalibrateError {
        UseError::from(error).into()
    }
}

/// The pictures that a calibration looks at.
#[derive(Clone)]
pub struct Pictures {
    /// Those that the model learned from, if they are there: only then can it be told whether a
    /// picture is like them.
    pub train: Option<Arc<dyn Dataset>>,
    /// Those that it did not learn from, of the same kind.
    pub held_out: Arc<dyn Dataset>,
    /// Of another kind, to see whether they are told apart; classes do not matter.
    pub other: Option<Arc<dyn Dataset>>,
}

/// How to calibrate.
#[derive(Clone, Debug)]
pub struct How {
    /// The share of sure answers that shall be right, between 0 and 1.
    pub wanted: f64,
    /// What the held-out pictures are called.
    pub data: String,
    /// How maps are stored.
    pub precision: Precision,
}

/// A calibration, and what it is worth on pictures that it did not see.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// What the model may keep.
    pub confidence: Confidence,
    /// Why the temperature is 1 and was not fitted, if it was not.
    pub no_optimum: Option<NoOptimum>,
    /// Training pictures that were looked at.
    pub learned: usize,
    /// The other half.
    pub tested: Tested,
    /// The pictures of another kind.
    pub against: Option<Against>,
    /// Warnings about pictures that could not be read; of many, the first, and how many more.
    pub warnings: Vec<String>,
}

/// What the pictures that nothing was fitted to say.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Pictures.
    pub count: usize,
    /// Those whose most likely class is right.
    pub right: usize,
    /// At temperature 1.
    pub before: Quality,
    /// At the model's.
    pub after: Quality,
    /// Sure answers.
    pub sure: usize,
    /// Those that are right.
    pub sure_right: usize,
    /// Pictures called unlike the training pictures, where that is known.
    pub unlike: Option<usize>,
    /// Calibrated confidence of each answer, and whether it is right.
    answers: Vec<(f32, bool)>,
    /// Likeness of each picture; empty where it is not known.
    likeness: Vec<f32>,
}

/// How good probabilities are.
#[derive(Clone, Debug)]
pub struct Quality {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Expected calibration error.
    pub ece: f64,
    /// How often answers of each confidence are right.
    pub bins: Vec<Bin>,
}

/// How well pictures of another kind are told apart.
#[derive(Clone, Debug)]
pub struct Against {
    /// Pictures.
    pub count: usize,
    /// Those called unlike the training pictures, where that is known.
    pub unlike: Option<usize>,
    /// The areas under the curve (AUROC) of `likeness`, where it is known, and beside it of what
    /// needs no statistics: `probability`, the largest, and `energy` (Liu et al. 2020).
    pub areas: Vec<(&'static str, f64)>,
    /// Likeness of each picture; empty where it is not known.
    likeness: Vec<f32>,
}

/// Fits what a model may say of its own answers. The result depends on the model and the pictures,
/// and on nothing else. `on` hears how many pictures of how many are done.
///
/// # Errors
/// [`CalibrateError`].
pub fn calibrate(
    model: &Model,
    pictures: &Pictures,
    how: &How,
    device: &dyn Device,
    on: &mut dyn FnMut(usize, usize),
) -> Result<Calibrated, CalibrateError> {
    if !(how.wanted > 0.0 && how.wanted < 1.0) {
        return Err(CalibrateError::Wanted(how.wanted));
    }
    let relabel = |data: &Arc<dyn Dataset>| model.relabel(data.clone()).map_err(UseError::from);
    let held_out = relabel(&pictures.held_out)?;
    let train = pictures.train.as_ref().map(relabel).transpose()?;
    let spread = train.as_ref().map_or(0, |train| train.len().min(MOST));
    let others = pictures.other.as_ref().map_or(0, |other| other.len());
    let mut model = model.clone();
    model.confidence = None;
    let predictor = Predictor::new(model, how.precision, device)?;
    let mut looker = Looker::new(&predictor, spread + held_out.len() + others, on);

    let (mut space, mut learned) = (None, 0);
    if let Some(train) = &train {
        let len = train.len();
        let indices = (0..spread).map(|i| (i as u64 * len as u64 / spread as u64) as u32).collect();
        let mut statistics = None;
        looker.embeddings(train.as_ref(), indices, &mut |x, label| {
            let classes = predictor.classes().len();
            statistics.get_or_insert_with(|| Statistics::new(x.len(), classes)).add(x, label);
            learned += 1;
        })?;
        space = statistics.and_then(Statistics::space);
    }
    let mut all: Vec<u32> = (0..held_out.len() as u32).collect();
    Rng::named(0, "halves of a calibration").shuffle(&mut all);
    let mut test = all.split_off(held_out.len().div_ceil(2));
    all.sort_unstable();
    test.sort_unstable();
    let fit = looker.see(held_out.as_ref(), all, space.as_ref())?;
    let test = looker.see(held_out.as_ref(), test, space.as_ref())?;
    let found = fit.labels.len() + test.labels.len();
    if found < FEWEST || test.labels.is_empty() {
        return Err(CalibrateError::TooFew { found });
    }

    let fitted = confidence::temperature(&fit.logits, &fit.labels);
    let temperature = fitted.map_or(1.0, rounded);
    let confidence = Confidence {
        temperature,
        threshold: confidence::threshold(&fit.answers(temperature), how.wanted),
        precision: how.wanted,
        data: how.data.clone(),
        count: fit.labels.len() as u64,
        likeness: space.clone().map(|space| Likeness::new(space, fit.distances)),
    };
    let tested = Tested::of(&test, &confidence);
    let against = match &pictures.other {
        None => None,
        Some(other) => {
            let indices = (0..other.len() as u32).collect();
            let seen = looker.see(other.as_ref(), indices, space.as_ref())?;
            Some(Against::of(&seen, &test, &confidence))
        }
    };
    Ok(Calibrated {
        confidence,
        no_optimum: fitted.err(),
        learned,
        tested,
        against,
        warnings: looker.warnings(),
    })
}

/// A number with as many digits as make sense and as every reader of JSON reads alike.
fn rounded(x: f64) -> f64 {
    format!("{x:.6e}").parse().expect("a number was written")
}

impl Tested {
    fn of(seen: &Seen, confidence: &Confidence) -> Tested {
        let answers = seen.answers(confidence.temperature);
        let is_sure = |confident: f32| confidence.threshold.is_some_and(|least| confident >= least);
        let sure: Vec<bool> =
            answers.iter().filter(|answer| is_sure(answer.0)).map(|answer| answer.1).collect();
        let likeness = seen.likeness(confidence);
        Tested {
            count: answers.len(),
            right: answers.iter().filter(|answer| answer.1).count(),
            before: Quality::of(seen, 1.0),
            after: Quality::of(seen, confidence.temperature),
            sure: sure.len(),
            sure_right: sure.into_iter().filter(|right| *right).count(),
            unlike: unlike(&likeness, confidence),
            answers,
            likeness,
        }
    }
}

/// How many of these likenesses are below the limit, where there is one.
fn unlike(likeness: &[f32], confidence: &Confidence) -> Option<usize> {
    let limit = confidence.likeness.as_ref()?.limit;
    Some(likeness.iter().filter(|&&share| share < limit).count())
}

impl Quality {
    fn of(seen: &Seen, temperature: f64) -> Quality {
        let divide = |&z: &f32| (f64::from(z) / temperature) as f32;
        let logits: Vec<f32> = seen.logits.iter().map(divide).collect();
        let (mut loss, mut calibration) = (CrossEntropy::default(), Calibration::default());
        loss.update(&logits, &seen.labels);
        calibration.update(&logits, &seen.labels);
        let bins = calibration.bins().to_vec();
        Quality { loss: loss.value(), ece: calibration.value(), bins }
    }
}

impl Against {
    fn of(other: &Seen, own: &Seen, confidence: &Confidence) -> Against {
        let mut areas = Vec::new();
        let mut add = |name, of: &dyn Fn(&Seen) -> Vec<f32>| {
            areas.push((name, confidence::auroc(&of(other), &of(own))));
        };
        if confidence.likeness.is_some() {
            // Where the likeness has its ends, distances still differ.
            add("likeness", &|seen| seen.distances.iter().map(|d| -d).collect());
        }
        add("probability", &|seen| {
            seen.answers(confidence.temperature).into_iter().map(|(most, _)| most).collect()
        });
        add("energy", &Seen::energies);
        let likeness = other.likeness(confidence);
        Against {
            count: other.rows().count(),
            unlike: unlike(&likeness, confidence),
            areas,
            likeness,
        }
    }
}

#[cfg(test)]
mod tests;
