//! The page about an evaluation.

use super::{Crops, Evaluation, Mistake, Report};
use crate::data::{Dataset, Image, shrink};
use crate::measure::metric::Bin;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{Column, LineChart, Style};
use crate::page::charts::class_report::{self, ClassReport, Shown};
use crate::page::charts::figure::Figure;
use crate::page::charts::format;
use crate::page::charts::page::{Cell, Page, Stat};
use crate::page::charts::{ConfusedPair, Picture};

/// Pairs of classes whose mistakes are shown.
const PAIRS: usize = 6;
/// Most classes with a confusion matrix.
const MATRIX_CLASSES: usize = 1000;
/// Longest side of a picture in a page.
const PICTURE_SIDE: usize = 256;

/// Counts of (class, predicted class), row-major; empty for very many classes.
pub(crate) fn matrix(evaluation: &Evaluation, classes: usize) -> Vec<u64> {
    if classes > MATRIX_CLASSES {
        return Vec::new();
    }
    let mut counts = vec![0; classes * classes];
    for pair in evaluation.confusion.pairs() {
        counts[pair.label as usize * classes + pair.predicted as usize] = pair.count;
    }
    counts
}

/// The most frequent mistakes, with the pictures that the network was most sure about.
pub(crate) fn confused(evaluation: &Evaluation, data: &dyn Dataset) -> Vec<ConfusedPair> {
    let pairs = evaluation.confusion.most_confused(PAIRS).into_iter();
    let fill = |pair: crate::measure::metric::Confused| {
        let examples = evaluation.mistakes.examples(pair.label, pair.predicted);
        ConfusedPair {
            truth: pair.label as usize,
            predicted: pair.predicted as usize,
            count: pair.count,
            pictures: examples.iter().filter_map(|m| picture(m, data)).collect(),
        }
    };
    pairs.map(fill).collect()
}

/// The picture of a mistake, if it can still be read.
fn picture(mistake: &Mistake, data: &dyn Dataset) -> Option<Picture> {
    let mut image = Image::default();
    data.read(mistake.index as usize, &mut image).ok()?;
    let image = shrink(&image, PICTURE_SIDE);
    Some(Picture {
        width: image.width,
        height: image.height,
        channels: image.channels,
        pixels: image.pixels,
        name: data.name(mistake.index as usize),
        probability: mistake.probability,
    })
}

/// The figures of an evaluation.
pub(super) fn figures(report: &Report<'_>) -> Vec<Figure> {
    vec![reliability(report.evaluation.calibration.bins())]
}

/// Accuracy over confidence, with the pictures of each bin.
fn reliability(bins: &[Bin]) -> Figure {
    let full = || bins.iter().filter(|bin| bin.images > 0);
    let fraction = |title: &str| Axis::new(title).percent().range(0.0, 1.0);
    let mut chart = LineChart::new("Reliability", fraction("confidence"), fraction("accuracy"))
        .line("calibrated", Style::Dashed, 1, [(0.0, 0.0), (1.0, 1.0)])
        .line("this network", Style::Bold, 0, full().map(|bin| (bin.confidence(), bin.accuracy())));
    let width = 1.0 / bins.len() as f64;
    let column = |(i, bin): (usize, &Bin)| Column {
        x: (i as f64 * width, (i + 1) as f64 * width),
        amount: bin.images as f64,
        text: format::thousands(bin.images),
    };
    chart.columns = bins.iter().enumerate().map(column).collect();
    let caption = format!(
        "Confidence is the probability of the predicted class. Predictions are put into {} bins by it; a point is a bin's mean \
         confidence and how many of it were right, the column below it how many predictions there are. Below the dashed line the \
         network is surer than it is right. Of few predictions a point says little.",
        bins.len()
    );
    Figure::chart("reliability", chart, caption)
}

/// The page.
pub(super) fn render(report: &Report<'_>, figures: &[Figure]) -> String {
    let Report { model, evaluation, split, .. } = report;
    let classes = model.classes.len();
    let crops = match report.crops {
        Crops::One => "1 crop",
        Crops::Ten => "10 crops",
    };
    let lead = format!(
        "{} on {}, {split}: {} images, {crops}",
        model.path().display(),
        report.data,
        format::thousands(evaluation.count)
    );
    let mut page = Page::new(&model.arch.name(), "Evaluation", &lead);
    page.stats(&stats(report));
    page.section("calibration", "Calibration", "Whether the network is right as often as it says.");
    for figure in figures {
        figure.add_to(&mut page);
    }
    bins(&mut page, evaluation.calibration.bins());
    let (counts, confused) = (matrix(evaluation, classes), confused(evaluation, report.pictures));
    let parts = ClassReport { classes: &model.classes, confusion: &counts, confused: &confused };
    class_report::worst(&mut page, &worst(report));
    class_report::confusion(&mut page, &parts);
    class_report::mistakes(&mut page, &parts);
    class_report::classes(&mut page, &parts);
    if !report.command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(report.command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn stats(report: &Report<'_>) -> Vec<Stat> {
    let evaluation = report.evaluation;
    let count = evaluation.count;
    let decimals = format::decimals_for(count);
    let stat = |name: &str, value: String, note: String| Stat { name: name.into(), value, note };
    let top1 = evaluation.value("top1");
    let interval = format::wilson(top1, count)
        .map(|(low, high)| {
            let [low, high] = [low, high].map(|v| format::percent(v, 1));
            format!(". 95{}% interval {low} to {high}", format::NBSP)
        })
        .unwrap_or_default();
    let wrong = format::thousands(evaluation.wrong);
    let of = format!("of {} images", format::thousands(count));
    let before = evaluation.uncalibrated.map(|before| {
        let ece = format::percent(before.ece, 2);
        format!("; {ece} without the temperature {}", format::number(before.temperature))
    });
    let before = before.unwrap_or_default();
    let mut stats = vec![stat(
        "Top-1 accuracy",
        format::percent(top1, decimals),
        format!("{wrong} wrong {of}{interval}"),
    )];
    if report.model.classes.len() > 5 {
        let top5 = format::percent(evaluation.value("top5"), decimals);
        stats.push(stat("Top-5 accuracy", top5, of));
    }
    stats.extend([
        stat("Loss", format::number(evaluation.value("loss")), "mean cross-entropy in nats".into()),
        stat(
            "Macro F1",
            format::number(evaluation.value("macro_f1")),
            "mean over the classes; rare ones count as much as common ones".into(),
        ),
        stat(
            "Calibration error",
            format::percent(evaluation.value("ece"), 2),
            format!("mean distance of confidence and accuracy (ECE, 15 bins){before}"),
        ),
    ]);
    stats
}

fn bins(page: &mut Page, bins: &[Bin]) {
    let rows: Vec<Vec<Cell>> = (bins.iter().enumerate())
        .filter(|(_, bin)| bin.images > 0)
        .map(|(i, bin)| {
            let edge = |i: usize| format::percent(i as f64 / bins.len() as f64, 0);
            vec![
                Cell::Head(format!("{} to {}", edge(i), edge(i + 1))),
                Cell::Number(format::thousands(bin.images)),
                Cell::Number(format::percent(bin.confidence(), 1)),
                Cell::Share(format::percent(bin.accuracy(), 1), bin.accuracy()),
            ]
        })
        .collect();
    page.details("In numbers");
    let headings = ["confidence", "images", "mean confidence", "accuracy"];
    page.table("Accuracy by confidence", &headings, &rows);
    page.end_details();
}

fn worst(report: &Report<'_>) -> Vec<Shown> {
    let class = |label: u32| report.model.classes[label as usize].clone();
    let shown = |mistake: &Mistake| {
        Some(Shown {
            picture: picture(mistake, report.pictures)?,
            truth: class(mistake.label),
            predicted: mistake.predicted.map_or("nothing".into(), class),
            loss: mistake.loss,
        })
    };
    let worst = report.evaluation.mistakes.worst();
    worst.iter().filter_map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reliability_diagram_shows_the_counts_of_its_bins() {
        let bin = |images, right, confidence: f64| Bin {
            images,
            right,
            confidence_sum: confidence * images as f64,
        };
        let mut bins = vec![Bin::default(); 15];
        (bins[5], bins[14]) = (bin(7, 3, 0.36), bin(987, 960, 0.98));
        let drawn = reliability(&bins).file();
        for count in [">7<", ">987<"] {
            assert!(drawn.contains(count), "{count} in {drawn}");
        }
        assert_eq!(drawn.matches("<rect class=\"column\"").count(), 2);
    }
}
