//! Flags that stand for keys of a recipe, shared by the commands that take them.
//!
//! A command that means something else by a flag, or wants it, says so with `mut_arg`.

use std::net::SocketAddr;

use resnet::train::recipe::{KEYS, Key, Recipe, split_override};

use super::address::address;
use crate::exit::Usage;
use crate::live;

/// A key of a recipe and what it becomes.
type Change = (String, String);

/// A flag, the key it stands for, and what was given.
pub(super) type Row<'a> = (&'static str, &'static str, &'a Option<String>);

/// Reads `--threads`, wherever it stands: as the recipes' key of the same meaning.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let key = KEYS.iter().find(|key| key.name == "train.threads");
    let expected = key.map(Key::expected).unwrap_or_default();
    let recipe = Recipe::default().with(&[("train.threads".into(), text.into())]);
    Ok(recipe.map_err(|_| format!("expected {expected}"))?.train.threads)
}

/// The same as the text that it was.
pub(super) fn known_threads(text: &str) -> Result<String, String> {
    threads(text).map(|_| text.to_owned())
}

/// Flags of every command that looks at a network and pictures as a recipe has them.
#[derive(clap::Args)]
pub(super) struct TaskFlags {
    /// The pictures: builtin, cifar10:DIR, cifar100:DIR, mnist:DIR, folder:DIR, or a DIR, list, tar
    /// or zip file that is recognised
    #[arg(long, value_name = "DATA")]
    pub(super) data: Option<String>,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<String>,
    /// Threads that compute; 0 is one for each core
    #[arg(long, value_name = "N", value_parser = known_threads)]
    threads: Option<String>,
}

/// Flags of every command that trains by a recipe.
#[derive(clap::Args)]
pub(super) struct RecipeFlags {
    #[command(flatten)]
    pub(super) task: TaskFlags,
    /// A built-in recipe or a TOML file
    #[arg(id = "recipe", long = "recipe", value_name = "NAME|FILE", default_value = "default")]
    pub(super) name: String,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<String>,
    /// Images a step
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Learning rate
    #[arg(long, value_name = "X")]
    lr: Option<String>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P")]
    precision: Option<String>,
}

/// The same, where the budget may be counted in steps as well. `resnet finetune` fits its own to
/// the pictures, in epochs.
#[derive(clap::Args)]
pub(super) struct BudgetFlags {
    #[command(flatten)]
    pub(super) recipe: RecipeFlags,
    /// Steps, instead of epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<String>,
}

impl TaskFlags {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 3] {
        [
            ("--data", "data.source", &self.data),
            ("--seed", "train.seed", &self.seed),
            ("--threads", "train.threads", &self.threads),
        ]
    }

    /// The number of threads, where no recipe is loaded that would read it.
    pub(super) fn threads(&self) -> Result<Option<usize>, Usage> {
        let threads = self.threads.as_deref().map(threads).transpose();
        threads.map_err(|problem| Usage(format!("--threads: {problem}")))
    }
}

impl RecipeFlags {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 7] {
        let [data, seed, threads] = self.task.rows();
        [
            data,
            ("--epochs", "train.epochs", &self.epochs),
            ("--batch", "train.batch", &self.batch),
            ("--lr", "optimizer.lr", &self.lr),
            ("--precision", "train.precision", &self.precision),
            seed,
            threads,
        ]
    }
}

impl BudgetFlags {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 8] {
        let [data, epochs, batch, lr, precision, seed, threads] = self.recipe.rows();
        let steps = ("--steps", "train.steps", &self.steps);
        [data, epochs, steps, batch, lr, precision, seed, threads]
    }
}

/// The flag of commands that train and can show it.
#[derive(clap::Args)]
pub(super) struct BoardFlag {
    /// Show the run live in the browser, and after its end until Ctrl-C
    /// [address if none is given: 127.0.0.1:8090]
    #[arg(
        long,
        value_name = "ADDR",
        num_args = 0..=1,
        default_missing_value = live::ADDRESS,
        value_parser = address
    )]
    pub(super) board: Option<SocketAddr>,
}

/// What was given, as changes to a recipe.
pub(super) fn changes(rows: &[Row<'_>]) -> Vec<Change> {
    let given = rows.iter();
    given.filter_map(|(_, key, value)| Some((key.to_string(), value.as_ref()?.clone()))).collect()
}

/// Adds `[ARCH] [key=value ...]` to the changes.
pub(super) fn add_changes(changes: &mut Vec<Change>, words: &[String]) -> anyhow::Result<()> {
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
