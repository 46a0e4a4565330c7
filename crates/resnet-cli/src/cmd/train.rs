//! `resnet train`.

use std::path::PathBuf;

use resnet::train::Trainer;
use resnet::train::recipe::Recipe;

use super::flags::{add_changes, changes};
use super::lr_find::find_rate;
use super::paths::free_run;
use crate::exit::{Usage, finished};
use crate::observer;
use crate::term::command_line;

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
    /// The pictures: builtin, cifar10:DIR, cifar100:DIR, mnist:DIR, folder:DIR, or DIR
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// A built-in recipe or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "default")]
    recipe: String,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<String>,
    /// Steps, instead of epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<String>,
    /// Images a step
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Learning rate
    #[arg(long, value_name = "X")]
    lr: Option<String>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P")]
    precision: Option<String>,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Threads that compute; 0 is one for each core
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// Look at every layer's gradients and responses on the way, in 2 % of the time
    #[arg(long)]
    monitor: bool,
    /// Find a learning rate instead: a short run whose rate rises, with a figure
    #[arg(long, conflicts_with = "resume")]
    lr_find: bool,
    /// Directory of the run [default: runs/ARCH-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in this directory; takes --threads and --json only
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "recipe", "epochs", "steps", "batch", "lr", "precision", "seed", "monitor", "out"])]
    resume: Option<PathBuf>,
    /// One JSON event a line on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut observer = observer::of(args.json)?;
    if let Some(out) = &args.resume {
        if !args.rest.is_empty() {
            let given = args.rest.join(" ");
            return Err(
                Usage(format!("--resume takes everything from the run; remove `{given}`")).into()
            );
        }
        let threads = args.threads.as_deref().map(str::parse::<usize>).transpose();
        let threads = threads.map_err(|_| Usage("--threads needs a whole number".into()))?;
        let mut trainer = Trainer::resume(out);
        if let Some(threads) = threads {
            trainer = trainer.set("train.threads", threads);
        }
        let trained = trainer.observer(observer.as_mut()).run()?;
        observer.finish()?;
        return Ok(finished(&trained.ended)?);
    }
    let recipe = Recipe::load(&args.recipe, &overrides(&args)?)?;
    if args.lr_find {
        return find_rate(recipe, args.out, args.json);
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => free_run("", &recipe),
    };
    let trainer = Trainer::of(recipe).out(out).command(&command_line());
    let trained = trainer.observer(observer.as_mut()).run()?;
    observer.finish()?;
    Ok(finished(&trained.ended)?)
}

/// Flags and `key=value` as changes to the recipe, in that order.
fn overrides(args: &Args) -> anyhow::Result<Vec<(String, String)>> {
    let flags = [
        ("data.source", &args.data),
        ("train.epochs", &args.epochs),
        ("train.steps", &args.steps),
        ("train.batch", &args.batch),
        ("optimizer.lr", &args.lr),
        ("train.precision", &args.precision),
        ("train.seed", &args.seed),
        ("train.threads", &args.threads),
    ];
    let mut overrides = changes(&flags);
    if args.monitor {
        overrides.push(("train.monitor_every".into(), "auto".into()));
    }
    add_changes(&mut overrides, &args.rest)?;
    Ok(overrides)
}
