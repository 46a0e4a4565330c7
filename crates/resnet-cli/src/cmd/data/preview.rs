//! `resnet data preview`.

use std::path::PathBuf;

use resnet::base::text;
use resnet::study::data::{preview, save_preview};
use resnet::train::recipe::Recipe;
use resnet::train::task::Task;

use super::super::flags::add_changes;
use crate::term::{command_line, tell};

/// Arguments of `resnet data preview`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet data preview photos --out inputs.html
  resnet data preview photos resnet18 least_area=0.35 flip=false --out inputs.html
  resnet data preview cifar10:DIR --recipe paper-cifar augment.mixup=0.2 --out inputs.html
The inputs are those of `resnet train` with the same recipe, changes and seed. \
`resnet models --keys` lists the keys.")]
pub(super) struct Args {
    /// The pictures, as of `resnet data check`
    data: String,
    /// The network, then changes to the recipe: [ARCH] [key=value ...]
    #[arg(value_name = "ARCH|KEY=VALUE")]
    rest: Vec<String>,
    /// The page to write
    #[arg(long, value_name = "PAGE.html")]
    out: PathBuf,
    /// A built-in recipe or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "default")]
    recipe: String,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Pictures to show
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    pictures: u16,
    /// Epochs whose inputs are shown
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=50))]
    show_epochs: u16,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let mut changes = vec![("data.source".to_string(), args.data.clone())];
    changes.extend(args.seed.map(|seed| ("train.seed".to_string(), seed)));
    add_changes(&mut changes, &args.rest)?;
    // No network is run.
    changes.push(("train.device".into(), "cpu".into()));
    let task = Task::open(Recipe::load(&args.recipe, &changes)?)?;
    for warning in &task.warnings {
        tell(&format!("warning: {warning}"));
    }
    let preview = preview(&task, args.pictures.into(), args.show_epochs.into())?;
    save_preview(&args.out, &preview, &command_line())?;
    tell(&format!("page    {}", text::path(&args.out)));
    Ok(())
}
