//! What an evaluation leaves on disk.

use std::path::Path;

use serde_json::{Value, json};

use super::{Crops, Evaluation, page};
use crate::base::files::FileError;
use crate::data::Dataset;
use crate::model::Model;
use crate::page::charts::save::{save_figures, write};
use resnet_engine::step::Precision;

/// An evaluation and what it is of.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The model.
    pub model: &'a Model,
    /// The data's source.
    pub data: &'a str,
    /// Which part of it.
    pub split: &'a str,
    /// How each picture was looked at.
    pub crops: Crops,
    /// What was found.
    pub evaluation: &'a Evaluation,
    /// The pictures that were evaluated on, to show mistakes.
    pub pictures: &'a dyn Dataset,
    /// How maps were stored.
    pub precision: Precision,
    /// What was typed.
    pub command: &'a str,
}

impl Report<'_> {
    /// The key numbers: `arch`, `data`, `split`, `crops`, `precision` (of maps), `count`, `wrong`,
    /// and each metric by its name; of a calibrated model also `temperature`, and `loss` and `ece`
    /// without it as `loss_uncalibrated` and `ece_uncalibrated`.
    pub fn summary(&self) -> Value {
        let crops = match self.crops {
            Crops::One => 1,
            Crops::Ten => 10,
        };
        let mut summary = json!({
            "arch": self.model.arch.name(), "data": self.data, "split": self.split, "crops": crops,
            "precision": self.precision.name(),
            "count": self.evaluation.count, "wrong": self.evaluation.wrong,
        });
        for (name, value) in &self.evaluation.values {
            summary[*name] = json!(value);
        }
        if let Some(before) = self.evaluation.uncalibrated {
            summary["temperature"] = json!(before.temperature);
            summary["loss_uncalibrated"] = json!(before.loss);
            summary["ece_uncalibrated"] = json!(before.ece);
        }
        summary
    }

    /// The same with scores of each class, confusions, calibration and the worst mistakes.
    pub(crate) fn json(&self) -> Value {
        let Report { model, evaluation, .. } = self;
        let class = |label: u32| &model.classes[label as usize];
        let scores = evaluation.confusion.scores(model.classes.len());
        let classes: Vec<Value> = scores
            .iter()
            .map(|s| {
                json!({"class": class(s.class), "images": s.images, "predictions": s.predictions,
                    "recall": s.recall, "precision": s.precision, "f1": s.f1})
            })
            .collect();
        let confusion: Vec<Value> = evaluation
            .confusion
            .pairs()
            .map(|p| json!({"class": class(p.label), "predicted": class(p.predicted), "count": p.count}))
            .collect();
        let bins = evaluation.calibration.bins();
        let calibration: Vec<Value> = (bins.iter().enumerate())
            .map(|(i, bin)| {
                let n = bins.len() as f64;
                json!({"from": i as f64 / n, "to": (i + 1) as f64 / n, "images": bin.images,
                    "confidence": bin.confidence(), "accuracy": bin.accuracy()})
            })
            .collect();
        let worst: Vec<Value> = evaluation
            .mistakes
            .worst()
            .iter()
            .map(|m| {
                json!({"file": self.pictures.name(m.index as usize), "class": class(m.label),
                    "predicted": m.predicted.map(class), "probability": m.probability, "loss": m.loss})
            })
            .collect();
        let mut json = self.summary();
        json["classes"] = json!(classes);
        json["confusion"] = json!(confusion);
        json["calibration"] = json!(calibration);
        json["worst"] = json!(worst);
        json
    }
}

/// Writes `report.html`, `figures/*.svg` and `eval.json` into a directory, making it.
///
/// # Errors
/// A file cannot be written.
pub fn save(out: &Path, report: &Report<'_>) -> Result<(), FileError> {
    let figures = page::figures(report);
    save_figures(out, &figures)?;
    let json = serde_json::to_string_pretty(&report.json()).expect("numbers always become JSON");
    write(out, "eval.json", &(json + "\n"))?;
    write(out, "report.html", &page::render(report, &figures))
}
