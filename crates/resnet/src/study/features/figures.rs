//! Figures of a look at features, over depth.

use super::found::{Features, PointSeen};
use crate::measure::feature::Lesion;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::Figure;

/// All figures that there are numbers for.
pub(super) fn figures(features: &Features) -> Vec<Figure> {
    let depth = || Axis::new("convolutions before the maps").count().from_zero();
    let points = |of: fn(&PointSeen) -> f64| {
        let points = features.points.iter();
        points.map(move |p| (p.depth as f64, of(p))).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    if let Some(probes) = features.probes {
        let y = Axis::new("pictures that a linear classifier tells").percent();
        let chance = 1.0 / probes.classes.max(1) as f64;
        let chart = LineChart::new("What a linear classifier tells from the maps", depth(), y)
            .reference(chance, "guessing")
            .line("", Style::Bold, 0, points(|p| p.probe.unwrap_or(f64::NAN)));
        let caption = format!(
            "Each point: the end of a block. A classifier without hidden layers, fitted to the mean of each channel over {} pictures and \
             measured on {} others. What it tells there, the layers before have made easy.",
            probes.fitted, probes.measured
        );
        all.push(Figure::chart("probes", chart, caption));
    }
    let y = Axis::new("channels").from_zero();
    let used = LineChart::new("Channels in use", depth(), y)
        .line("there are", Style::Thin, 1, points(|p| p.channels as f64))
        .line("in use", Style::Bold, 0, points(|p| p.used));
    let caption = "In use: the participation ratio of the covariance of the channels' means, (sum of its eigenvalues)² over the sum of their \
                   squares. Channels that all say the same count as one.";
    all.push(Figure::chart("channels", used, caption));
    let lesions = &features.lesions;
    if lesions.blocks.iter().any(|lesion| lesion.score.is_some()) {
        let total = lesions.pictures.max(1) as f64;
        let x = Axis::new("block removed, from the image").count();
        let blocks = || (1u32..).map(f64::from).zip(&lesions.blocks);
        let (title, what, whole) = match lesions.whole.wrong {
            Some(wrong) => ("Error without one block", "error", Some(wrong as f64 / total)),
            None => ("Answers that change without one block", "answers that change", None),
        };
        let share = |lesion: &Lesion| {
            let score = lesion.score.as_ref()?;
            Some(score.wrong.unwrap_or(score.changed) as f64 / total)
        };
        let line = blocks().map(|(x, lesion)| (x, share(lesion).unwrap_or(f64::NAN)));
        let mut chart = LineChart::new(title, x, Axis::new(what).percent().from_zero()).line(
            "",
            Style::Bold,
            0,
            line,
        );
        if let Some(whole) = whole {
            chart = chart.reference(whole, "the whole network");
        }
        let caption = "One block is taken out of the trained network and nothing is trained again: of a residual block the branch, of a plain \
                       one its layers where the shapes allow it (Veit et al. 2016, section 4.1).";
        all.push(Figure::chart("lesions", chart, caption));
    }
    if !features.added.is_empty() {
        let x = Axis::new("block, counted from the image").count();
        let y = Axis::new("|F(x)| / |S(x)|").from_zero();
        let ratios = features.added.iter().map(|a| a.branch_norm / a.shortcut_norm);
        let chart = LineChart::new("What each block adds to what it is given", x, y)
            .reference(1.0, "as much as there was")
            .line("", Style::Bold, 0, (1u32..).map(f64::from).zip(ratios));
        let caption = "Length of what the branch adds over the length of what the shortcut carries: small where a block only refines.";
        all.push(Figure::chart("added", chart, caption));
    }
    all
}
