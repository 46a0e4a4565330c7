//! The pictures that a trained model is measured on.

use std::sync::Arc;

use resnet::data::{self, Dataset, OpenOptions};
use resnet::device::Wanted;
use resnet::model::Model;
use resnet::train::recipe::Recipe;
use resnet::train::task::Task;

use crate::exit::Usage;
use crate::term::tell;

/// Pictures to measure a model on, and those beside them.
pub(super) struct Parts {
    /// The data's source.
    pub(super) source: String,
    /// What the part to measure on is called.
    pub(super) name: String,
    /// The part to measure on.
    pub(super) part: Arc<dyn Dataset>,
    /// What the model learned from, or one of the kind did, if that is another part.
    pub(super) train: Option<Arc<dyn Dataset>>,
}

/// The pictures that are asked for, what they are called and which part of them: where nothing is,
/// those that the model was evaluated on while it was trained.
pub(super) fn parts(
    data: Option<&str>,
    split: Option<&str>,
    model: &Model,
    recipe: Option<&Recipe>,
) -> anyhow::Result<Parts> {
    if model.is_numbered() {
        tell(
            "warning: the model's classes have numbers for names, as none were given when it was \
             imported; folders are matched by their numbers",
        );
    }
    if let (None, Some(recipe)) = (data, recipe) {
        // Nothing is computed here.
        let task = Task::of_model(model, Some(&recipe.data.source), &Wanted::Cpu, None)?;
        for warning in &task.warnings {
            tell(&format!("warning: {warning}"));
        }
        if let Some((name, part)) = task.part(split.unwrap_or(&task.eval_name)) {
            let train = Some(task.train.clone()).filter(|_| name != TRAIN);
            return Ok(Parts { source: recipe.data.source.clone(), name, part, train });
        }
    }
    let source = match (data, recipe) {
        (Some(source), _) => source.to_owned(),
        (None, Some(recipe)) => recipe.data.source.clone(),
        (None, None) => "builtin".into(),
    };
    let splits = data::open(&source, &OpenOptions { one_class: true, ..OpenOptions::default() })?;
    for warning in &splits.warnings {
        tell(&format!("warning: {warning}"));
    }
    let (name, part) = match split {
        Some(name) => splits.part(name).ok_or_else(|| no_split(name, &source))?,
        None => match splits.test {
            Some(test) => (splits.test_name, test),
            None => {
                tell(&format!(
                    "warning: {source} has no second split; these pictures may be those the model \
                     learned from"
                ));
                (TRAIN.into(), splits.train.clone())
            }
        },
    };
    let train = Some(splits.train).filter(|_| name != TRAIN);
    Ok(Parts { source, name, part, train })
}

/// The name of the part to learn from.
const TRAIN: &str = "train";

fn no_split(name: &str, source: &str) -> Usage {
    Usage(match data::split_name(name) {
        Some(_) => format!("{source} has no split `{name}`"),
        None => format!("--split is `{name}`, expected train, val or test"),
    })
}
