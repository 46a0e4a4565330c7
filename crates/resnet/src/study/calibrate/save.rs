//! What a calibration leaves on disk besides the model.

use std::path::Path;

use serde_json::{Value, json};

use super::{Calibrated, Quality, page};
use crate::base::files::FileError;
use crate::page::charts::save::{save_figures, write};
use resnet_engine::step::Precision;

/// A calibration and what it is of.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The network, options included.
    pub arch: &'a str,
    /// What was found.
    pub calibrated: &'a Calibrated,
    /// The pictures of another kind, if there were some.
    pub other: Option<&'a str>,
    /// How maps were stored.
    pub precision: Precision,
    /// What was typed.
    pub command: &'a str,
}

impl Report<'_> {
    /// The key numbers. `temperature`, `threshold`, `wanted`, `data` and `fitted_on` are what the
    /// model keeps; `before`, `after`, `coverage`, `precision_at_threshold` and `unlike` are of the
    /// `tested_on` other pictures, `against` of those of another kind. null is what is not known.
    pub fn summary(&self) -> Value {
        let Calibrated { confidence, tested, against, learned, .. } = self.calibrated;
        let quality = |q: &Quality| json!({"loss": q.loss, "ece": q.ece});
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        json!({
            "arch": self.arch, "precision": self.precision.name(),
            "temperature": confidence.temperature, "threshold": confidence.threshold,
            "wanted": confidence.precision, "data": confidence.data,
            "fitted_on": confidence.count, "tested_on": tested.count, "learned_from": learned,
            "top1": share(tested.right, tested.count),
            "before": quality(&tested.before), "after": quality(&tested.after),
            "coverage": share(tested.sure, tested.count),
            "precision_at_threshold": share(tested.sure_right, tested.sure),
            "unlike": tested.unlike.and_then(|unlike| share(unlike, tested.count)),
            "against": against.as_ref().map(|against| json!({
                "data": self.other, "count": against.count,
                "unlike": against.unlike.and_then(|unlike| share(unlike, against.count)),
                "auroc": against.areas.iter().map(|(name, area)| (name.to_string(), json!(area)))
                    .collect::<serde_json::Map<_, _>>(),
            })),
        })
    }
}

/// Writes `report.html`, `figures/*.svg` and `calibration.json` into a directory, making it.
///
/// # Errors
/// A file cannot be written.
pub fn save(out: &Path, report: &Report<'_>) -> Result<(), FileError> {
    let figures = page::figures(report);
    save_figures(out, &figures)?;
    let json = serde_json::to_string_pretty(&report.summary()).expect("numbers become JSON");
    write(out, "calibration.json", &(json + "\n"))?;
    write(out, "report.html", &page::render(report, &figures))
}
