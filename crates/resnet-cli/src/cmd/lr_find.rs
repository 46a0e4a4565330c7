//! `--lr-find` of `resnet train` and `resnet finetune`.

use std::path::PathBuf;

use resnet::base::files::free_directory;
use resnet::train::recipe::Recipe;
use resnet::train::{self, Flow, LrFind};

use super::paths::{keep_runs, usual_run};
use crate::exit::Stopped;
use crate::term::{self, Out, bar, command_line, flow, stop_at_signals, tell};

/// Runs a range test and tells the rate to try; its page goes into a directory.
pub(super) fn find_rate(recipe: Recipe, out: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    out.as_deref().map_or(Ok(()), |out| keep_runs("--out", out))?;
    let usual = usual_run("lr-find-", &recipe);
    let stop = stop_at_signals()?;
    let progress = bar(0, "steps");
    let found = train::lr_find(recipe, &mut |done, total| {
        progress.set_length(total);
        progress.set_position(done);
        flow(&stop)
    })?;
    progress.finish_and_clear();
    if flow(&stop) == Flow::Stop {
        tell("stopped before the end of the test");
        return Err(Stopped.into());
    }
    let out = match out {
        Some(out) => out,
        None => free_directory(&usual)?,
    };
    found.save(&out, &command_line())?;
    tell(&format!("report  {}", out.join("report.html").display()));
    let mut stdout = term::out();
    if json {
        stdout.json(serde_json::to_string(&found)?)?;
    } else {
        write_table(&mut stdout, &found)?;
    }
    anyhow::ensure!(
        found.suggestion.is_some(),
        "the loss never fell, so no rate can be suggested; try a larger batch"
    );
    Ok(())
}

fn write_table(stdout: &mut Out, found: &LrFind) -> std::io::Result<()> {
    let every = found.points.len().div_ceil(20).max(1);
    writeln!(stdout, "{:>10}  {:>8}  {:>8}", "lr", "loss", "smoothed")?;
    for point in found.points.iter().step_by(every) {
        let (lr, loss, smoothed) = (point.lr, point.loss, point.smoothed);
        writeln!(stdout, "{lr:>10.2e}  {loss:>8.4}  {smoothed:>8.4}")?;
    }
    if let Some(lr) = found.suggestion {
        writeln!(stdout)?;
        writeln!(stdout, "try lr={lr:.1e} (the recipe has {})", found.lr)?;
    }
    Ok(())
}
