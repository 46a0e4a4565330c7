//! `resnet inspect`.

use std::path::{Path, PathBuf};

use resnet::model::Model;
use resnet::net::Arch;
use resnet::study::inspect::{self, Inspection};
use resnet::train;
use resnet::train::event::{self, Event, Monitored};
use resnet::train::recipe::Recipe;
use resnet::train::task::Task;

use super::features;
use super::flags::{TaskFlags, add_changes, changes};
use super::paths::{keep_runs, load_model, recipe_of};
use crate::exit::Usage;
use crate::term::{self, Out, command_line, tell};
use crate::weights::Weights;

/// Moments of a run that are printed, about.
const MOMENTS: usize = 12;

/// A model knows the pictures that it was trained on.
const DATA: &str = "The pictures [default: those the model was trained on, or builtin]";

/// Arguments of `resnet inspect`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet inspect plain56 norm=none gain=0.5       gradients that vanish
  resnet inspect resnet56 --data cifar10:DIR
  resnet inspect runs/resnet20-builtin --out look
  resnet inspect resnet50 --features photos --out look    what its channels answer to
A run that was trained with --monitor is shown along its way. Gradients are of the mean loss of \
one batch
of training pictures, not augmented. Healthy: less than 1000-fold from the last convolution to \
the first.")]
#[command(
    mut_arg("data", |arg| arg.help(DATA)),
    mut_arg("seed", |arg| arg.help("Seed of the initial weights"))
)]
pub(crate) struct Args {
    /// Network, model file, checkpoint, run directory, or published weights such as resnet50.v1
    #[arg(value_name = "ARCH|MODEL")]
    network: String,
    /// Options of the network, or other changes to the recipe, such as norm=none
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    #[command(flatten)]
    flags: TaskFlags,
    #[command(flatten)]
    features: features::Flags,
    /// Pictures looked at [default: 32, fewer if they are large]
    #[arg(long, value_name = "N")]
    pictures: Option<usize>,
    /// Directory for report.html, the figures and inspect.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // Batch norm over a single picture has nothing to normalise by where a map is one pixel.
    if args.pictures.is_some_and(|n| !(2..=65_536).contains(&n)) {
        return Err(Usage("--pictures is out of range, expected 2 to 65536".into()).into());
    }
    if let Some(out) = &args.out {
        keep_runs("--out", out)?;
    }
    let path = Path::new(&args.network);
    if args.features.features.is_some() {
        return features_of(&args, path);
    }
    let mut history = Vec::new();
    let (task, model) = match Arch::parse(&args.network) {
        Ok(_) => (initial(&args)?, None),
        Err(_) if path.exists() || Weights::of_path(path).is_some() => {
            if !args.changes.is_empty() || args.flags.seed.is_some() {
                return Err(Usage(format!(
                    "{} is a trained model; --seed and changes such as `{}` are for networks as \
                     they start",
                    args.network,
                    args.changes.first().map_or("norm=none", String::as_str)
                ))
                .into());
            }
            let model = trained(path)?;
            history = monitored(path)?;
            (of_model(&args, &model)?, Some(model))
        }
        Err(unknown) => return Err(unknown.into()),
    };
    for warning in &task.warnings {
        tell(&format!("warning: {warning}"));
    }
    let mut inspection = inspect::inspect(&task, model.as_ref(), args.pictures)?;
    inspection.take_history(&history);
    if let Some(out) = &args.out {
        inspect::save(out, &inspection, &history, &command_line())?;
        tell(&format!("report  {}", out.join("report.html").display()));
    }
    let mut stdout = term::out();
    if args.json {
        stdout.json(serde_json::to_string(&inspection)?)?;
        return Ok(());
    }
    write_tables(&mut stdout, &inspection)?;
    Ok(())
}

/// The look at what a trained network has learned.
fn features_of(args: &Args, path: &Path) -> anyhow::Result<()> {
    if let Some(change) = args.changes.first() {
        let what = "--features looks at a trained model as it is";
        return Err(Usage(format!("{what}; leave out `{change}`")).into());
    }
    let model = trained(path)?;
    let around = features::Around {
        path,
        model: &model,
        data: args.flags.data.as_deref(),
        pictures: args.pictures,
        seed: seed(args)?,
        compute: &args.flags.compute,
        out: args.out.as_deref(),
        json: args.json,
    };
    features::run(&args.features, &around)
}

fn seed(args: &Args) -> Result<u64, Usage> {
    let Some(text) = &args.flags.seed else {
        return Ok(0);
    };
    text.parse().map_err(|_| Usage(format!("--seed is `{text}`, expected a whole number")))
}

fn initial(args: &Args) -> anyhow::Result<Task> {
    let mut changes = changes(&args.flags.rows());
    changes.push(("model.arch".into(), args.network.clone()));
    add_changes(&mut changes, &args.changes)?;
    Ok(Task::open(Recipe::load("default", &changes)?)?)
}

fn of_model(args: &Args, model: &Model) -> anyhow::Result<Task> {
    let own = recipe_of(Path::new(&args.network), model)?.map(|recipe| recipe.data.source);
    let source = args.flags.data.clone().or(own);
    let (threads, device) = args.flags.compute.read()?;
    Ok(Task::of_model(model, source.as_deref(), &device, threads)?)
}

/// The model of a file, or of a run: its last state, whether it is finished or not.
fn trained(path: &Path) -> anyhow::Result<Model> {
    let last = path.join(train::LAST);
    let newer = || !path.join(train::MODEL).exists() || train::is_unfinished(path);
    if path.is_dir() && last.exists() && newer() {
        return Ok(Model::load(&last)?);
    }
    load_model(path)
}

/// What a run's monitor saw.
fn monitored(path: &Path) -> anyhow::Result<Vec<Monitored>> {
    let events = path.join(train::EVENTS);
    if !events.exists() {
        return Ok(Vec::new());
    }
    let events = event::read(&events)?.into_iter();
    let seen = events.filter_map(|event| match event {
        Event::Monitored(seen) => Some(seen),
        _ => None,
    });
    Ok(seen.collect())
}

fn write_tables(out: &mut Out, inspection: &Inspection) -> std::io::Result<()> {
    let measurement = &inspection.measurement;
    writeln!(
        out,
        "{}, {}; {} pictures of {}; loss {:.4}",
        inspection.arch, inspection.weights, inspection.pictures, inspection.data, measurement.loss
    )?;
    writeln!(out)?;
    let names = measurement.layers.iter().map(|l| l.name.len());
    let width = names.max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:<width$}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>6}",
        "layer", "|dL/dy|", "|dL/dw|", "|w|", "update/w", "std of y", "dead"
    )?;
    for l in &measurement.layers {
        let ratio = l.update_ratio.map_or(String::new(), |ratio| format!("{ratio:.2e}"));
        let dead = l.dead.map_or(String::new(), |dead| format!("{:.0} %", dead * 100.0));
        writeln!(
            out,
            "{:<width$}  {:>9.2e}  {:>9.2e}  {:>9.2e}  {ratio:>9}  {:>9.2e}  {dead:>6}",
            l.name, l.activation_gradient_norm, l.gradient_norm, l.weight_norm, l.response_std
        )?;
    }
    if !measurement.blocks.is_empty() {
        writeln!(out)?;
        writeln!(
            out,
            "{:<width$}  {:>9}  {:>9}  {:>9}  {:>15}",
            "block", "|dL/dx|", "shortcut", "branch", "shortcut's part"
        )?;
        for b in &measurement.blocks {
            let part = if b.shortcut_share.is_finite() {
                format!("{:.1} %", b.shortcut_share * 100.0)
            } else {
                String::new()
            };
            writeln!(
                out,
                "{:<width$}  {:>9.2e}  {:>9.2e}  {:>9.2e}  {part:>15}",
                b.name, b.gradient_norm, b.shortcut_norm, b.branch_norm
            )?;
        }
    }
    if !inspection.along.is_empty() {
        writeln!(out)?;
        writeln!(out, "{:>9}  {:>9}  gradient", "step", "loss")?;
    }
    let every = inspection.along.len().div_ceil(MOMENTS).max(1);
    for (i, moment) in inspection.along.iter().enumerate() {
        if i % every == 0 || i + 1 == inspection.along.len() {
            let trend = inspect::describe(&moment.trend);
            writeln!(out, "{:>9}  {:>9.4}  {trend}", moment.step, moment.loss)?;
        }
    }
    writeln!(out)?;
    writeln!(out, "{}", inspect::describe(&inspection.trend))
}
