//! Flags that stand for keys of a recipe, shared by the commands that take them.
//!
//! A command that means something else by a flag, or wants it, says so with `mut_arg`.

use std::net::SocketAddr;
use std::sync::Arc;

use resnet::device::Wanted;
use resnet::engine::exec::Device;
use resnet::ranks::open_device;
use resnet::train::recipe::{KEYS, Key, Recipe, Train, split_override};

use super::address::address;
use crate::exit::Usage;
use crate::live;
use crate::ranks;
use crate::term::tell;

/// A key of a recipe and what it becomes.
type Change = (String, String);

/// A flag, the key it stands for, and what was given.
pub(super) type Row<'a> = (&'static str, &'static str, &'a Option<String>);

/// Reads `--threads`, wherever it stands: as the recipes' key of the same meaning.
fn threads(text: &str) -> Result<usize, String> {
    let key = KEYS.iter().find(|key| key.name == "train.threads");
    let expected = key.map(Key::expected).unwrap_or_default();
    let recipe = Recipe::default().with(&[("train.threads".into(), text.into())]);
    Ok(recipe.map_err(|_| format!("expected {expected}"))?.train.threads)
}

/// Checks it where it is kept as text.
fn known_threads(text: &str) -> Result<String, String> {
    threads(text).map(|_| text.to_owned())
}

/// Checks `--device` where it is kept as text.
fn known_device(text: &str) -> Result<String, String> {
    text.parse::<Wanted>().map(|_| text.to_owned())
}

/// What computes, of a command without a recipe.
#[derive(clap::Args)]
pub(super) struct ComputeFlags {
    /// Threads that compute; 0 is one for each fast core (`resnet doctor` says why)
    #[arg(long, value_name = "N", default_value = "0", value_parser = threads)]
    pub(super) threads: usize,
    /// What computes: cpu, gpu, gpu:N, gpu:NAME, or auto for a GPU that is faster than the CPU
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: Wanted,
}

impl ComputeFlags {
    /// Opens it; where there was a choice, what was taken is told.
    pub(super) fn open(&self) -> anyhow::Result<Arc<dyn Device>> {
        self.open_telling(tell)
    }

    /// The same, told in another form.
    pub(super) fn open_telling(&self, tell: impl Fn(&str)) -> anyhow::Result<Arc<dyn Device>> {
        let opened = open_device(&self.device, self.threads, &ranks::group())?;
        if let Some(why) = opened.why {
            tell(&format!("device {}: {why}", opened.taken));
        }
        Ok(opened.device)
    }
}

/// What computes, of a command with a recipe.
#[derive(clap::Args)]
pub(super) struct ComputeKeys {
    /// Threads that compute; 0 is one for each fast core (`resnet doctor` says why)
    #[arg(long, value_name = "N", value_parser = known_threads)]
    threads: Option<String>,
    /// What computes: cpu, gpu, gpu:N, gpu:NAME, or auto for a GPU that is faster than the CPU
    #[arg(long, value_name = "DEVICE", value_parser = known_device)]
    device: Option<String>,
}

impl ComputeKeys {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 2] {
        [("--threads", "train.threads", &self.threads), ("--device", "train.device", &self.device)]
    }

    /// What they say where no recipe is loaded that would read them; threads only where given.
    pub(super) fn read(&self) -> anyhow::Result<(Option<usize>, Wanted)> {
        let Train { threads, device, .. } = Recipe::default().with(&changes(&self.rows()))?.train;
        Ok((self.threads.is_some().then_some(threads), device))
    }

    /// As [`ComputeFlags::open`].
    pub(super) fn open(&self) -> anyhow::Result<Arc<dyn Device>> {
        let (threads, device) = self.read()?;
        ComputeFlags { threads: threads.unwrap_or(0), device }.open()
    }
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
    #[command(flatten)]
    pub(super) compute: ComputeKeys,
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
    pub(super) fn rows(&self) -> [Row<'_>; 4] {
        let [threads, device] = self.compute.rows();
        [
            ("--data", "data.source", &self.data),
            ("--seed", "train.seed", &self.seed),
            threads,
            device,
        ]
    }
}

impl RecipeFlags {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 8] {
        let [data, seed, threads, device] = self.task.rows();
        [
            data,
            ("--epochs", "train.epochs", &self.epochs),
            ("--batch", "train.batch", &self.batch),
            ("--lr", "optimizer.lr", &self.lr),
            ("--precision", "train.precision", &self.precision),
            seed,
            threads,
            device,
        ]
    }
}

impl BudgetFlags {
    /// Each flag, given or not.
    pub(super) fn rows(&self) -> [Row<'_>; 9] {
        let [data, epochs, batch, lr, precision, seed, threads, device] = self.recipe.rows();
        let steps = ("--steps", "train.steps", &self.steps);
        [data, epochs, steps, batch, lr, precision, seed, threads, device]
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
