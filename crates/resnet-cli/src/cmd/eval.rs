//! `resnet eval`.

use std::io::Write;
use std::path::PathBuf;

use resnet::data::{self, OpenOptions};
use resnet::engine::exec;
use resnet::measure::evaluate::{self, Crops, Report, evaluate_crops};

use super::paths::{keep_runs, load_model};
use super::precision::Asked;
use crate::exit::Usage;
use crate::term::{bar, command_line, grouped, tell};

/// Arguments of `resnet eval`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  resnet eval runs/resnet20-builtin --data builtin --report look
Classes are matched by name. The model's own resizing, cropping and normalising are used.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory
    model: PathBuf,
    /// The pictures: builtin, cifar10:DIR, cifar100:DIR, mnist:DIR, folder:DIR, or DIR
    #[arg(long, value_name = "DATA", default_value = "builtin")]
    data: String,
    /// Which part of them: train, val or test [default: test, or what the data has in its place]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Views of each picture: 1, or 10 (centre and corners, each also mirrored), whose
    /// probabilities are averaged
    #[arg(long, value_name = "N", default_value_t = 1)]
    crops: u32,
    /// Directory for report.html, figures and eval.json
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "f32", hide_possible_values = true)]
    precision: Asked,
    /// Threads that compute; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let crops = match args.crops {
        1 => Crops::One,
        10 => Crops::Ten,
        other => return Err(Usage(format!("--crops is {other}, expected 1 or 10")).into()),
    };
    if let Some(out) = &args.report {
        keep_runs(out)?;
    }
    let mut model = load_model(&args.model)?;
    let splits = data::open(&args.data, &OpenOptions::default())?;
    for warning in &splits.warnings {
        tell(&format!("warning: {warning}"));
    }
    let (name, part) = match args.split.as_deref() {
        Some(name) => splits.part(name).ok_or_else(|| no_split(name, &args.data))?,
        None => match splits.test {
            Some(test) => (splits.test_name, test),
            None => {
                tell(&format!(
                    "warning: {} has no second split; these pictures may be those the model \
                     learned from",
                    args.data
                ));
                ("train".into(), splits.train)
            }
        },
    };
    let device = exec::cpu(args.threads)?;
    let precision = args.precision.resolve(device.as_ref());
    let progress = bar(part.len() as u64, "images");
    let on = &mut |done: usize| progress.set_position(done as u64);
    let evaluation =
        evaluate_crops(&mut model, part.clone(), crops, precision, device.as_ref(), on)?;
    progress.finish_and_clear();
    for warning in &evaluation.warnings {
        tell(&format!("warning: {warning}"));
    }
    let (top1, top5, loss) =
        (evaluation.value("top1"), evaluation.value("top5"), evaluation.value("loss"));
    let command = command_line();
    let report = Report {
        model: &model,
        data: &args.data,
        split: &name,
        crops,
        evaluation: &evaluation,
        pictures: part.as_ref(),
        precision,
        command: &command,
    };
    if let Some(out) = &args.report {
        evaluate::save(out, &report)?;
        tell(&format!("report  {}", out.join("report.html").display()));
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.summary())?;
        return Ok(());
    }
    writeln!(
        out,
        "{} on {} ({name}, {} images)",
        model.arch.name(),
        args.data,
        grouped(evaluation.count)
    )?;
    writeln!(out, "top-1  {:6.2} %   {} wrong", top1 * 100.0, grouped(evaluation.wrong))?;
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

fn no_split(name: &str, data: &str) -> Usage {
    Usage(match name {
        "train" | "val" | "test" => format!("{data} has no split `{name}`"),
        other => format!("--split is `{other}`, expected train, val or test"),
    })
}
