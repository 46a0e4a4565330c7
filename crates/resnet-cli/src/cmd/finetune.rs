//! `resnet finetune`.

use std::path::PathBuf;

use resnet::data::OpenOptions;
use resnet::train::Trainer;
use resnet::train::finetune::{Finetune, RECIPE};
use resnet::train::recipe::{Recipe, split_override};

use super::flags::{BoardFlag, RecipeFlags, changes};
use super::lr_find::find_rate;
use super::paths::{load_model, model_file, place};
use super::train::{ended, on_ranks};
use crate::live::Live;
use crate::observer;
use crate::ranks;
use crate::term::tell;
use crate::weights::Weights;

/// Pictures of one's own come first: few models have to learn those inside the program.
const DATA: &str = "The pictures: folder:DIR, cifar10:DIR, cifar100:DIR, mnist:DIR, builtin, or a DIR, list, tar or \
     zip file that is recognised";

/// Arguments of `resnet finetune`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet finetune resnet50 --data folder:photos                 fetches the weights the first time
  resnet finetune runs/mine --data folder:photos --epochs 12 --freeze-epochs 4 lr=0.005
  resnet finetune resnet50 --data folder:photos --lr-find
The last layer is made anew and trained alone at first; then all layers are, early ones more \
slowly. What is not given is
chosen by the number of pictures; config.toml in the run directory has every choice. `resnet \
train --resume DIR` goes on.")]
#[command(
    mut_arg("data", |arg| arg.required(true).help(DATA)),
    mut_arg("recipe", |arg| arg.default_value(RECIPE)),
    mut_arg("lr", |arg| arg.help("Learning rate of the last layer"))
)]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory, or published weights such as resnet50
    model: PathBuf,
    /// Changes to the recipe, such as lr=0.005 mixup=0.2 sampling=balanced ema=0
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    #[command(flatten)]
    flags: RecipeFlags,
    /// Epochs at the start that train the last layer alone
    #[arg(long, value_name = "N")]
    freeze_epochs: Option<u32>,
    /// Find a learning rate instead: a short run whose rate rises, with a figure
    #[arg(long, conflicts_with = "board")]
    lr_find: bool,
    /// Directory of the run [default: runs/ARCH-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    board: BoardFlag,
    /// One JSON event a line on standard output
    #[arg(long)]
    json: bool,
}

/// What is to be trained, and what is told of the data before.
fn prepare(args: &mut Args) -> anyhow::Result<(Vec<String>, Recipe)> {
    let data = args.flags.task.data.take().expect("the command is refused without --data");
    let mut changes = changes(&args.flags.rows());
    if let Some(epochs) = args.freeze_epochs {
        changes.push(("train.freeze".into(), format!("{epochs}ep")));
    }
    for change in &args.changes {
        changes.push(split_override(change)?);
    }
    if let Some(weights) = Weights::of_path(&args.model)
        && weights.here()?.is_none()
    {
        // A wrong name should not cost a download.
        resnet::data::open(&data, &OpenOptions::default())?;
    }
    let file = model_file(&args.model)?;
    let model = load_model(&file)?;
    let job = Finetune::prepare(&file, &model, &data, &args.flags.name, &changes)?;
    Ok((job.notes(), job.recipe))
}

pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
    let prepared = prepare(&mut args);
    let (notes, recipe) = ranks::all(&ranks::group(), prepared)?;
    if args.lr_find {
        ranks::refuse("--lr-find")?;
        notes.iter().for_each(|note| tell(&format!("warning: {note}")));
        return find_rate(recipe, args.out, args.json);
    }
    if args.board.board.is_some() {
        ranks::refuse("--board")?;
    }
    let mut live = Live::of(observer::of(args.json)?, args.board.board)?;
    let trainer = place(Trainer::of(recipe.clone()), args.out, &recipe);
    let trainer = notes.into_iter().fold(trainer, Trainer::note);
    let trained = on_ranks(trainer).observer(&mut live).run();
    let outcome = trained.map_err(Into::into).and_then(|trained| ended(&trained, &mut live));
    live.stay(outcome)
}
