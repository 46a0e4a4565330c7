//! `resnet data split`.

use std::fs;
use std::path::{Path, PathBuf};

use resnet::data::check::Part;
use resnet::data::division::{Division, GroupBy, Shares, divide};

use crate::exit::Usage;
use crate::term::{self, Out, grouped, tell};

/// Classes that are printed; `--json` has all.
const CLASSES: usize = 40;

/// Arguments of `resnet data split`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet data split photos --out split.csv                        9 of 10 to learn from
  resnet data split scans --val 15% --test 15% --group-by prefix:_ --out split.csv
Nothing is moved: the list names each file with its class and split, relative to the list's own \
folder, and is data
itself (--data split.csv). Groups: `folder`, pictures of one folder below their class's; \
`prefix:_`, names up to the first
`_`, as in patient7_03.jpg; `prefix-last:_`, up to the last; `column:patient`, a column of a \
list. The same pictures,
seed and rule give the same list.")]
pub(super) struct Args {
    /// The pictures: a folder with a folder a class, or a list
    data: String,
    /// The list to write: CSV with path, label, split
    #[arg(long, value_name = "LIST.csv")]
    out: PathBuf,
    /// What to choose by, of each class [default: 10%, where --test is not given]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    val: Option<f64>,
    /// What to report on, of each class [default: none]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    test: Option<f64>,
    /// What stays together: folder, prefix:SEP, prefix-last:SEP or column:NAME
    #[arg(long, value_name = "RULE", value_parser = rule)]
    group_by: Option<GroupBy>,
    /// Divide all pictures anew; else those of a val or test split stay there
    #[arg(long)]
    pool: bool,
    /// Names the choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write over a list that says something else
    #[arg(long)]
    replace: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Reads `10%` or `0.1`.
fn share(text: &str) -> Result<f64, String> {
    let expected = || "expected a share such as 10% or 0.1".to_string();
    let share: f64 = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| expected())? / 100.0,
        None => text.parse().map_err(|_| expected())?,
    };
    match share > 0.0 && share < 1.0 {
        true => Ok(share),
        false if !text.ends_with('%') && (1.0..100.0).contains(&share) => {
            Err(format!("{}; write {text}% for {text} of 100", expected()))
        }
        false => Err(expected()),
    }
}

fn rule(text: &str) -> Result<GroupBy, String> {
    text.parse()
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let val = match (args.val, args.test) {
        (None, None) => Some(0.1),
        (val, _) => val,
    };
    if val.unwrap_or(0.0) + args.test.unwrap_or(0.0) >= 1.0 {
        return Err(Usage("--val and --test leave no pictures for training".into()).into());
    }
    let shares = Shares {
        val,
        test: args.test,
        group_by: args.group_by.unwrap_or_default(),
        pool: args.pool,
        seed: args.seed,
    };
    let division = divide(&args.data, &shares)?;
    keep_others(&args.out, &division, args.replace)?;
    division.save(&args.out)?;
    for warning in &division.warnings {
        tell(&format!("warning: {warning}"));
    }
    let list = resnet::base::text::path(&args.out).to_string();
    let mut out = term::out();
    if args.json {
        let mut found = serde_json::to_value(&division)?;
        (found["list"], found["seed"]) = (list.into(), args.seed.into());
        out.json(found)?;
        return Ok(());
    }
    write(&mut out, &division.parts)?;
    drop(out);
    tell(&format!("list    {list}"));
    Ok(())
}

/// Refuses to write over another division: what was measured by it would no longer be told apart.
fn keep_others(list: &Path, division: &Division, replace: bool) -> anyhow::Result<()> {
    let there = fs::read_to_string(list).ok().filter(|text| !text.is_empty());
    anyhow::ensure!(
        replace || there.is_none_or(|there| there == division.text(list)),
        "{} is there and holds something else; choose another --out, or add --replace",
        resnet::base::text::path(list)
    );
    Ok(())
}

fn write(out: &mut Out, parts: &[Part]) -> std::io::Result<()> {
    let all: usize = parts.iter().map(|part| part.images).sum();
    for part in parts {
        let counts = part.classes.iter().map(|c| c.images);
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        writeln!(
            out,
            "{:<6} {:>9} pictures ({:.1} %), {} to {} of each class",
            part.split,
            grouped(part.images as u64),
            part.images as f64 / all.max(1) as f64 * 100.0,
            grouped(least as u64),
            grouped(most as u64)
        )?;
    }
    writeln!(out)?;
    let Some(first) = parts.first() else { return Ok(()) };
    let shown = &first.classes[..first.classes.len().min(CLASSES)];
    let width = shown.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max(5);
    let names: String = parts.iter().map(|part| format!("  {:>9}", part.split)).collect();
    writeln!(out, "{:<width$}{names}", "class")?;
    for (i, class) in shown.iter().enumerate() {
        let count = |part: &Part| format!("  {:>9}", grouped(part.classes[i].images as u64));
        let counts: String = parts.iter().map(count).collect();
        writeln!(out, "{:<width$}{counts}", class.class)?;
    }
    if first.classes.len() > CLASSES {
        let more = first.classes.len() - CLASSES;
        writeln!(out, "and {more} more classes; --json lists all")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_read() {
        for (text, expected) in [("10%", 0.1), ("0.25", 0.25), ("2.5 %", 0.025), (".5", 0.5)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "ten", "0", "0%", "1", "100%", "-5%", "NaN", "inf", "150"] {
            assert!(share(text).unwrap_err().contains("such as 10% or 0.1"), "{text}");
        }
        assert!(share("20").unwrap_err().contains("write 20% for 20 of 100"));
    }
}
