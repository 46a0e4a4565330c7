//! What a comparison leaves on disk.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::error::CompareError;
use super::figures::{Look, NAMES, figures};
use super::group::Group;
use super::page;
use super::record::Outcome;
use crate::page::charts::save::{save_figures, write};

/// Writes `report.html`, `figures/*.svg`, `runs.csv`, `curves.csv` and `gradients.csv` into a
/// directory.
///
/// # Errors
/// A file cannot be written.
pub fn save(
    out: &Path,
    groups: &[Group<'_>],
    look: &Look,
    command: &str,
) -> Result<(), CompareError> {
    let figures = figures(groups, look);
    // What an earlier comparison drew here and this one does not would be taken for part of it.
    for name in NAMES.iter().filter(|name| figures.iter().all(|f| f.name != **name)) {
        let _ = fs::remove_file(out.join(format!("figures/{name}.svg")));
    }
    save_figures(out, &figures)?;
    write(out, "runs.csv", &runs(groups))?;
    write(out, "curves.csv", &curves(groups))?;
    write(out, "gradients.csv", &gradients(look))?;
    let page = page::render(groups, look, &figures, command);
    write(out, "report.html", &page)?;
    Ok(())
}

/// A CSV field: quoted where it needs it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

fn runs(groups: &[Group<'_>]) -> String {
    let mut csv = String::from(
        "arch,label,depth,residual,seed,params,macs,steps,batch,train_error,test_error,seconds,outcome\n",
    );
    for group in groups {
        for run in &group.runs {
            let s = &run.started;
            let outcome = match &run.outcome {
                Outcome::Finished => "finished".into(),
                Outcome::Diverged { step, .. } => format!("diverged after {step} steps"),
            };
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{},{},{},{},{},{},{:.1},{outcome}",
                field(&s.arch),
                field(&group.label),
                group.depth,
                group.residual,
                s.seed,
                s.params,
                s.macs,
                s.steps,
                s.batch,
                run.train_error,
                run.test_error,
                run.seconds
            );
        }
    }
    csv
}

fn curves(groups: &[Group<'_>]) -> String {
    let mut csv =
        String::from("label,seed,step,epoch,train_error,train_loss,test_error,test_loss,lr\n");
    for run in groups.iter().flat_map(|g| g.runs.iter().map(move |r| (g, r))) {
        let (group, run) = run;
        for e in &run.evaluations {
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{},{},{},{}",
                field(&group.label),
                run.started.seed,
                e.step,
                e.epoch,
                1.0 - e.train_top1,
                e.train_loss,
                1.0 - e.top1,
                e.loss,
                e.lr
            );
        }
    }
    csv
}

fn gradients(look: &Look) -> String {
    let mut csv =
        String::from("network,layer,name,activation_gradient_norm,gradient_norm,response_std\n");
    for start in &look.initial {
        for (layer, l) in (1..).zip(start.inspection.measurement.path()) {
            let _ = writeln!(
                csv,
                "{},{layer},{},{},{},{}",
                field(&start.label),
                l.name,
                l.activation_gradient_norm,
                l.gradient_norm,
                l.response_std
            );
        }
    }
    csv
}
