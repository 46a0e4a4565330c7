//! `resnet data`.

mod pack;
mod preview;
mod split;
mod stats;

use resnet::data::check::{Check, Depth, Part, Severity, check};

use crate::term::{self, Out, bar, grouped};

/// Items of a problem that are printed; `--json` has all.
const ITEMS: usize = 8;

/// Arguments of `resnet data`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Find damaged files, repeated pictures, and classes that are empty, missing or rare
    Check(CheckArgs),
    /// Write down which pictures there are, so that opening them looks at none
    Index(IndexArgs),
    /// Say what there is: classes, sizes, formats, colours; with a page to look at
    Stats(stats::Args),
    /// Divide pictures into train, val and test, as a list that is data itself
    Split(split::Args),
    /// Show what a recipe makes of pictures before the network sees them, as a page
    Preview(preview::Args),
    /// Copy pictures into a few large files, tar or Parquet, that are quick to read and to move
    Pack(pack::Args),
}

/// Arguments of `resnet data check`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  resnet data check folder:photos
Errors are what makes training fail or its result mislead: damaged files, pictures in two splits \
or two classes, classes
without pictures. The exit code is then 1; warnings alone leave 0, or 1 with --strict.")]
struct CheckArgs {
    /// The pictures: builtin, KIND:PLACE, or a DIR, list, tar, zip or Parquet file that is
    /// recognised; `resnet models` lists the kinds
    data: String,
    /// Read headers only, and compare the bytes of files of equal length, instead of decoding every
    /// picture
    #[arg(long)]
    quick: bool,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Arguments of `resnet data index`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet data index photos                     # writes photos/.resnet-index
  resnet data index labels.csv                 # writes labels.csv.resnet-index
  resnet data index 'train-{0000..0146}.tar'
An index is used as long as folders and shards are what they were, and made again otherwise. Data of \
more than 10,000
pictures gets one when it is first opened.")]
struct IndexArgs {
    /// The pictures, as of `resnet data check`
    data: String,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Check(args) => run_check(&args),
        Verb::Index(args) => run_index(&args),
        Verb::Stats(args) => stats::run(args),
        Verb::Split(args) => split::run(args),
        Verb::Preview(args) => preview::run(args),
        Verb::Pack(args) => pack::run(&args),
    }
}

fn run_index(args: &IndexArgs) -> anyhow::Result<()> {
    let made = resnet::data::index(&args.data)?;
    for warning in &made.warnings {
        term::tell(&format!("warning: {warning}"));
    }
    let mut out = term::out();
    if args.json {
        let splits: std::collections::BTreeMap<_, _> = made.splits.iter().cloned().collect();
        let file = made.file.to_string_lossy();
        out.json(serde_json::json!({ "file": file, "splits": splits }).to_string())?;
        return Ok(());
    }
    for (split, pictures) in &made.splits {
        writeln!(out, "{split:<6} {:>9} pictures", grouped(*pictures as u64))?;
    }
    writeln!(out, "wrote {}", resnet::base::text::path(&made.file))?;
    Ok(())
}

fn run_check(args: &CheckArgs) -> anyhow::Result<()> {
    let depth = if args.quick { Depth::Quick } else { Depth::Full };
    let progress = bar(0, "pictures");
    let found = check(&args.data, depth, &|done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    let mut out = term::out();
    if args.json {
        out.json(serde_json::to_string(&found)?)?;
    } else {
        write(&mut out, &found)?;
    }
    drop(out);
    let least = if args.strict { Severity::Warning } else { Severity::Error };
    let bad = found.problems.iter().filter(|p| p.severity >= least);
    let bad: usize = bad.map(|p| p.count).sum();
    let unit = if bad == 1 { "problem" } else { "problems" };
    anyhow::ensure!(bad == 0, "{}: {bad} {unit}", args.data);
    Ok(())
}

/// A line for a split, whose name takes `width` columns.
fn counts(out: &mut Out, part: &Part, width: usize) -> std::io::Result<()> {
    let counts = part.classes.iter().map(|c| c.images);
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    writeln!(
        out,
        "{:<width$} {:>9} pictures of {} classes, {} to {} each",
        part.split,
        grouped(part.images as u64),
        part.classes.len(),
        grouped(least as u64),
        grouped(most as u64)
    )
}

fn write(out: &mut Out, found: &Check) -> std::io::Result<()> {
    for part in &found.splits {
        counts(out, part, 6)?;
    }
    for problem in &found.problems {
        let word = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(out)?;
        writeln!(out, "{word}: {}", problem.message)?;
        for item in problem.items.iter().take(ITEMS) {
            writeln!(out, "  {item}")?;
        }
        if problem.count > ITEMS {
            writeln!(out, "  and {} more; --json lists all", problem.count - ITEMS)?;
        }
    }
    let how = match found.depth {
        Depth::Quick => "headers were read, pictures not decoded",
        Depth::Full => "every picture was decoded",
    };
    let verdict = if found.problems.is_empty() { "nothing found; " } else { "" };
    writeln!(out)?;
    writeln!(out, "{verdict}{how}, equal ones compared by {}", found.compared)
}
