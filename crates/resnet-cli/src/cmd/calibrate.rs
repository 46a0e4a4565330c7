//! `resnet calibrate`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnet::base::text;
use resnet::data::{self, Dataset, OpenOptions};
use resnet::measure::confidence::{NoOptimum, fewest};
use resnet::study::calibrate::{self, Calibrated, How, Pictures, Report};

use super::flags::ComputeFlags;
use super::parts::{Parts, parts};
use super::paths::{keep_runs, load_model, model_file, recipe_of};
use super::precision::Asked;
use crate::exit::Usage;
use crate::observer::worth;
use crate::places;
use crate::term::{self, Out, bar, command_line, grouped, tell};
use crate::weights::Weights;

/// Arguments of `resnet calibrate`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet calibrate runs/resnet20-builtin
  resnet calibrate resnet50 --data folder:photos -o resnet50.safetensors --against others
One half of the pictures fits, every number printed is of the other. `resnet predict` then says
`not sure` and `unlike the training pictures`; the weights stay as they are.")]
pub(crate) struct Args {
    /// Model file or run directory, or published weights such as resnet50
    model: PathBuf,
    /// Pictures of the model's kind: builtin, cifar10:DIR, cifar100:DIR, mnist:DIR, folder:DIR, or
    /// a DIR, list, tar or zip file that is recognised; what the model learned from is their train
    /// split [default: those of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Which part of them the model did not learn from: val or test [default: as eval]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Share of sure answers that shall be right
    #[arg(long, value_name = "X", default_value = "0.99", value_parser = wanted)]
    wanted: f64,
    /// Pictures of another kind, to see whether they are told apart
    #[arg(long, value_name = "DATA")]
    against: Option<String>,
    /// File to write [default: the model's own]
    #[arg(short, long, value_name = "MODEL")]
    out: Option<PathBuf>,
    /// Directory for report.html, figures and calibration.json
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "f32", hide_possible_values = true)]
    precision: Asked,
    #[command(flatten)]
    compute: ComputeFlags,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

fn wanted(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|x| *x > 0.0 && *x < 1.0);
    share.ok_or_else(|| "expected a share above 0 and below 1, such as 0.99".into())
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if let Some(out) = &args.report {
        keep_runs("--report", out)?;
    }
    if args.out.is_none() && Weights::of_path(&args.model).is_some() {
        return Err(own(&args.model).into());
    }
    let file = model_file(&args.model)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None if places::is_made(&file) || !is_ours(&file) => return Err(own(&file).into()),
        None => file.clone(),
    };
    let mut model = load_model(&file)?;
    if args.out.is_none() && model.is_checkpoint() {
        return Err(own(&file).into());
    }
    let recipe = recipe_of(&args.model, &model)?;
    if args.data.is_none() && recipe.is_none() {
        return Err(Usage(format!(
            "{} does not say what it was trained on; name pictures with --data",
            file.display()
        ))
        .into());
    }
    let (data, split) = (args.data.as_deref(), args.split.as_deref());
    let Parts { source, name, part, train } = parts(data, split, &model, recipe.as_ref())?;
    let other = args.against.as_deref().map(others).transpose()?;
    let device = args.compute.open()?;
    let how = How {
        wanted: args.wanted,
        data: format!("{source} ({name})"),
        precision: args.precision.resolve(device.as_ref()),
    };
    let pictures = Pictures { train, held_out: part, other };
    let progress = bar(pictures.held_out.len() as u64, "images");
    let on = &mut |done: usize, total: usize| {
        progress.set_length(total as u64);
        progress.set_position(done as u64);
    };
    let calibrated = calibrate::calibrate(&model, &pictures, &how, device.as_ref(), on)?;
    progress.finish_and_clear();
    warn(&calibrated, &pictures);
    model.confidence = Some(calibrated.confidence.clone());
    model.save(&out)?;
    let (arch, command) = (model.arch.name(), command_line());
    let report = Report {
        arch: &arch,
        calibrated: &calibrated,
        other: args.against.as_deref(),
        precision: how.precision,
        command: &command,
    };
    if let Some(out) = &args.report {
        calibrate::save(out, &report)?;
        tell(&format!("report  {}", out.join("report.html").display()));
    }
    let mut to = term::out();
    if args.json {
        let mut json = report.summary();
        json["model"] = text::path(&out).to_string().into();
        to.json(json)?;
        return Ok(());
    }
    write(&mut to, &report)?;
    writeln!(to, "model   {}", out.display())?;
    Ok(())
}

/// Whether a file is of the kind that models are written as.
fn is_ours(file: &Path) -> bool {
    file.extension().is_none_or(|ending| ending == "safetensors")
}

fn own(file: &Path) -> Usage {
    Usage(format!("{} stays as it is; name a model file to write with -o", file.display()))
}

/// The pictures of some data of another kind.
fn others(source: &str) -> anyhow::Result<Arc<dyn Dataset>> {
    let splits = data::open(source, &OpenOptions { one_class: true, ..OpenOptions::default() })?;
    for warning in &splits.warnings {
        tell(&format!("warning: {warning}"));
    }
    Ok(splits.test.unwrap_or(splits.train))
}

/// What could not be read, and what could not be fitted.
fn warn(calibrated: &Calibrated, pictures: &Pictures) {
    let confidence = &calibrated.confidence;
    let mut warnings = calibrated.warnings.clone();
    let why = match calibrated.no_optimum {
        Some(NoOptimum::NoMistakes) => {
            Some("no picture is wrong, so none says how sure is too sure")
        }
        Some(_) => Some("the network does no better than chance"),
        None => None,
    };
    warnings.extend(why.map(|why| format!("the temperature stays 1: {why}")));
    if confidence.threshold.is_none() {
        let (count, least) = (confidence.count, fewest(confidence.precision));
        warnings.push(match count < least {
            true => format!(
                "no answer will be sure: {} pictures cannot show that {} of the answers are right; \
                 {} more held-out pictures could, or a lower --wanted",
                grouped(count),
                percent(confidence.precision),
                grouped(2 * (least - count))
            ),
            false => format!(
                "no answer will be sure: it is not shown of the surest that {} are right; try a \
                 lower --wanted",
                percent(confidence.precision)
            ),
        });
    }
    if confidence.likeness.is_none() {
        let why = match pictures.train {
            Some(_) => "they are too few, or the network sees no difference between them",
            None => "the data has no part that the model learned from",
        };
        warnings.push(format!("pictures unlike the training pictures will not be told: {why}"));
    }
    warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
}

/// A share with as many digits as it has, two decimals at least where there are some.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn write(out: &mut Out, report: &Report<'_>) -> anyhow::Result<()> {
    let Calibrated { confidence, tested, against, .. } = report.calibrated;
    let share = |part: usize, of: usize| part as f64 / of as f64;
    writeln!(
        out,
        "{}: fitted on {} pictures of {}, measured on {} others of them",
        report.arch,
        grouped(confidence.count),
        confidence.data,
        grouped(tested.count as u64)
    )?;
    writeln!(out, "temperature {:.3}", confidence.temperature)?;
    let (before, after) = (&tested.before, &tested.after);
    writeln!(out, "loss   {:8.4}   {:.4} before", after.loss, before.loss)?;
    writeln!(
        out,
        "ECE    {:6.2} %   {:.2} % before; mean distance of confidence and accuracy",
        after.ece * 100.0,
        before.ece * 100.0
    )?;
    if let Some(threshold) = confidence.threshold {
        writeln!(
            out,
            "sure   {:6.2} %   of the answers: those of probability {threshold:.4} or more",
            share(tested.sure, tested.count) * 100.0
        )?;
        let precision = share(tested.sure_right, tested.sure);
        writeln!(
            out,
            "right  {:6.2} %   of the sure answers, {} was wanted{}; of all {:.2} %",
            precision * 100.0,
            percent(confidence.precision),
            worth(precision, tested.sure as u64),
            share(tested.right, tested.count) * 100.0
        )?;
    }
    if let Some(unlike) = tested.unlike {
        writeln!(
            out,
            "unlike {:6.2} %   of these pictures, by {} training pictures",
            share(unlike, tested.count) * 100.0,
            grouped(report.calibrated.learned as u64)
        )?;
    }
    let Some((against, name)) = against.as_ref().zip(report.other) else { return Ok(()) };
    writeln!(out, "against {name}, {} pictures", grouped(against.count as u64))?;
    if let Some(unlike) = against.unlike {
        writeln!(out, "unlike {:6.2} %", share(unlike, against.count) * 100.0)?;
    }
    for (score, area) in &against.areas {
        writeln!(out, "AUROC  {:6.2} %   by {score}", area * 100.0)?;
    }
    Ok(())
}
