//! How far an answer can be trusted: the temperature that makes probabilities mean what they say,
//! the threshold from which on answers are right as often as is wanted, and how like the training
//! pictures a picture is.

mod auroc;
mod likeness;
mod temperature;
mod threshold;

pub use auroc::auroc;
pub(crate) use likeness::Statistics;
pub use temperature::{NoOptimum, temperature};
pub use threshold::{DOUBT, fewest, shown, threshold};

pub use crate::model::confidence::{Confidence, Likeness};

/// How far an answer can be trusted; `None` where the model or the answer does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Whether the probability of the likeliest class reaches the model's threshold.
    pub sure: Option<bool>,
    /// The share of held-out pictures that are less like the training pictures than this one, from
    /// 0 to 1.
    pub likeness: Option<f32>,
    /// Whether it is below the model's limit.
    pub unlike: Option<bool>,
}

/// Probabilities of one row of logits at a temperature.
pub(crate) fn softmax(row: &[f32], temperature: f64) -> Vec<f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // At temperature 1 these are the bits of an undivided difference.
    let powers: Vec<f64> = row.iter().map(|&l| (f64::from(l - most) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| (p / sum) as f32).collect()
}
