//! What is named by a path, and where goes what nobody named a place for.

use std::path::{Path, PathBuf};

use resnet::base::text;
use resnet::model::Model;
use resnet::model::published::Published;
use resnet::train::{self, Trainer, recipe::Recipe};

use crate::exit::Usage;
use crate::hints;
use crate::term::{command_line, tell};
use crate::weights::Weights;

/// Loads a model file, the model of a run directory, or published weights.
pub(super) fn load_model(path: &Path) -> anyhow::Result<Model> {
    Ok(Model::load(&model_file(path)?)?)
}

/// A model file, that of a run directory, or one made of published weights, which are fetched if
/// they are not here.
pub(super) fn model_file(path: &Path) -> anyhow::Result<PathBuf> {
    if let Some(weights) = Weights::of_path(path) {
        return weights.model();
    }
    if !path.is_dir() {
        let plain = !path.exists() && path.extension().is_none() && path.components().count() == 1;
        if let Some(near) = path.to_str().filter(|_| plain).and_then(Published::nearest) {
            return Err(Usage(format!(
                "`{}` is no file, run or published weights; did you mean {near}? `resnet weights` \
                 lists those",
                path.display()
            ))
            .into());
        }
        return Ok(path.to_path_buf());
    }
    let (model, best) = (path.join(train::MODEL), path.join(train::BEST));
    if !model.exists() && best.exists() {
        anyhow::bail!(
            "{} holds an unfinished run; give its checkpoint {}",
            path.display(),
            best.display()
        );
    }
    anyhow::ensure!(
        model.exists(),
        "{} holds no model: {} is missing",
        path.display(),
        train::MODEL
    );
    let last = path.join(train::LAST);
    if last.exists() && train::is_unfinished(path) {
        tell(&format!(
            "warning: {} is of an earlier end of its run, which goes on; {} is newer",
            model.display(),
            last.display()
        ));
    }
    Ok(model)
}

/// The recipe that a model was trained by: of a run directory its own, whose paths are found from
/// anywhere, else what the model file says.
pub(super) fn recipe_of(path: &Path, model: &Model) -> anyhow::Result<Option<Recipe>> {
    if path.join(train::CONFIG).is_file() {
        return Ok(Some(train::recipe_of_run(path)?));
    }
    let text = model.tensors.metadata.get("recipe");
    Ok(text.map(|text| Recipe::from_toml(text)).transpose()?)
}

/// Refuses a directory for a report, named by a flag, that holds a run: its own report would be
/// replaced.
pub(super) fn keep_runs(flag: &str, out: &Path) -> Result<(), Usage> {
    if out.join(train::CONFIG).exists() {
        return Err(Usage(format!(
            "{} holds a run, and its report.html would be replaced; choose another {flag}",
            out.display()
        )));
    }
    Ok(())
}

/// `runs/PREFIXARCH-DATA`, where a run goes that nobody named a place for, or beside it.
pub(super) fn usual_run(prefix: &str, recipe: &Recipe) -> PathBuf {
    let data = match resnet::data::split_source(&recipe.data.source) {
        (Some(format), _) => format.name.to_owned(),
        (None, path) => {
            Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
    };
    let name = resnet::base::files::safe_name(&format!("{prefix}{}-{data}", recipe.model.arch));
    PathBuf::from(format!("runs/{name}"))
}

/// Gives a run the directory that was named, or else one beside those of the same name.
pub(super) fn place<'a>(
    trainer: Trainer<'a>,
    out: Option<PathBuf>,
    recipe: &Recipe,
) -> Trainer<'a> {
    let trainer = trainer
        .command(&command_line())
        .resume_command(|directory| hints::resume(text::path(directory)));
    match out {
        Some(out) => trainer.out(out),
        None => trainer.out_beside(usual_run("", recipe)),
    }
}
