//! The page about a calibration.

use super::{Report, Tested};
use crate::measure::metric::Bin;
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::Figure;
use crate::page::charts::format;
use crate::page::charts::page::{Page, Stat};

/// Points of a curve, and parts of a histogram.
const POINTS: usize = 100;
const PARTS: usize = 20;

/// The figures of a calibration.
pub(super) fn figures(report: &Report<'_>) -> Vec<Figure> {
    let tested = &report.calibrated.tested;
    let mut figures = vec![reliability(tested), coverage(report)];
    figures.extend((!tested.likeness.is_empty()).then(|| likeness(report)));
    figures
}

fn share(title: &str) -> Axis {
    Axis::new(title).percent().range(0.0, 1.0)
}

fn reliability(tested: &Tested) -> Figure {
    let line = |bins: &[Bin]| -> Vec<(f64, f64)> {
        let full = bins.iter().filter(|bin| bin.images > 0);
        full.map(|bin| (bin.confidence(), bin.accuracy())).collect()
    };
    let chart = LineChart::new("Reliability", share("confidence"), share("accuracy"))
        .line("as often as said", Style::Dashed, 1, [(0.0, 0.0), (1.0, 1.0)])
        .line("before", Style::Thin, 2, line(&tested.before.bins))
        .line("after", Style::Bold, 0, line(&tested.after.bins));
    let caption = format!(
        "Confidence is the probability of the predicted class, before and after division of the logits by the temperature. \
         Predictions are put into {} bins by it; a point is a bin's mean confidence and how many of it were right. Below the \
         dashed line the network is surer than it is right. Of few predictions a point says little.",
        tested.after.bins.len()
    );
    Figure::chart("reliability", chart, caption)
}

/// Precision over the share of answers that are kept, from the surest on.
fn coverage(report: &Report<'_>) -> Figure {
    let (tested, kept) = (&report.calibrated.tested, &report.calibrated.confidence);
    let mut answers = tested.answers.clone();
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut points) = (0, Vec::new());
    let every = answers.len().div_ceil(POINTS);
    for (i, answer) in answers.iter().enumerate() {
        right += usize::from(answer.1);
        let count = i + 1;
        if count % every == 0 || count == answers.len() {
            let count = count as f64;
            points.push((count / answers.len() as f64, right as f64 / count));
        }
    }
    let precision = Axis::new("of these right").percent();
    let mut chart = LineChart::new("Precision and coverage", share("answers kept"), precision)
        .line("surest answers", Style::Bold, 0, points)
        .reference(kept.precision, "wanted");
    if kept.threshold.is_some() {
        chart = chart.mark(tested.sure as f64 / tested.count as f64, "sure");
    }
    let caption = "The surest answers are kept, from left to right more of them. What lies left of the mark the model calls sure.";
    Figure::chart("coverage", chart, caption)
}

/// How many pictures have which likeness.
fn likeness(report: &Report<'_>) -> Figure {
    let calibrated = report.calibrated;
    let line = |likeness: &[f32]| -> Vec<(f64, f64)> {
        let mut counts = [0usize; PARTS];
        for &share in likeness {
            counts[((share * PARTS as f32) as usize).min(PARTS - 1)] += 1;
        }
        let middle = |i: usize| (i as f64 + 0.5) / PARTS as f64;
        let count = |(i, &n): (usize, &usize)| (middle(i), n as f64 / likeness.len() as f64);
        counts.iter().enumerate().map(count).collect()
    };
    let mut chart = LineChart::new("Likeness", share("likeness"), share("pictures")).line(
        "held out",
        Style::Bold,
        0,
        line(&calibrated.tested.likeness),
    );
    let others = calibrated.against.iter().filter(|against| !against.likeness.is_empty());
    for against in others {
        let name = report.other.unwrap_or("others");
        chart = chart.line(name, Style::Bold, 2, line(&against.likeness));
    }
    let caption = format!(
        "Likeness is the share of held-out pictures that are less like the training pictures. Of {PARTS} parts of its range each \
         holds the same number of pictures of the same kind; those of another kind gather at the left."
    );
    Figure::chart("likeness", chart, caption)
}

/// The page.
pub(super) fn render(report: &Report<'_>, figures: &[Figure]) -> String {
    let (kept, tested) = (&report.calibrated.confidence, &report.calibrated.tested);
    let lead = format!(
        "Fitted on {} pictures of {}; every number here is of {} others of them.",
        format::thousands(kept.count),
        kept.data,
        format::thousands(tested.count as u64)
    );
    let mut page = Page::new(report.arch, "Calibration", &lead);
    page.stats(&stats(report));
    page.section("figures", "What it is worth", "");
    for figure in figures {
        figure.add_to(&mut page);
    }
    if !report.command.is_empty() {
        page.section("reproduce", "How to repeat it", "");
        page.listing(report.command);
    }
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

fn stats(report: &Report<'_>) -> Vec<Stat> {
    let (kept, tested) = (&report.calibrated.confidence, &report.calibrated.tested);
    let stat = |name: &str, value: String, note: String| Stat { name: name.into(), value, note };
    let percent = |part: usize, of: usize| format::percent(part as f64 / of as f64, 2);
    let mut stats = vec![
        stat(
            "Temperature",
            format::number(kept.temperature),
            "what logits are divided by before they become probabilities".into(),
        ),
        stat(
            "Calibration error",
            format::percent(tested.after.ece, 2),
            format!("{} before (ECE, 15 bins)", format::percent(tested.before.ece, 2)),
        ),
        stat(
            "Loss",
            format::number(tested.after.loss),
            format!("{} before; mean cross-entropy in nats", format::number(tested.before.loss)),
        ),
    ];
    if let Some(threshold) = kept.threshold {
        let wanted = format::percent(kept.precision, 2);
        let all = percent(tested.right, tested.count);
        stats.push(stat(
            "Sure answers",
            percent(tested.sure, tested.count),
            format!(
                "of probability {} or more; {} of them are right, {wanted} was wanted, of all {all} are",
                format::number(threshold.into()),
                percent(tested.sure_right, tested.sure)
            ),
        ));
    }
    let unlike = tested.unlike.map(|unlike| percent(unlike, tested.count));
    if let Some(unlike) = unlike {
        stats.push(stat(
            "Called unlike",
            unlike,
            "of pictures of the same kind, which should be about 1 in 100".into(),
        ));
    }
    let against = report.calibrated.against.iter();
    for (name, area) in against.flat_map(|against| &against.areas) {
        let note = format!("by {name}, against {}", report.other.unwrap_or("others"));
        stats.push(stat("AUROC", format::percent(*area, 1), note));
    }
    stats
}
