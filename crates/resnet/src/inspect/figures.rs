//! Figures of what was measured in networks, over their depth.

use crate::event::Monitored;
use crate::probe::{LayerMeasure, Measurement};
use crate::report::axis::Axis;
use crate::report::chart::{LineChart, Style};
use crate::report::figure::Grid;
use crate::report::format;

/// A measured network in a figure.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Its name in the figure.
    pub label: String,
    /// Index of its colour in the palette.
    pub colour: usize,
    /// How its line is drawn.
    pub style: Style,
    /// What was measured.
    pub measurement: &'a Measurement,
}

fn layer_axis() -> Axis {
    Axis::new("convolution, counted from the image").count()
}

fn gradient_axis() -> Axis {
    Axis::new("length of dL/dy").log()
}

fn over_depth(chart: LineChart, lines: &[Line<'_>], of: fn(&LayerMeasure) -> f64) -> LineChart {
    lines.iter().fold(chart, |chart, line| {
        let values = (1u32..).zip(line.measurement.path().map(of));
        let points = values.map(|(layer, value)| (f64::from(layer), value));
        chart.line(&*line.label, line.style, line.colour, points)
    })
}

/// Length of the loss's gradient with respect to each layer's response.
pub fn gradients(title: &str, lines: &[Line<'_>]) -> LineChart {
    let chart = LineChart::new(title, layer_axis(), gradient_axis());
    over_depth(chart, lines, |layer| layer.activation_gradient_norm)
}

/// The same of weights.
pub fn weight_gradients(title: &str, lines: &[Line<'_>]) -> LineChart {
    let chart = LineChart::new(title, layer_axis(), Axis::new("length of dL/dw").log());
    over_depth(chart, lines, |layer| layer.gradient_norm)
}

/// Standard deviation of the responses, layer by layer.
pub fn responses(title: &str, lines: &[Line<'_>]) -> LineChart {
    let y = Axis::new("standard deviation").from_zero();
    over_depth(LineChart::new(title, layer_axis(), y), lines, |layer| {
        layer.response_std
    })
}

/// The same, the largest first.
pub fn sorted_responses(title: &str, lines: &[Line<'_>]) -> LineChart {
    let x = Axis::new("rank, the largest first").count();
    let y = Axis::new("standard deviation").from_zero();
    lines
        .iter()
        .fold(LineChart::new(title, x, y), |chart, line| {
            let mut values: Vec<f64> = line.measurement.path().map(|l| l.response_std).collect();
            values.sort_by(|a, b| b.total_cmp(a));
            let points = (1u32..).map(f64::from).zip(values);
            chart.line(&*line.label, line.style, line.colour, points)
        })
}

/// The part of each block's gradient that arrives through its shortcut.
pub fn shares(title: &str, lines: &[Line<'_>]) -> LineChart {
    let x = Axis::new("block, counted from the image").count();
    let y = Axis::new("part through the shortcut").percent().from_zero();
    let chart = LineChart::new(title, x, y).reference(0.5, "as much as through the branch");
    let lines = lines
        .iter()
        .filter(|line| !line.measurement.blocks.is_empty());
    lines.fold(chart, |chart, line| {
        let shares = line.measurement.blocks.iter().map(|b| b.shortcut_share);
        let points = (1u32..).map(f64::from).zip(shares);
        chart.line(&*line.label, line.style, line.colour, points)
    })
}

/// Smallest and largest gradient in some histories, as powers of ten: the range that their maps share.
pub fn decades(histories: &[&[Monitored]]) -> Option<(f64, f64)> {
    let all = histories.iter().flat_map(|history| history.iter());
    let norms = all.flat_map(|look| look.measurement.path());
    let logs = norms
        .map(|layer| layer.activation_gradient_norm.log10())
        .filter(|log| log.is_finite());
    let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
        (low.min(log), high.max(log))
    });
    (low <= high).then(|| (low.floor(), high.ceil().max(low.floor() + 1.0)))
}

/// Length of dL/dy, layer by iteration. The shades go over `decades`.
pub fn gradient_map(title: &str, history: &[Monitored], (low, high): (f64, f64)) -> Grid {
    let names: Vec<String> = history.first().map_or_else(Vec::new, |look| {
        let path = look.measurement.path();
        path.map(|layer| layer.name.clone()).collect()
    });
    let columns: Vec<Vec<f64>> = history
        .iter()
        .map(|look| {
            let path = look.measurement.path();
            let logs = path.map(|layer| layer.activation_gradient_norm.log10());
            logs.map(|log| (log - low) / (high - low)).collect()
        })
        .collect();
    let strengths = (0..names.len()).flat_map(|row| {
        let cells = columns.iter();
        cells.map(move |column| column.get(row).copied().unwrap_or(f64::NAN))
    });
    let power = |exponent: f64| format::number(10f64.powf(exponent));
    Grid {
        title: title.into(),
        description: format!(
            "Length of dL/dy of {} layers at {} moments of training, between {} and {}.",
            names.len(),
            history.len(),
            power(low),
            power(high)
        ),
        strengths: strengths.collect(),
        rows: ("layer".into(), names),
        columns: (
            "steps done".into(),
            history.iter().map(|look| look.step.to_string()).collect(),
        ),
        key: [
            "length of dL/dy, logarithmic".into(),
            power(low),
            power(high),
        ],
    }
}
