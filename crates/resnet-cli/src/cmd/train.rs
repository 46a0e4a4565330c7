//! `resnet train`.

use std::path::PathBuf;

use resnet::train::recipe::Recipe;
use resnet::train::{Trained, Trainer};

use super::flags::{BoardFlag, BudgetFlags, add_changes, changes};
use super::lr_find::find_rate;
use super::paths::place;
use crate::exit::finished;
use crate::hints;
use crate::live::Live;
use crate::observer::{self, Watcher};
use crate::ranks;

/// Arguments of `resnet train`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet train                                            ResNet-20 on the built-in pictures
  resnet train resnet56 --data cifar10:DIR --recipe paper-cifar
  resnet train resnet18 --data folder:photos --epochs 30
  resnet train plain56 norm=none gain=0.5                 the same without batch norm
Keys of key=value are those of config.toml; `resnet models --keys` lists them.")]
pub(crate) struct Args {
    /// The network, then changes to the recipe: [ARCH] [key=value ...]
    #[arg(value_name = "ARCH|KEY=VALUE")]
    rest: Vec<String>,
    #[command(flatten)]
    flags: BudgetFlags,
    /// Look at every layer's gradients and responses on the way, in 2 % of the time
    #[arg(long)]
    monitor: bool,
    /// Find a learning rate instead: a short run whose rate rises, with a figure
    #[arg(long, conflicts_with_all = ["resume", "board"])]
    lr_find: bool,
    /// Directory of the run [default: runs/ARCH-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in this directory, or one that has ended with more --epochs or --steps;
    /// --data says where its pictures are now
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "recipe", "batch", "lr", "precision", "seed", "out",
    ])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    board: BoardFlag,
    /// One JSON event a line on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.lr_find {
        ranks::refuse("--lr-find")?;
        let recipe = Recipe::load(&args.flags.recipe.name, &overrides(&args)?)?;
        return find_rate(recipe, args.out, args.json);
    }
    if args.board.board.is_some() {
        ranks::refuse("--board")?;
    }
    let mut live = Live::of(observer::of(args.json)?, args.board.board)?;
    let outcome = train(args, &mut live);
    live.stay(outcome)
}

fn train(args: Args, observer: &mut Live) -> anyhow::Result<()> {
    if let Some(out) = &args.resume {
        let trainer =
            Trainer::resume(out).resume_command(|directory| hints::resume(directory.display()));
        let changes = ranks::all(&ranks::group(), overrides(&args))?.into_iter();
        let trainer = changes.fold(trainer, |trainer, (key, value)| trainer.set(&key, value));
        let trained = on_ranks(trainer).observer(observer).run()?;
        return ended(&trained, observer);
    }
    let load = || Ok(Recipe::load(&args.flags.recipe.name, &overrides(&args)?)?);
    let recipe = ranks::all(&ranks::group(), load())?;
    let trainer = place(Trainer::of(recipe.clone()), args.out, &recipe);
    let trained = on_ranks(trainer).observer(observer).run()?;
    ended(&trained, observer)
}

/// What becomes of a run that ended, on all ranks alike.
pub(super) fn ended(trained: &Trained, watcher: &mut dyn Watcher) -> anyhow::Result<()> {
    ranks::are_done();
    finished(trained, watcher)
}

/// A trainer together with the processes of its launcher, where one started several.
pub(super) fn on_ranks(trainer: Trainer<'_>) -> Trainer<'_> {
    match ranks::group() {
        Some(ranks) => trainer.ranks(ranks),
        None => trainer,
    }
}

/// Flags and `key=value` as changes to the recipe, in that order.
fn overrides(args: &Args) -> anyhow::Result<Vec<(String, String)>> {
    let mut overrides = changes(&args.flags.rows());
    if args.monitor {
        overrides.push(("train.monitor_every".into(), "auto".into()));
    }
    add_changes(&mut overrides, &args.rest)?;
    Ok(overrides)
}
