//! Writes reports of invented runs into a folder, to look at them: `cargo run -p resnet --example
//! sample_report -- DIR`.

#[path = "../tests/report/sample.rs"]
mod sample;

use resnet::base::rng::Rng;
use resnet::page::charts::{Status, axis, bars, chart, heatmap, page, render};
use sample::Sample;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: sample_report DIR");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;

    let sample = Sample::new(10, 10, 94);
    std::fs::write(folder.join("run.html"), render(&sample.report()))?;
    std::fs::write(folder.join("run-100.html"), render(&Sample::new(100, 164, 391).report()))?;
    let first = Sample::new(10, 1, 94);
    std::fs::write(folder.join("run-one-epoch.html"), render(&first.report()))?;
    let stopped = resnet::page::charts::RunReport {
        status: Status::Stopped { step: 60, resume: Some("resnet train --resume runs/1") },
        headline: None,
        epochs: &[],
        steps: &first.steps[..60],
        confusion: &[],
        confused: &[],
        ..first.report()
    };
    std::fs::write(folder.join("run-stopped.html"), render(&stopped))?;
    std::fs::write(folder.join("drawings.html"), drawings())?;
    std::fs::write(folder.join("networks.svg"), networks().file(880.0, 420.0))
}

/// Errors of several networks.
fn networks() -> chart::LineChart {
    let mut rng = Rng::named(1, "networks");
    let mut many = chart::LineChart::new(
        "Training and test error",
        axis::Axis::new("iteration").count().from_zero(),
        axis::Axis::new("error").percent().from_zero(),
    );
    for (i, name) in ["plain20", "plain56", "resnet20", "resnet56", "resnet110"].iter().enumerate()
    {
        for (style, offset) in [(chart::Style::Thin, 0.0), (chart::Style::Bold, 0.03)] {
            let floor = offset + [0.06, 0.12, 0.05, 0.03, 0.03][i];
            let points = (0..=640).map(|k| {
                let x = f64::from(k) * 100.0;
                let drop = if x > 48_000.0 {
                    0.0
                } else if x > 32_000.0 {
                    0.01
                } else {
                    0.06
                };
                (x, floor + drop + 0.6 * (-x / 4000.0).exp() + 0.006 * rng.normal().abs())
            });
            many = many.line(*name, style, i, points.collect::<Vec<_>>());
        }
    }
    many
}

/// A curve with a spike, two places marked, and columns behind it.
fn spiked() -> chart::LineChart {
    let mut rng = Rng::named(2, "spiked");
    let loss = |x: u32| if x == 61 { 4321.0 } else { 2.3 * (-f64::from(x) / 30.0).exp() };
    let points: Vec<_> =
        (0..150).map(|x| (f64::from(x) / 150.0, loss(x) + 0.1 * rng.unit())).collect();
    let title = axis::Axis::new("confidence: the probability of the predicted class");
    let mut chart =
        chart::LineChart::new("Loss", title.percent(), axis::Axis::new("loss (nats)").from_zero())
            .line("train", chart::Style::Thin, 0, points)
            .mark(0.55, "suggested: 0.55")
            .mark(0.85, "the recipe's: 0.85");
    chart.columns = (0..15)
        .map(|i| {
            let (x, amount) = ((f64::from(i) / 15.0, f64::from(i + 1) / 15.0), 3 * i * i * i);
            chart::Column { x, amount: f64::from(amount), text: amount.to_string() }
        })
        .collect();
    chart
}

/// Drawings that a run's report does not need.
fn drawings() -> String {
    let mut page = page::Page::new("Drawings", "Invented data", "");
    let many = networks();
    page.section("many", "Many networks", "");
    let [wide, narrow] = [("many-wide", 880.0), ("many-narrow", 340.0)]
        .map(|(id, width)| many.svg(chart::Frame { id, width, height: 420.0 }));
    page.figure(&wide, &narrow, "Thin: training. Bold: test.");

    let decay = chart::LineChart::new(
        "Gradient norm",
        axis::Axis::new("layer").count(),
        axis::Axis::new("gradient norm").log(),
    )
    .line(
        "plain56",
        chart::Style::Dashed,
        1,
        (1..=56).map(|l| (f64::from(l), 10f64.powf(-f64::from(56 - l) / 12.0))),
    )
    .line(
        "resnet56",
        chart::Style::Bold,
        0,
        (1..=56).map(|l| (f64::from(l), 0.3 + 0.002 * f64::from(l))),
    )
    .reference(1e-3, "a reference");
    page.section("log", "Logarithmic axis", "");
    let [wide, narrow] = [("log-wide", 880.0), ("log-narrow", 340.0)]
        .map(|(id, width)| decay.svg(chart::Frame { id, width, height: 300.0 }));
    page.figure(&wide, &narrow, "");

    let spiked = spiked();
    page.section("spike", "One spike, marks and columns", "");
    let [wide, narrow] = [("spike-wide", 880.0), ("spike-narrow", 340.0)]
        .map(|(id, width)| spiked.svg(chart::Frame { id, width, height: 300.0 }));
    page.figure(&wide, &narrow, &spiked.note().unwrap_or_default());

    let bars = bars::BarChart {
        title: "Test error".to_owned(),
        axis: axis::Axis::new("test error").percent(),
        bars: [
            "plain20",
            "plain56",
            "resnet20",
            "resnet56 with a name that goes on and on and on",
            "diverged",
        ]
        .iter()
        .zip([0.087, 0.121, 0.0812, 0.0697, f64::NAN])
        .enumerate()
        .map(|(i, (label, value))| bars::Bar { label: (*label).to_owned(), value, colour: i })
        .collect(),
    };
    page.section("bars", "Bars", "");
    let [wide, narrow] = [("bars-wide", 880.0), ("bars-narrow", 340.0)]
        .map(|(id, width)| bars.svg(chart::Frame { id, width, height: 0.0 }));
    page.figure(&wide, &narrow, "");

    let layers: Vec<String> =
        (1..=20).map(|l| format!("layer{}.{}.conv{}", l / 7 + 1, l % 7 / 2, l % 2 + 1)).collect();
    let iterations: Vec<String> = (0..120).map(|i| format!("{}", i * 500)).collect();
    let shade = |row: usize, column: usize| heatmap::Shade {
        hue: heatmap::Hue::Main,
        strength: ((row as f64 / 5.0 + column as f64 / 25.0).sin().abs()
            * (1.0 - column as f64 / 200.0))
            .clamp(0.0, 1.0),
    };
    let map = heatmap::HeatMap {
        title: "Gradient norm by layer",
        description: "Rows are layers, columns iterations.",
        rows: &layers,
        columns: &iterations,
        row_title: "layer",
        column_title: "iteration",
        shade: &shade,
        note: &|_, _| None,
        ramps: &[heatmap::Ramp {
            hue: heatmap::Hue::Main,
            label: "gradient norm",
            none: "0",
            full: "1.2",
        }],
    };
    page.section("map", "Heat map", "");
    let drawing = map.svg(chart::Frame { id: "map", width: 880.0, height: 360.0 });
    page.scrolling_figure(
        &drawing,
        (map.least_width(), f64::INFINITY),
        "Gradient norm by layer",
        "",
    );
    page.finish("Nothing here was measured.")
}
