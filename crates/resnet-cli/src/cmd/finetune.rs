//! `resnet finetune`, and the range test of `--lr-find`.

use std::io::Write;
use std::path::PathBuf;

use resnet::train::finetune::{Finetune, RECIPE};
use resnet::train::recipe::{Recipe, split_override};
use resnet::train::{self, Flow, Trainer};

use crate::exit::Stopped;
use crate::observer::{self, bar, tell};

/// Arguments of `resnet finetune`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet finetune resnet50.safetensors --data folder:photos
  resnet finetune resnet50.safetensors --data folder:photos --epochs 12 --freeze-epochs 4 lr=0.005
  resnet finetune resnet50.safetensors --data folder:photos --lr-find
The last layer is made anew and trained alone at first; then all layers are, early ones more slowly. What is not given is
chosen by the number of pictures; config.toml in the run directory has every choice. `resnet train --resume DIR` goes on.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory
    model: PathBuf,
    /// Changes to the recipe, such as lr=0.005 mixup=0.2 sampling=balanced ema=0
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The pictures: folder:DIR, cifar10:DIR, cifar100:DIR, mnist:DIR, builtin, or DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// A built-in recipe or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = RECIPE)]
    recipe: String,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<String>,
    /// Epochs at the start that train the last layer alone
    #[arg(long, value_name = "N")]
    freeze_epochs: Option<u32>,
    /// Images a step
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Learning rate of the last layer
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
    /// Find a learning rate instead: a short run whose rate rises, with a figure
    #[arg(long)]
    lr_find: bool,
    /// Directory of the run [default: runs/ARCH-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON event a line on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut changes = super::changes(&[
        ("train.epochs", &args.epochs),
        ("train.batch", &args.batch),
        ("optimizer.lr", &args.lr),
        ("train.precision", &args.precision),
        ("train.seed", &args.seed),
        ("train.threads", &args.threads),
    ]);
    if let Some(epochs) = args.freeze_epochs {
        changes.push(("train.freeze".into(), format!("{epochs}ep")));
    }
    for change in &args.changes {
        changes.push(split_override(change)?);
    }
    let file = super::model_file(&args.model)?;
    let model = super::load_model(&args.model)?;
    let job = Finetune::prepare(&file, &model, &args.data, &args.recipe, &changes)?;
    drop(model);
    let (notes, recipe) = (job.notes(), job.recipe);
    if args.lr_find {
        notes.iter().for_each(|note| tell(&format!("warning: {note}")));
        return find_rate(recipe, args.out, args.json);
    }
    let out = args.out.unwrap_or_else(|| super::free_run("", &recipe));
    let mut observer = observer::of(args.json)?;
    let command = super::command_line();
    let trainer = Trainer::of(recipe).out(out).command(&command);
    let trainer = notes.into_iter().fold(trainer, Trainer::note);
    let trained = trainer.observer(observer.as_mut()).run()?;
    observer.finish()?;
    super::train::finished(&trained.ended)
}

/// Runs a range test and tells the rate to try; its page goes into a directory.
pub(super) fn find_rate(recipe: Recipe, out: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let out = out.unwrap_or_else(|| super::free_run("lr-find-", &recipe));
    super::keep_runs(&out)?;
    let stop = observer::stop_at_signals()?;
    let progress = bar(0, "steps");
    let found = train::lr_find(recipe, &mut |done, total| {
        progress.set_length(total);
        progress.set_position(done);
        observer::flow(&stop)
    })?;
    progress.finish_and_clear();
    if observer::flow(&stop) == Flow::Stop {
        tell("stopped before the end of the test");
        return Err(Stopped.into());
    }
    found.save(&out, &super::command_line())?;
    tell(&format!("report  {}", out.join("report.html").display()));
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(&found)?)?;
        return Ok(());
    }
    let every = found.points.len().div_ceil(20).max(1);
    writeln!(stdout, "{:>10}  {:>8}  {:>8}", "lr", "loss", "smoothed")?;
    for point in found.points.iter().step_by(every) {
        let (lr, loss, smoothed) = (point.lr, point.loss, point.smoothed);
        writeln!(stdout, "{lr:>10.2e}  {loss:>8.4}  {smoothed:>8.4}")?;
    }
    match found.suggestion {
        Some(lr) => writeln!(stdout, "\ntry lr={lr:.1e} (the recipe has {})", found.lr)?,
        None => {
            anyhow::bail!("the loss never fell, so no rate can be suggested; try a larger batch")
        }
    }
    Ok(())
}
