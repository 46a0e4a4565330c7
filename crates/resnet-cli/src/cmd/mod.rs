//! The commands: one file each, with its arguments and `run`.

pub(crate) mod completions;
pub(crate) mod draw;
pub(crate) mod eval;
pub(crate) mod models;
pub(crate) mod predict;
pub(crate) mod summary;
pub(crate) mod train;

use std::path::Path;

use resnet::weights::Model;

/// Loads a model file, or the model of a run directory.
fn load_model(path: &Path) -> anyhow::Result<Model> {
    if !path.is_dir() {
        return Ok(Model::load(path)?);
    }
    let (model, best) = (
        path.join(resnet::train::MODEL),
        path.join(resnet::train::BEST),
    );
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
    Ok(Model::load(&model)?)
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
    if x >= 1e9 {
        format!("{:.3} G", x / 1e9)
    } else {
        format!("{:.2} M", x / 1e6)
    }
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
