//! The commands: one file each, with its arguments and `run`.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod draw;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod models;
mod precision;
pub(crate) mod predict;
pub(crate) mod summary;
pub(crate) mod train;

use std::path::{Path, PathBuf};

use resnet::model::Model;
use resnet::train::recipe::{Recipe, split_override};

use crate::exit::Usage;

/// Loads a model file, or the model of a run directory.
fn load_model(path: &Path) -> anyhow::Result<Model> {
    Ok(Model::load(&model_file(path)?)?)
}

/// A model file, or that of a run directory.
fn model_file(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let (model, best) = (path.join(resnet::train::MODEL), path.join(resnet::train::BEST));
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
        resnet::train::MODEL
    );
    Ok(model)
}

/// Refuses a directory for a report that holds a run, whose own report would be replaced.
pub(crate) fn keep_runs(out: &Path) -> Result<(), Usage> {
    if out.join(resnet::train::CONFIG).exists() {
        return Err(Usage(format!(
            "{} holds a run, and its report.html would be replaced; choose another --out",
            out.display()
        )));
    }
    Ok(())
}

/// Flags that were given, as changes to a recipe.
pub(crate) fn changes(flags: &[(&str, &Option<String>)]) -> Vec<(String, String)> {
    let given = flags.iter();
    let given = given.filter_map(|(key, value)| Some((key.to_string(), value.as_ref()?.clone())));
    given.collect()
}

/// Adds `[ARCH] [key=value ...]` to the changes.
pub(crate) fn add_changes(
    changes: &mut Vec<(String, String)>,
    words: &[String],
) -> anyhow::Result<()> {
    for text in words {
        // `resnet20:shortcut=B` is a network: its `=` stands behind a colon.
        let is_key = text.split_once('=').is_some_and(|(key, _)| !key.contains(':'));
        let named = changes.iter().any(|(key, _)| key == "model.arch");
        match (is_key, named) {
            (true, _) => changes.push(split_override(text)?),
            (false, false) => changes.push(("model.arch".into(), text.clone())),
            (false, true) => {
                return Err(Usage(format!(
                    "`{text}`: a network was named already; changes look like key=value"
                ))
                .into());
            }
        }
    }
    Ok(())
}

/// What was typed, quoted where a shell would need it.
pub(crate) fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    let quote = |word: String| {
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::env::args_os().skip(1).map(|word| quote(word.to_string_lossy().into_owned()));
    std::iter::once("resnet".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// `runs/PREFIXARCH-DATA`, or the first of `-2`, `-3`, ... that is not taken.
pub(crate) fn free_run(prefix: &str, recipe: &Recipe) -> PathBuf {
    let data = match recipe.data.source.split_once(':') {
        Some((kind, _)) => kind.to_string(),
        None => Path::new(&recipe.data.source)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    };
    let name = resnet::base::files::safe_name(&format!("{prefix}{}-{data}", recipe.model.arch));
    free_directory(&format!("runs/{name}"))
}

/// `first`, or the first of `first-2`, `first-3`, ... that is not taken.
pub(crate) fn free_directory(first: &str) -> PathBuf {
    let numbered = (2..).map(|n| PathBuf::from(format!("{first}-{n}")));
    let mut candidates = std::iter::once(PathBuf::from(first)).chain(numbered);
    candidates.find(|path| !path.exists()).expect("numbers do not end")
}

/// A number with separators between thousands.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in millions or billions, four digits.
pub(crate) fn scaled(n: u64) -> String {
    let x = n as f64;
    if x >= 1e9 { format!("{:.3} G", x / 1e9) } else { format!("{:.2} M", x / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::{grouped, scaled};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(269_722), "269,722");
        assert_eq!(grouped(25_557_032), "25,557,032");
        assert_eq!(scaled(40_551_000), "40.55 M");
        assert_eq!(scaled(4_089_184_256), "4.089 G");
    }
}
