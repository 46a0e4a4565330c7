//! `resnet eval`.

use std::path::PathBuf;
use std::sync::Arc;

use resnet::engine::exec::Device;
use resnet::measure::evaluate::{self, Crops, How, Report, evaluate_as};
use resnet::model::Model;
use resnet::ranks::is_first;
use resnet::train::recipe::Recipe;

use super::flags::ComputeFlags;
use super::parts::{Parts, parts};
use super::paths::{keep_runs, load_model, recipe_of};
use super::precision::Asked;
use crate::exit::Usage;
use crate::observer::worth;
use crate::ranks;
use crate::term::{self, bar, command_line, grouped, tell};

/// Arguments of `resnet eval`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  resnet eval runs/resnet20-builtin --report look
  resnet eval resnet50 --data folder:photos --batch 8
Classes are matched by name. The model's own resizing, cropping and normalising are used.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory, or published weights such as resnet50
    model: PathBuf,
    /// The pictures: builtin, cifar10:DIR, cifar100:DIR, mnist:DIR, folder:DIR, or a DIR, list, tar
    /// or zip file that is recognised [default: those that a run evaluated on, or builtin]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Which part of them: train, val or test [default: what the run evaluated on, or test, or what
    /// the data has in its place]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Views of each picture: 1, or 10 (centre and corners, each also mirrored), whose
    /// probabilities are averaged
    #[arg(long, value_name = "N", default_value_t = 1)]
    crops: u32,
    /// Directory for report.html, figures and eval.json
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Pictures a batch [default: as many as a GiB holds, at most 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "f32", hide_possible_values = true)]
    precision: Asked,
    #[command(flatten)]
    compute: ComputeFlags,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is evaluated, on what.
struct Opened {
    model: Model,
    /// What it learned by, if it says so.
    recipe: Option<Recipe>,
    parts: Parts,
    device: Arc<dyn Device>,
    crops: Crops,
}

fn open(args: &Args) -> anyhow::Result<Opened> {
    let crops = match args.crops {
        1 => Crops::One,
        10 => Crops::Ten,
        other => return Err(Usage(format!("--crops is {other}, expected 1 or 10")).into()),
    };
    if let Some(out) = &args.report {
        keep_runs("--report", out)?;
    }
    let model = load_model(&args.model)?;
    let recipe = recipe_of(&args.model, &model)?;
    let (data, split) = (args.data.as_deref(), args.split.as_deref());
    let parts = parts(data, split, &model, recipe.as_ref())?;
    let device = args.compute.open()?;
    Ok(Opened { model, recipe, parts, device, crops })
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let group = ranks::group();
    let opened = ranks::all(&group, open(&args))?;
    let Opened { mut model, recipe, parts, device, crops } = opened;
    let Parts { source, name, part, .. } = parts;
    let precision = args.precision.resolve(device.as_ref());
    let trained = recipe.as_ref().and_then(|recipe| recipe.train.precision.asked());
    if let Some(trained) = trained.filter(|trained| *trained != precision) {
        tell(&format!(
            "evaluated in {precision}; while it was trained, in {trained}, which gives slightly \
             other numbers: --precision {trained} repeats them"
        ));
    }
    let progress = bar(part.len() as u64, "images");
    let on = &mut |done: usize| progress.set_position(done as u64);
    let how = How { crops, precision, batch: args.batch.map(|n| n as usize) };
    let (ranks, device) = (group.as_deref(), device.as_ref());
    let evaluation = evaluate_as(&mut model, part.clone(), how, ranks, device, on)?;
    progress.finish_and_clear();
    for warning in &evaluation.warnings {
        tell(&format!("warning: {warning}"));
    }
    let (top1, top5, loss) =
        (evaluation.value("top1"), evaluation.value("top5"), evaluation.value("loss"));
    let command = command_line();
    let report = Report {
        model: &model,
        data: &source,
        split: &name,
        crops,
        evaluation: &evaluation,
        pictures: part.as_ref(),
        precision,
        command: &command,
    };
    if let Some(out) = args.report.as_ref().filter(|_| is_first(&group)) {
        evaluate::save(out, &report)?;
        tell(&format!("report  {}", out.join("report.html").display()));
    }
    let mut out = term::out();
    if args.json {
        out.json(report.summary())?;
        return Ok(());
    }
    writeln!(
        out,
        "{} on {} ({name}, {} images)",
        model.arch.name(),
        source,
        grouped(evaluation.count)
    )?;
    writeln!(
        out,
        "top-1  {:6.2} %   {} wrong{}",
        top1 * 100.0,
        grouped(evaluation.wrong),
        worth(top1, evaluation.count)
    )?;
    if model.classes.len() > 5 {
        writeln!(out, "top-5  {:6.2} %", top5 * 100.0)?;
    }
    writeln!(out, "loss   {loss:8.4}")?;
    writeln!(out, "F1     {:8.4}   mean over the classes", evaluation.value("macro_f1"))?;
    writeln!(
        out,
        "ECE    {:6.2} %   mean distance of confidence and accuracy",
        evaluation.value("ece") * 100.0
    )?;
    if let Some(before) = evaluation.uncalibrated {
        writeln!(
            out,
            "calibrated: logits are divided by {:.3}; without, loss {:.4}, ECE {:.2} %",
            before.temperature,
            before.loss,
            before.ece * 100.0
        )?;
    }
    for pair in evaluation.confusion.most_confused(3) {
        let class = |label: u32| &model.classes[label as usize];
        writeln!(
            out,
            "{:4} x  {} taken for {}",
            pair.count,
            class(pair.label),
            class(pair.predicted)
        )?;
    }
    Ok(())
}
