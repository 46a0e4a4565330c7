//! `resnet compare`.

use std::path::{Path, PathBuf};

use resnet::base::files::free_directory;
use resnet::study::compare::{
    self, Group, Look, Outcome, Record, Request, State, Watch, conclusions, groups,
};
use resnet::study::inspect::{Inspection, describe};
use resnet::train::Observer;
use resnet::train::recipe::Recipe;
use resnet::train::task::Task;

use super::flags::{BudgetFlags, add_changes, changes};
use super::paths::keep_runs;
use crate::exit::{Stopped, Usage};
use crate::observer::{self, Watcher};
use crate::term::{self, Out, command_line, grouped, scaled, tell};

/// Depths compared where nothing else is asked for.
const DEPTHS: &[usize] = &[20, 56];
/// The recipe of runs where no other is named.
const RECIPE: &str = "depth";
/// Where comparisons go that name no other place.
const STORE: &str = "runs/compare";
/// Deepest network that a list of depths may name.
const DEEPEST: usize = 10_000;

/// Arguments of `resnet compare`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet compare                           20 and 56 layers on the built-in pictures, in minutes
  resnet compare --depths 20,32,44,56,110 --data cifar10:DIR --recipe paper-cifar --seeds 3
  resnet compare --archs resnet20:shortcut=A,resnet20:shortcut=B,resnet20:shortcut=C
  resnet compare --archs resnet110,preresnet110 --data cifar10:DIR --epochs 10
  resnet compare --runs runs/a runs/b      runs made earlier
The same command again goes on where it was stopped, and adds what is missing.")]
#[command(
    mut_arg("recipe", |arg| arg.default_value(RECIPE)),
    mut_arg("seed", |arg| arg.help("First seed"))
)]
pub(crate) struct Args {
    /// Changes to the recipe, such as batch=128
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// Depths of plain and residual twins [default: 20,56]
    #[arg(long, value_name = "N,N,...", conflicts_with = "archs")]
    depths: Option<String>,
    /// Networks, separated by commas
    #[arg(long, value_name = "ARCH,ARCH,...")]
    archs: Option<String>,
    /// Directories of finished runs: alone, or beside those that --depths or --archs trains
    #[arg(long, value_name = "DIR", num_args = 1..)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    flags: BudgetFlags,
    /// Runs of each network, each with its own seed [default: 1]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Directory of the comparison [default: runs/compare]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let command = command_line();
    let (threads, device) = args.flags.recipe.task.compute.read()?;
    let trains = args.runs.is_empty() || args.depths.is_some() || args.archs.is_some();
    let mut watch = None;
    let (out, task, records) = if trains {
        let out = args.out.clone().unwrap_or_else(|| STORE.into());
        keep_runs("--out", &out)?;
        let request = Request {
            archs: networks(&args)?,
            seeds: args.seeds.unwrap_or(1),
            recipe: recipe(&args)?,
            out: out.clone(),
            runs: args.runs.clone(),
            command: command.clone(),
        };
        let watch = watch.insert(Terminal::new()?);
        match compare::run(&request, watch)? {
            Some((task, records)) => (out, task, records),
            None => return Err(stopped()),
        }
    } else {
        only_runs(&args)?;
        args.out.as_deref().map_or(Ok(()), |out| keep_runs("--out", out))?;
        let (task, records) = compare::gather(&args.runs, &device, threads.unwrap_or(0))?;
        let out = match &args.out {
            Some(out) => out.clone(),
            None => free_directory(Path::new(STORE))?,
        };
        (out, task, records)
    };
    // Who only reads runs has nothing to save: Ctrl-C ends it at once.
    let mut goes_on = || watch.as_mut().is_none_or(Watch::goes_on);
    finish(&args, &out, &command, &task, &records, &mut goes_on)
}

/// Says what several runs that were stopped need to go on.
pub(super) fn stopped() -> anyhow::Error {
    tell("stopped; the same command goes on from here");
    Stopped.into()
}

/// Refuses what has no meaning where nothing is trained.
fn only_runs(args: &Args) -> Result<(), Usage> {
    let free = |flag: &str| flag == "--threads" || flag == "--device";
    let flags = args.flags.rows().into_iter().filter(|(flag, ..)| !free(flag));
    let recipe = (args.flags.recipe.name != RECIPE).then_some("--recipe");
    let seeds = args.seeds.map(|_| "--seeds");
    let mut given = flags.filter_map(|(flag, _, value)| value.is_some().then_some(flag));
    let mut given = recipe.into_iter().chain(seeds).chain(&mut given);
    match given.next().or(args.changes.first().map(String::as_str)) {
        Some(given) => Err(Usage(format!(
            "--runs alone takes runs as they are; remove `{given}`, or name networks to train by \
             --depths or --archs"
        ))),
        None => Ok(()),
    }
}

fn finish(
    args: &Args,
    out: &std::path::Path,
    command: &str,
    task: &Task,
    records: &[Record],
    goes_on: &mut dyn FnMut() -> bool,
) -> anyhow::Result<()> {
    let groups = groups(records);
    tell("looking into the networks");
    let Some(look) = Look::into(task, &groups, goes_on)? else {
        return Err(stopped());
    };
    compare::save(out, &groups, &look, command)?;
    let mut stdout = term::out();
    if args.json {
        stdout.json(json(&groups, &look))?;
    } else {
        write_summary(&mut stdout, &groups, &look)?;
    }
    tell(&format!("report  {}", out.join("report.html").display()));
    Ok(())
}

/// What `--depths` or `--archs` names.
fn networks(args: &Args) -> Result<Vec<String>, Usage> {
    if let Some(list) = &args.archs {
        return Ok(split_networks(list));
    }
    let Some(list) = &args.depths else {
        return Ok(compare::twins(DEPTHS));
    };
    let mut depths: Vec<usize> = Vec::new();
    for text in list.split(',') {
        let depth = text.trim().parse().ok();
        let depth = depth.filter(|depth| (1..=DEEPEST).contains(depth));
        let depth = depth.ok_or_else(|| {
            Usage(format!(
                "--depths is `{list}`: found `{text}`, expected whole numbers from 1 to \
                 {DEEPEST}, such as 20,32,44,56"
            ))
        })?;
        if depths.contains(&depth) {
            return Err(Usage(format!(
                "--depths is `{list}`: {depth} is named twice; name each depth once"
            )));
        }
        depths.push(depth);
    }
    Ok(compare::twins(&depths))
}

/// Splits at the commas between networks; a part `key=value` without a colon belongs to the network
/// before it.
fn split_networks(list: &str) -> Vec<String> {
    let mut networks: Vec<String> = Vec::new();
    for part in list.split(',') {
        match networks.last_mut() {
            Some(last) if part.contains('=') && !part.contains(':') => {
                *last += if last.contains(':') { "," } else { ":" };
                *last += part.trim();
            }
            _ => networks.push(part.trim().into()),
        }
    }
    networks
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let mut changes = changes(&args.flags.rows());
    let named = args.changes.iter().filter(|word| !word.contains('=') || word.contains(':'));
    let named: Vec<&str> = named.map(String::as_str).collect();
    if !named.is_empty() {
        return Err(Usage(format!(
            "networks are named by --depths or --archs; write --archs {}",
            named.join(",")
        ))
        .into());
    }
    add_changes(&mut changes, &args.changes)?;
    let mut recipe = Recipe::load(&args.flags.recipe.name, &changes)?;
    let asked = changes.iter().any(|(key, _)| key.ends_with("monitor_every"));
    if !asked && recipe.train.monitor_every.is_some_and(|every| every.is_zero()) {
        // The report wants to show where the gradient went.
        recipe.train.monitor_every = None;
    }
    Ok(recipe)
}

/// Tells of runs on standard error; the bar or the lines of each are those of `resnet train`.
pub(super) struct Terminal {
    watcher: Box<dyn Watcher>,
}

impl Terminal {
    pub(super) fn new() -> anyhow::Result<Terminal> {
        Ok(Terminal { watcher: observer::of_many()? })
    }
}

impl Watch for Terminal {
    fn run(&mut self, number: usize, of: usize, name: &str, state: State) {
        let what = match state {
            State::New => "training",
            State::Resumed => "going on with",
            State::Finished => "finished before:",
        };
        tell(&format!("[{number}/{of}] {what} {name}"));
    }

    fn tell(&mut self, text: &str) {
        tell(text);
    }

    fn observer(&mut self) -> &mut dyn Observer {
        self.watcher.as_mut()
    }

    fn goes_on(&mut self) -> bool {
        !self.watcher.is_stopped()
    }
}

fn json(groups: &[Group<'_>], look: &Look) -> serde_json::Value {
    let runs: Vec<serde_json::Value> = groups
        .iter()
        .flat_map(|group| group.runs.iter().map(move |run| (group, run)))
        .map(|(group, run)| {
            serde_json::json!({
                "arch": run.started.arch, "depth": group.depth, "residual": group.residual,
                "seed": run.started.seed, "params": run.started.params, "macs": run.started.macs,
                "train_error": run.train_error, "test_error": run.test_error,
                "seconds": run.seconds,
                "diverged": run.outcome != Outcome::Finished,
            })
        })
        .collect();
    let gradients: Vec<serde_json::Value> = look
        .initial
        .iter()
        .map(|start| {
            let Inspection { verdict, trend, .. } = &start.inspection;
            serde_json::json!({
                "network": start.label, "verdict": verdict, "per_layer": trend.per_layer(),
                "end_to_end": trend.end_to_end(),
            })
        })
        .collect();
    let learned: Vec<serde_json::Value> = look
        .learned
        .iter()
        .map(|(index, learned)| {
            serde_json::json!({ "network": groups[*index].label, "learned": learned })
        })
        .collect();
    let texts: Vec<String> = conclusions(groups, look).into_iter().map(|f| f.text).collect();
    serde_json::json!({ "runs": runs, "gradients": gradients, "learned": learned, "findings": texts })
}

fn write_summary(out: &mut Out, groups: &[Group<'_>], look: &Look) -> std::io::Result<()> {
    let width = groups.iter().map(|g| g.label.len()).max().unwrap_or(0);
    writeln!(out)?;
    writeln!(
        out,
        "{:<width$}  {:>14}  {:>14}  {:>12}  {:>12}",
        "network", "training error", "test error", "parameters", "MACs"
    )?;
    for group in groups {
        let started = &group.runs[0].started;
        writeln!(
            out,
            "{:<width$}  {:>14}  {:>14}  {:>12}  {:>12}",
            group.label,
            group.text(group.train_error()),
            group.text(group.test_error()),
            grouped(started.params),
            scaled(started.macs)
        )?;
    }
    writeln!(out)?;
    for finding in conclusions(groups, look) {
        writeln!(out, "{}", finding.text)?;
    }
    let labels = look.initial.iter().map(|start| start.label.len());
    let width = labels.max().unwrap_or(0);
    if width > 0 {
        writeln!(out)?;
        writeln!(out, "Gradient before training")?;
    }
    for start in &look.initial {
        let (label, trend) = (&start.label, &start.inspection.trend);
        writeln!(out, "{label:<width$}  {}", describe(trend))?;
    }
    Ok(())
}
