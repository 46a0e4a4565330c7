//! Teaches a trained network other classes: the recipe `finetune`, fitted to the size of the data,
//! and the same training as any other.
//!
//! While only the head is trained, the rest of the network runs as in inference, and nothing is
//! computed for it backward; then all layers are trained, early ones more slowly.

use std::path::{Path, PathBuf};

use crate::base::text;
use crate::data::DataError;
use crate::data::check::{Check, Depth, IMBALANCE, Kind, Problem, check};
use crate::model::{Model, ModelError};
use crate::train::recipe::{Follows, Recipe, RecipeError};

/// Pictures seen in a run, about, where the data is small.
const SEEN: f64 = 2000.0;
/// Least and most epochs.
const EPOCHS: (f64, f64) = (5.0, 30.0);
/// Below this many training pictures the features are trusted more than the data.
const FEW: usize = 2000;
/// Below this many they are trusted alone: what thaws fits each picture by heart.
const VERY_FEW: usize = 200;
/// Steps that a new last layer takes then, about, and least and most epochs: seen more often than
/// that, the same few pictures make the network surer but no better.
const HEAD_STEPS: f64 = 120.0;
const HEAD_EPOCHS: (f64, f64) = (10.0, 30.0);
/// The rate of the last layer, and the batch that it is for. Smaller batches have noisier
/// gradients, and a rate that is as much lower.
const RATE: (f64, f64) = (0.01, 16.0);

/// Why a network cannot be taught other classes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The changes to the recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The model's path cannot stand in a recipe.
    #[error("{}: recipes are text, and this path is not UTF-8; rename it", text::path(.0))]
    Name(PathBuf),
}

impl FinetuneError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        match self {
            FinetuneError::Recipe(error) => error.is_usage(),
            FinetuneError::Name(_) => true,
            FinetuneError::Model(_) | FinetuneError::Data(_) => false,
        }
    }
}

/// What is to be trained, and what was found in the data.
#[derive(Clone, Debug)]
pub struct Finetune {
    /// Every choice.
    pub recipe: Recipe,
    /// A quick look at the data.
    pub check: Check,
}

impl Finetune {
    /// Looks at the data and chooses what the changes leave open: batch and rate, epochs, how many
    /// of them train the head alone, how long weights are averaged, whether rare classes count
    /// more. `model` is the file that `path` names.
    ///
    /// # Errors
    /// [`FinetuneError`].
    pub fn prepare(
        path: &Path,
        model: &Model,
        source: &str,
        base: &str,
        changes: &[(String, String)],
    ) -> Result<Finetune, FinetuneError> {
        let name = path.to_str().ok_or_else(|| FinetuneError::Name(path.to_owned()))?;
        let check = check(source, Depth::Quick, &|_| {})?;
        let mut all = vec![
            ("model.start".into(), quoted(name)),
            ("model.arch".into(), model.arch.name()),
            ("data.source".into(), quoted(source)),
        ];
        if base == RECIPE {
            let names = |(key, _): &(String, String), last: &str| {
                key == last || key.rsplit('.').next() == Some(last)
            };
            let budget = changes.iter().any(|c| names(c, "steps") || names(c, "epochs"));
            let chosen = defaults(&check, model, changes);
            all.extend(chosen.into_iter().filter(|c| !(budget && names(c, "epochs"))));
        }
        all.extend_from_slice(changes);
        let mut recipe = Recipe::load(base, &all)?;
        // What is chosen here is a guess: part of the pictures may be held out.
        if base == RECIPE {
            recipe.batch_follows =
                Follows(!changes.iter().any(|(key, _)| key == "batch" || key == "train.batch"));
        }
        Ok(Finetune { recipe, check })
    }

    /// Problems of the data that opening it does not tell of by itself, each in a sentence with an
    /// example.
    pub fn notes(&self) -> Vec<String> {
        let told = |problem: &&Problem| {
            let own = [Kind::Leak, Kind::Conflict, Kind::Duplicate, Kind::Imbalance, Kind::Tiny];
            own.contains(&problem.kind)
        };
        let note =
            |p: &Problem| format!("{}: {}, such as {}", self.check.source, p.message, p.items[0]);
        self.check.problems.iter().filter(told).map(note).collect()
    }
}

/// The recipe whose values are fitted to the data.
pub const RECIPE: &str = "finetune";

/// A text as TOML, whatever is in it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Values that depend on the data's size.
fn defaults(check: &Check, model: &Model, changes: &[(String, String)]) -> Vec<(String, String)> {
    let train = &check.splits[0];
    let images = train.images.max(1);
    let few = images < FEW;
    let given = |last: &str| {
        let is_it = |(key, _): &&(String, String)| key.rsplit('.').next() == Some(last);
        let value = changes.iter().rev().find(is_it);
        value.and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let batch = match images {
        0..64 => 4,
        64..128 => 8,
        _ if few => 16,
        _ => 32,
    };
    let batch = given("batch").unwrap_or(f64::from(batch).min(images as f64));
    let lr = RATE.0 * (batch / RATE.1).min(1.0);
    let epochs = match images < VERY_FEW {
        true => (HEAD_STEPS * batch / images as f64).round().clamp(HEAD_EPOCHS.0, HEAD_EPOCHS.1),
        false => (SEEN / images as f64).round().clamp(EPOCHS.0, EPOCHS.1),
    };
    let epochs = given("epochs").unwrap_or(epochs);
    let steps = (epochs * images as f64 / batch).max(1.0);
    let steps = given("steps").unwrap_or(steps);
    // The average reaches back over about the last tenth of the run.
    let ema = (1.0 - 10.0 / steps).clamp(0.5, 0.9999);
    let known: Vec<&String> = train.classes.iter().map(|c| &c.class).collect();
    let freeze = match (known == model.classes.iter().collect::<Vec<_>>(), few) {
        (true, _) => "0it",
        (false, true) if images < VERY_FEW => "100%",
        (false, true) => "60%",
        (false, false) => "20%",
    };
    let weights = if check.imbalance() >= IMBALANCE { "balanced" } else { "none" };
    [
        ("train.batch", batch.to_string()),
        ("optimizer.lr", lr.to_string()),
        ("train.epochs", epochs.to_string()),
        ("train.ema", format!("{ema:.4}")),
        ("train.freeze", freeze.to_string()),
        ("train.freeze_norm", few.to_string()),
        ("train.class_weights", weights.to_string()),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into()
}
