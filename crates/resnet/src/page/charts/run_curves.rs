//! The curves of a run's report: error, loss, learning rate.

use super::axis::Axis;
use super::chart::{Frame, LineChart, Style};
use super::figure::{NARROW, WIDE};
use super::format::{self, percent, thousands};
use super::page::{Cell, Page};
use super::run::{RunReport, StepPoint};

/// More rows than this and a table of epochs shows every so many.
const MOST_EPOCH_ROWS: usize = 200;

pub(super) fn error(page: &mut Page, report: &RunReport<'_>) {
    if report.epochs.is_empty() {
        return;
    }
    let split = split(report);
    let train = report.epochs.iter().map(|e| (e.epoch, 1.0 - e.train_top1));
    let test = report.epochs.iter().filter_map(|e| Some((e.epoch, 1.0 - e.test_top1?)));
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
        chart =
            chart.reference(guessing, format!("guessing among {} classes", report.classes.len()));
    }

    page.section(
        "error",
        "Error",
        "The share of images whose first guess is wrong: lower is better. The training error is taken while the epoch \
         goes on, on the images as they are trained on, so it can lie above that of the evaluation.",
    );
    if report.epochs.len() > 1 {
        let [wide, narrow] = [("error-wide", WIDE, 340.0), ("error-narrow", NARROW, 300.0)]
            .map(|(id, width, height)| chart.svg(Frame { id, width, height }));
        page.figure(&wide, &narrow, &chart.note().unwrap_or_default());
    }
    epoch_table(page, report, split);
}

fn split<'a>(report: &RunReport<'a>) -> &'a str {
    report.headline.map(|h| h.split).filter(|s| !s.is_empty()).unwrap_or("test")
}

fn epoch_table(page: &mut Page, report: &RunReport<'_>, split: &str) {
    let epochs = report.epochs;
    let every = epochs.len().div_ceil(MOST_EPOCH_ROWS);
    let shown =
        epochs.iter().enumerate().filter(|(i, _)| (i + 1) % every == 0 || i + 1 == epochs.len());
    let or_none = |value: Option<f64>, text: &dyn Fn(f64) -> String| {
        value.map_or(format::NONE.to_owned(), text)
    };
    let error = |top1: f64| percent(1.0 - top1, 2);
    let rows: Vec<Vec<Cell>> = shown
        .map(|(_, e)| {
            [
                format::number(e.epoch),
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
    let folded = epochs.len() > 1;
    if folded {
        page.details(&match every {
            1 => "Every epoch in numbers".to_owned(),
            _ => format!("Every {every} epochs in numbers"),
        });
    }
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
    if folded {
        page.end_details();
    }
}

pub(super) fn loss(page: &mut Page, report: &RunReport<'_>) {
    let steps = report.steps;
    let last = steps.iter().map(|s| s.step).chain(report.epochs.iter().map(|e| e.step)).max();
    let Some(last) = last else { return };
    let axis = || Axis::new("step").count().range(0.0, last as f64).from_zero();
    let at = |s: &StepPoint| s.step as f64;
    let mut loss = LineChart::new("Loss over steps", axis(), Axis::new("loss (nats)").from_zero());
    let smooth = smoothed(steps);
    if let Some(smooth) = smooth.clone() {
        loss = loss.line("", Style::Faint, 0, steps.iter().map(|s| (at(s), s.loss)));
        loss = loss.line("train", Style::Thin, 0, steps.iter().map(at).zip(smooth));
    } else if steps.is_empty() {
        loss = loss.line(
            "train",
            Style::Thin,
            0,
            report.epochs.iter().map(|e| (e.step as f64, e.train_loss)),
        );
    } else {
        loss = loss.line("train", Style::Thin, 0, steps.iter().map(|s| (at(s), s.loss)));
    }
    let test = report.epochs.iter().filter_map(|e| Some((e.step as f64, e.test_loss?)));
    loss = loss.line(split(report), Style::Bold, 1, test);

    let rates: Vec<(f64, f64)> = if steps.is_empty() {
        report.epochs.iter().map(|e| (e.step as f64, e.lr)).collect()
    } else {
        steps.iter().map(|s| (at(s), s.lr)).collect()
    };
    let rate_axis = Axis::new("learning rate");
    let rate_axis = if in_plateaus(&rates) { rate_axis.log() } else { rate_axis.from_zero() };
    let rate = LineChart::new("Learning rate over steps", axis(), rate_axis).line(
        "",
        Style::Bold,
        6,
        rates,
    );

    page.section(
        "loss",
        "Loss and learning rate",
        "What training lowers, and how far each step goes.",
    );
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
        let window = thousands(window(steps.len()) as u64);
        caption = format!(
            "Pale: single batches. The line of the training loss: the mean of {window} of them around each step."
        );
    }
    if let Some(note) = loss.note() {
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
    let (low, high) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    rates.len() > 2 && 10 * still > 7 * (rates.len() - 1) && high >= 50.0 * low
}
