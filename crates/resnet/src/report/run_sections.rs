//! The sections of a run's report.

use super::axis::Axis;
use super::chart::{Frame, LineChart, Style, undrawn_note};
use super::confusion::Confusion;
use super::format::{self, percent, thousands};
use super::heatmap::{HeatMap, Hue, Note, Ramp, Shade};
use super::page::{Cell, Page};
use super::png::data_uri;
use super::run::{ConfusedPair, Picture, RunReport, StepPoint};

const WIDE: f64 = 880.0;
const NARROW: f64 = 440.0;

/// More rows than this and a table of epochs shows every so many.
const MOST_EPOCH_ROWS: usize = 200;
/// More classes than this and the matrix has no numbers, the table of classes is folded.
const FEW_CLASSES: usize = 32;
const MOST_PAIRS: usize = 12;
const MOST_PICTURES: usize = 12;

pub(super) fn error(page: &mut Page, report: &RunReport<'_>) {
    if report.epochs.is_empty() {
        return;
    }
    let split = split(report);
    let train = report
        .epochs
        .iter()
        .map(|e| (f64::from(e.epoch), 1.0 - e.train_top1));
    let test = report
        .epochs
        .iter()
        .filter_map(|e| Some((f64::from(e.epoch), 1.0 - e.test_top1?)));
    let mut chart = LineChart::new(
        "Error over epochs",
        Axis::new("epoch").count().from_zero(),
        Axis::new("error").percent().from_zero(),
    )
    .line("train", Style::Thin, 0, train)
    .line(split, Style::Bold, 1, test);
    let guessing = 1.0 - 1.0 / report.classes.len().max(1) as f64;
    let worst = chart
        .series
        .iter()
        .flat_map(|s| &s.points)
        .map(|p| p.1)
        .filter(|e| e.is_finite())
        .fold(0.0, f64::max);
    if report.classes.len() > 1 && worst > 0.7 * guessing {
        chart = chart.reference(
            guessing,
            format!("guessing among {} classes", report.classes.len()),
        );
    }

    page.section(
        "error",
        "Error",
        "The share of images whose first guess is wrong: lower is better. Training images are augmented and seen while the \
         network still changes, so their error can lie above that of the evaluation.",
    );
    let [wide, narrow] = [("error-wide", WIDE, 340.0), ("error-narrow", NARROW, 300.0)]
        .map(|(id, width, height)| chart.svg(Frame { id, width, height }));
    page.figure(
        &wide,
        &narrow,
        &undrawn_note(chart.undrawn()).unwrap_or_default(),
    );
    epoch_table(page, report, split);
}

fn split<'a>(report: &RunReport<'a>) -> &'a str {
    report
        .headline
        .map(|h| h.split)
        .filter(|s| !s.is_empty())
        .unwrap_or("test")
}

fn epoch_table(page: &mut Page, report: &RunReport<'_>, split: &str) {
    let epochs = report.epochs;
    let every = epochs.len().div_ceil(MOST_EPOCH_ROWS);
    let shown = epochs
        .iter()
        .enumerate()
        .filter(|(i, _)| (i + 1) % every == 0 || i + 1 == epochs.len());
    let or_none = |value: Option<f64>, text: &dyn Fn(f64) -> String| {
        value.map_or(format::NONE.to_owned(), text)
    };
    let error = |top1: f64| percent(1.0 - top1, 2);
    let rows: Vec<Vec<Cell>> = shown
        .map(|(_, e)| {
            [
                thousands(u64::from(e.epoch)),
                thousands(e.step),
                format::number(e.train_loss),
                error(e.train_top1),
                or_none(e.test_loss, &format::number),
                or_none(e.test_top1, &error),
                format::number(e.lr),
                format::duration(e.seconds),
            ]
            .map(Cell::Number)
            .into()
        })
        .collect();
    let [test_loss, test_error] = ["loss", "error"].map(|what| format!("{split} {what}"));
    page.details(&if every == 1 {
        "Every epoch in numbers".to_owned()
    } else {
        format!("Every {every} epochs in numbers")
    });
    page.table(
        "Losses in nats, errors in per cent",
        &[
            "epoch",
            "steps",
            "train loss",
            "train error",
            &test_loss,
            &test_error,
            "learning rate",
            "time",
        ],
        &rows,
    );
    page.end_details();
}

pub(super) fn loss(page: &mut Page, report: &RunReport<'_>) {
    let steps = report.steps;
    let last = steps
        .iter()
        .map(|s| s.step)
        .chain(report.epochs.iter().map(|e| e.step))
        .max();
    let Some(last) = last else { return };
    let axis = || {
        Axis::new("step")
            .count()
            .range(0.0, last as f64)
            .from_zero()
    };
    let at = |s: &StepPoint| s.step as f64;
    let mut loss = LineChart::new(
        "Loss over steps",
        axis(),
        Axis::new("loss (nats)").from_zero(),
    );
    let smooth = smoothed(steps);
    if let Some(smooth) = smooth.clone() {
        loss = loss.line("", Style::Faint, 0, steps.iter().map(|s| (at(s), s.loss)));
        loss = loss.line(
            "train, smoothed",
            Style::Thin,
            0,
            steps.iter().map(at).zip(smooth),
        );
    } else if steps.is_empty() {
        loss = loss.line(
            "train",
            Style::Thin,
            0,
            report.epochs.iter().map(|e| (e.step as f64, e.train_loss)),
        );
    } else {
        loss = loss.line(
            "train",
            Style::Thin,
            0,
            steps.iter().map(|s| (at(s), s.loss)),
        );
    }
    let test = report
        .epochs
        .iter()
        .filter_map(|e| Some((e.step as f64, e.test_loss?)));
    loss = loss.line(split(report), Style::Bold, 1, test);

    let rates: Vec<(f64, f64)> = if steps.is_empty() {
        report
            .epochs
            .iter()
            .map(|e| (e.step as f64, e.lr))
            .collect()
    } else {
        steps.iter().map(|s| (at(s), s.lr)).collect()
    };
    let rate_axis = Axis::new("learning rate");
    let rate_axis = if in_plateaus(&rates) {
        rate_axis.log()
    } else {
        rate_axis.from_zero()
    };
    let rate = LineChart::new("Learning rate over steps", axis(), rate_axis).line(
        "",
        Style::Bold,
        6,
        rates,
    );

    page.section("loss", "Loss and learning rate", "");
    let [wide, narrow] = [
        ([("loss-wide", 320.0), ("rate-wide", 190.0)], WIDE),
        ([("loss-narrow", 280.0), ("rate-narrow", 180.0)], NARROW),
    ]
    .map(|(charts, width)| {
        let frames = charts.map(|(id, height)| Frame { id, width, height });
        LineChart::stack(&[&loss, &rate], &frames)
    });
    let mut caption = String::new();
    if smooth.is_some() {
        caption = format!(
            "Pale: each batch. Smoothed: the mean of {} around it.",
            format::plural(window(steps.len()) as u64, "entry").replace("entrys", "batches")
        );
    }
    if let Some(note) = undrawn_note(loss.undrawn()) {
        caption = format!("{caption} {note}");
    }
    page.figure(&wide[0], &narrow[0], caption.trim());
    page.figure(&wide[1], &narrow[1], "");
}

/// Points a smoothed value is the mean of; odd, about a fiftieth of the run.
fn window(n: usize) -> usize {
    (n / 100).max(2) * 2 + 1
}

/// The mean of the finite losses around each; `None` if there are too few to need it.
fn smoothed(steps: &[StepPoint]) -> Option<Vec<f64>> {
    if steps.len() < 60 {
        return None;
    }
    let half = window(steps.len()) / 2;
    // Prefix sums of the finite values.
    let mut sums = vec![(0.0, 0u32)];
    let mut total = (0.0, 0);
    for s in steps {
        if s.loss.is_finite() {
            total = (total.0 + s.loss, total.1 + 1);
        }
        sums.push(total);
    }
    let mean = |i: usize| {
        let half = half.min(i).min(steps.len() - 1 - i); // symmetric, so that the ends are not biased
        let (from, to) = (sums[i - half], sums[i + half + 1]);
        if steps[i].loss.is_finite() {
            (to.0 - from.0) / f64::from(to.1 - from.1)
        } else {
            f64::NAN
        }
    };
    Some((0..steps.len()).map(mean).collect())
}

/// A schedule that mostly stands still and falls by factors is seen best on a logarithmic axis.
fn in_plateaus(rates: &[(f64, f64)]) -> bool {
    let still = rates.windows(2).filter(|w| w[0].1 == w[1].1).count();
    let positive = || rates.iter().map(|r| r.1).filter(|r| *r > 0.0);
    let (low, high) = (
        positive().fold(f64::INFINITY, f64::min),
        positive().fold(0.0, f64::max),
    );
    rates.len() > 2 && 10 * still > 7 * (rates.len() - 1) && high >= 50.0 * low
}

pub(super) fn confusion(page: &mut Page, report: &RunReport<'_>) {
    let Some(matrix) = Confusion::new(report.confusion, report.classes.len()) else {
        if !report.confusion.is_empty() {
            page.section("confusion", "Confusion matrix", "");
            page.paragraph(&format!(
                "Left out: {} counts do not make a matrix of {} classes.",
                report.confusion.len(),
                report.classes.len()
            ));
        }
        return;
    };
    let n = matrix.classes();
    let wrong_shares = (0..n).flat_map(|t| {
        (0..n)
            .filter(move |&p| p != t)
            .map(move |p| matrix.share(t, p))
    });
    let worst = wrong_shares.fold(0.05, f64::max); // a lone mistake stays pale
    let shade = |truth: usize, predicted: usize| {
        let share = matrix.share(truth, predicted);
        if truth == predicted {
            Shade {
                hue: Hue::Main,
                strength: share,
            }
        } else {
            Shade {
                hue: Hue::Accent,
                strength: (share / worst).sqrt(),
            }
        }
    };
    let note = |truth: usize, predicted: usize| {
        let count = matrix.count(truth, predicted);
        (count > 0).then(|| Note {
            text: count.to_string(),
            tip: format!(
                "{} taken for {}: {} of {}, {}",
                report.classes[truth],
                report.classes[predicted],
                thousands(count),
                thousands(matrix.images(truth)),
                percent(matrix.share(truth, predicted), 1)
            ),
        })
    };
    let full = percent(worst, 1);
    let map = HeatMap {
        title: "Confusion matrix",
        description: "Rows are true classes, columns predicted ones. The tables below hold the same in words.",
        rows: report.classes,
        columns: report.classes,
        row_title: "truth",
        column_title: "predicted",
        shade: &shade,
        note: &note,
        ramps: &[
            Ramp {
                hue: Hue::Main,
                label: "right",
                full: &percent(1.0, 0),
            },
            Ramp {
                hue: Hue::Accent,
                label: "wrong",
                full: &full,
            },
        ],
    };
    let numbers = if n <= FEW_CLASSES {
        " Numbers count images."
    } else {
        ""
    };
    page.section(
        "confusion",
        "Confusion matrix",
        &format!(
            "A row holds the images of one class; a cell's shade is its share of the row.{numbers}"
        ),
    );
    let drawing = map.svg(Frame {
        id: "confusion-map",
        width: WIDE,
        height: 400.0,
    });
    page.scrolling_figure(&drawing, map.least_width(), "Confusion matrix", "");
}

pub(super) fn mistakes(page: &mut Page, report: &RunReport<'_>) {
    let matrix = Confusion::new(report.confusion, report.classes.len());
    let n = report.classes.len();
    let mut pairs: Vec<ConfusedPair> = report
        .confused
        .iter()
        .filter(|p| p.truth < n && p.predicted < n)
        .take(MOST_PAIRS)
        .cloned()
        .collect();
    if let (true, Some(matrix)) = (pairs.is_empty(), matrix) {
        let read = matrix.pairs(MOST_PAIRS).into_iter();
        pairs = read
            .map(|(truth, predicted, count)| ConfusedPair {
                truth,
                predicted,
                count,
                pictures: vec![],
            })
            .collect();
    }
    if pairs.is_empty() {
        return;
    }
    let share = |p: &ConfusedPair| {
        matrix
            .filter(|m| m.images(p.truth) > 0)
            .map(|m| p.count as f64 / m.images(p.truth) as f64)
    };
    let pictured = pairs.iter().any(|p| !p.pictures.is_empty());
    page.section(
        "mistakes",
        "Most frequent mistakes",
        if pictured {
            "Under a picture: the probability the network gave to its wrong answer."
        } else {
            ""
        },
    );
    if !pictured {
        let rows: Vec<Vec<Cell>> = (pairs.iter())
            .map(|p| {
                vec![
                    Cell::Head(report.classes[p.truth].clone()),
                    Cell::Text(report.classes[p.predicted].clone()),
                    Cell::Number(thousands(p.count)),
                    Cell::Number(share(p).map_or(format::NONE.to_owned(), |s| percent(s, 1))),
                ]
            })
            .collect();
        page.table(
            "The most frequent mistakes",
            &["truth", "taken for", "images", "of the class"],
            &rows,
        );
        return;
    }
    page.markup().open("div", &[("class", &"mistakes")]);
    for pair in &pairs {
        let (truth, predicted) = (&report.classes[pair.truth], &report.classes[pair.predicted]);
        page.markup().open("div", &[]);
        page.heading(&format!("{truth} → {predicted}"));
        let of = share(pair)
            .map(|s| format!(", {} of its class", percent(s, 1)))
            .unwrap_or_default();
        page.paragraph(&format!("{}{of}", format::plural(pair.count, "image")));
        if !pair.pictures.is_empty() {
            page.markup().open("ul", &[("class", &"pictures")]);
            for picture in pair.pictures.iter().take(MOST_PICTURES) {
                self::picture(page, picture, truth, predicted);
            }
            page.markup().close();
        }
        page.markup().close();
    }
    page.markup().close();
}

fn picture(page: &mut Page, picture: &Picture, truth: &str, predicted: &str) {
    let m = page.markup();
    let probability = percent(f64::from(picture.probability), 0);
    m.open("li", &[("title", &picture.name)]);
    match data_uri(
        picture.width,
        picture.height,
        picture.channels,
        &picture.pixels,
    ) {
        Ok((uri, w, h)) => {
            // Whole multiples keep small pictures crisp; photos are shown at half their stored size for dense screens.
            let longest = w.max(h);
            let scale = if longest <= 96 {
                f64::from(96 / longest)
            } else {
                0.6
            };
            let side = |s: u32| (f64::from(s) * scale).round().max(1.0);
            let class = if longest <= 96 { "pixels" } else { "photo" };
            let alt = format!(
                "{}: {truth}, taken for {predicted} with probability {probability}",
                picture.name
            );
            m.leaf(
                "img",
                &[
                    ("class", &class),
                    ("src", &uri),
                    ("width", &side(w)),
                    ("height", &side(h)),
                    ("alt", &alt),
                ],
            );
        }
        Err(error) => m.element("span", &[], format!("{}: {error}", picture.name)),
    }
    m.element("span", &[], probability);
    m.close();
}

pub(super) fn classes(page: &mut Page, report: &RunReport<'_>) {
    let Some(matrix) = Confusion::new(report.confusion, report.classes.len()) else {
        return;
    };
    let n = matrix.classes();
    let share = |value: Option<f64>| match value {
        Some(v) => Cell::Share(percent(v, 1), v),
        None => Cell::Number(format::NONE.to_owned()),
    };
    let mut order: Vec<usize> = (0..n).collect();
    let folded = n > FEW_CLASSES;
    if folded {
        let recall = |&c: &usize| matrix.recall(c).unwrap_or(2.0);
        order.sort_by(|a, b| recall(a).total_cmp(&recall(b)).then(a.cmp(b)));
    }
    let rows: Vec<Vec<Cell>> = order
        .into_iter()
        .map(|class| {
            let mistaken =
                matrix
                    .taken_for(class)
                    .map_or(format::NONE.to_owned(), |(predicted, count)| {
                        format!("{} ({})", report.classes[predicted], thousands(count))
                    });
            vec![
                Cell::Head(report.classes[class].clone()),
                Cell::Number(thousands(matrix.images(class))),
                share(matrix.recall(class)),
                share(matrix.precision(class)),
                Cell::Text(mistaken),
            ]
        })
        .collect();
    page.section(
        "classes",
        "Classes",
        "Recall: of the images of a class, the share that was recognised. Precision: of the images taken for the class, the \
         share that belongs to it.",
    );
    if folded {
        page.details(&format!(
            "All {} classes, the worst recalled first",
            thousands(n as u64)
        ));
    }
    page.table(
        "Recall and precision of each class",
        &[
            "class",
            "images",
            "recall",
            "precision",
            "most often mistaken for",
        ],
        &rows,
    );
    if folded {
        page.end_details();
    }
}

pub(super) fn reproduce(page: &mut Page, report: &RunReport<'_>) {
    page.section("reproduce", "How to repeat it", "");
    if !report.command.is_empty() {
        page.listing(report.command, "Command");
    }
    let mut facts: Vec<(String, String)> = Vec::new();
    let named = [("started", report.started), ("finished", report.finished)];
    facts.extend(
        named
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned()))),
    );
    facts.extend(report.environment.iter().cloned());
    if !facts.is_empty() {
        page.heading("Environment");
        page.pairs(&facts);
    }
    if !report.config_toml.is_empty() {
        page.heading("Configuration");
        page.listing(report.config_toml.trim_end(), "Configuration");
    }
}
