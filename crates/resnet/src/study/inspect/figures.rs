//! Figures of what was measured in networks, over their depth.

use crate::measure::probe::{LayerMeasure, Measurement};
use crate::page::charts::axis::Axis;
use crate::page::charts::chart::{LineChart, Style};
use crate::page::charts::figure::Grid;
use crate::page::charts::format;
use crate::train::event::Monitored;

/// A measured network in a figure.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// Its name in the figure.
    pub label: String,
    /// Index of its colour in the palette.
    pub colour: usize,
    /// How its line is drawn.
    pub style: Style,
    /// What was measured.
    pub measurement: &'a Measurement,
}

/// Draws values of each network over 1, 2, 3, ...
fn drawn(
    chart: LineChart,
    lines: &[Line<'_>],
    values: impl Fn(&Measurement) -> Vec<f64>,
) -> LineChart {
    lines.iter().fold(chart, |chart, line| {
        let points = (1u32..).map(f64::from).zip(values(line.measurement));
        chart.line(&*line.label, line.style, line.colour, points)
    })
}

/// Length of the loss's gradient with respect to each layer's response, in the order in which it
/// reaches them.
pub(crate) fn gradients(title: &str, lines: &[Line<'_>]) -> LineChart {
    from_the_loss(title, "length of dL/dy", lines, |layer| layer.activation_gradient_norm)
}

/// Length of the loss's gradient with respect to each layer's weights, in the same order.
pub(crate) fn weight_gradients(title: &str, lines: &[Line<'_>]) -> LineChart {
    from_the_loss(title, "length of dL/dw", lines, |layer| layer.gradient_norm)
}

fn from_the_loss(
    title: &str,
    what: &str,
    lines: &[Line<'_>],
    of: fn(&LayerMeasure) -> f64,
) -> LineChart {
    let x = Axis::new("convolutions from loss to image");
    let chart = LineChart::new(title, x.count(), Axis::new(what).log());
    drawn(chart, lines, |measurement| {
        let mut norms: Vec<f64> = measurement.path().map(of).collect();
        norms.reverse();
        norms
    })
}

fn stds(measurement: &Measurement) -> Vec<f64> {
    measurement.path().map(|layer| layer.response_std).collect()
}

fn std_axis() -> Axis {
    Axis::new("standard deviation").from_zero()
}

/// Standard deviation of the responses, layer by layer.
pub(crate) fn responses(title: &str, lines: &[Line<'_>]) -> LineChart {
    let x = Axis::new("convolution, counted from the image").count();
    drawn(LineChart::new(title, x, std_axis()), lines, stds)
}

/// The same, the largest first.
pub(crate) fn sorted_responses(title: &str, lines: &[Line<'_>]) -> LineChart {
    let x = Axis::new("rank, the largest first").count();
    drawn(LineChart::new(title, x, std_axis()), lines, |measurement| {
        let mut values = stds(measurement);
        values.sort_by(|a, b| b.total_cmp(a));
        values
    })
}

/// The part of each block's gradient that arrives through its shortcut.
pub(crate) fn shares(title: &str, lines: &[Line<'_>]) -> LineChart {
    let x = Axis::new("block, counted from the image").count();
    let y = Axis::new("part through the shortcut").percent().from_zero();
    let chart = LineChart::new(title, x, y).reference(0.5, "half");
    let with_blocks = lines.iter().filter(|l| !l.measurement.blocks.is_empty());
    let with_blocks: Vec<Line<'_>> = with_blocks.cloned().collect();
    drawn(chart, &with_blocks, |measurement| {
        let blocks = measurement.blocks.iter();
        blocks.map(|block| block.shortcut_share).collect()
    })
}

/// Smallest and largest gradient in some histories, as powers of ten: the range that their maps
/// share.
pub(crate) fn decades(histories: &[&[Monitored]]) -> Option<(f64, f64)> {
    let all = histories.iter().flat_map(|history| history.iter());
    let layers = all.flat_map(|look| look.measurement.path());
    decades_of(layers.map(|layer| layer.activation_gradient_norm))
}

/// Length of dL/dy, layer by iteration. The shades go over `decades`.
pub(crate) fn gradient_map(title: &str, history: &[Monitored], decades: (f64, f64)) -> Grid {
    let rows = by_layer(history, |layer| Some(layer.activation_gradient_norm));
    logarithmic(title, "length of dL/dy", history, rows, decades)
}

/// What else a run's monitor saw, with the names of the figures: update over weight, responses,
/// dead channels and what the shortcuts carried.
pub(crate) fn maps(history: &[Monitored]) -> Vec<(&'static str, Grid)> {
    let mut all = Vec::new();
    if history.len() < 2 {
        return all;
    }
    let updates = by_layer(history, |layer| layer.update_ratio);
    let updates_range = decades_of(updates.iter().flat_map(|row| row.1.iter().copied()));
    if let Some(range) = updates_range {
        let what = "update over weight";
        let title = "Length of the update over that of the weights";
        all.push(("update-heatmap", logarithmic(title, what, history, updates, range)));
    }
    let linear = |name, title: &str, what: &str, rows: Rows, full: f64, text: String| {
        (name, grid(title, what, history, rows, &|v| v / full, ["0".into(), text]))
    };
    let responses = by_layer(history, |layer| Some(layer.response_std));
    let values = responses.iter().flat_map(|row| row.1.iter().copied());
    let most = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
    if most > 0.0 {
        let title = "Standard deviation of the responses over training";
        let what = "standard deviation";
        let text = format::number(most);
        all.push(linear("response-heatmap", title, what, responses, most, text));
    }
    let dead = by_layer(history, |layer| layer.dead);
    if dead.iter().any(|row| row.1.iter().any(|&v| v > 0.0)) {
        let title = "Dead channels over training";
        let text = format::percent(1.0, 0);
        all.push(linear("dead-heatmap", title, "dead", dead, 1.0, text));
    }
    let shares = rows(history, |m| {
        let blocks = m.blocks.iter();
        blocks.map(|b| (b.name.clone(), b.shortcut_share)).collect()
    });
    if !shares.is_empty() {
        let title = "What arrives through the shortcuts over training";
        let what = "part through the shortcut";
        let text = format!("{} or more", format::percent(1.0, 0));
        all.push(linear("share-heatmap", title, what, shares, 1.0, text));
    }
    all
}

/// A name, and a value for each look.
type Rows = Vec<(String, Vec<f64>)>;

fn rows(history: &[Monitored], of: impl Fn(&Measurement) -> Vec<(String, f64)>) -> Rows {
    let columns: Vec<Vec<(String, f64)>> = history.iter().map(|h| of(&h.measurement)).collect();
    let names = columns.first().into_iter().flatten().enumerate();
    names
        .map(|(row, (name, _))| {
            let cells = columns.iter().map(|column| column.get(row));
            (name.clone(), cells.map(|c| c.map_or(f64::NAN, |c| c.1)).collect())
        })
        .collect()
}

fn by_layer(history: &[Monitored], of: fn(&LayerMeasure) -> Option<f64>) -> Rows {
    rows(history, |measurement| {
        let path = measurement.path();
        path.map(|layer| (layer.name.clone(), of(layer).unwrap_or(f64::NAN))).collect()
    })
}

/// The powers of ten that hold some values.
fn decades_of(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let logs = values.map(f64::log10).filter(|log| log.is_finite());
    let (low, high) = logs
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
    (low <= high).then(|| (low.floor(), high.ceil().max(low.floor() + 1.0)))
}

fn logarithmic(
    title: &str,
    what: &str,
    history: &[Monitored],
    rows: Rows,
    (low, high): (f64, f64),
) -> Grid {
    let power = |exponent: f64| format::number(10f64.powf(exponent));
    let strength = move |value: f64| (value.log10() - low) / (high - low);
    let what = format!("{what}, logarithmic");
    grid(title, &what, history, rows, &strength, [power(low), power(high)])
}

fn grid(
    title: &str,
    what: &str,
    history: &[Monitored],
    rows: Rows,
    strength: &dyn Fn(f64) -> f64,
    [none, full]: [String; 2],
) -> Grid {
    let description = format!(
        "{} rows at {} moments of training: {what}, from {none} to {full}.",
        rows.len(),
        history.len()
    );
    let cells = rows.iter().flat_map(|row| row.1.iter());
    Grid {
        title: title.into(),
        description,
        strengths: cells.map(|&value| strength(value)).collect(),
        rows: ("layer".into(), rows.iter().map(|row| row.0.clone()).collect()),
        columns: ("steps done".into(), history.iter().map(|look| look.step.to_string()).collect()),
        key: [what.into(), none, full],
    }
}
