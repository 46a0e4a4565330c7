//! Horizontal bars: one a row, its name before it and its value behind it.

use super::axis::Axis;
use super::label::width;
use super::markup::{Markup, Px};
use super::palette::COLOURS;
use super::svg::{self, BASELINE, Frame, TEXT};

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub label: String,
    /// Its length; a bar whose value is not finite is named and not drawn.
    pub value: f64,
    /// Index of the colour in the palette.
    pub colour: usize,
}

/// A bar chart. Bars start at 0, which a logarithmic axis does not have: `axis.log` and
/// `axis.range` are not used.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// What the chart shows, for readers who cannot see it.
    pub title: String,
    /// The values' axis.
    pub axis: Axis,
    /// Bars, top to bottom.
    pub bars: Vec<Bar>,
}

const ROW: f64 = 24.0;
const TOP: f64 = 24.0;

impl BarChart {
    /// The chart as an `svg` element; its height follows from the number of bars.
    pub fn svg(&self, frame: Frame<'_>) -> String {
        let mut axis = self.axis.clone().from_zero();
        (axis.log, axis.range) = (false, None);
        let texts: Vec<String> = self.bars.iter().map(|b| axis.text(b.value)).collect();
        let longest = |widths: &mut dyn Iterator<Item = f64>| widths.fold(0.0, f64::max);
        let names = longest(&mut self.bars.iter().map(|b| width(&b.label, TEXT)));
        let names = names.min(0.38 * frame.width);
        let behind = longest(&mut texts.iter().map(|t| width(t, TEXT))) + 12.0;
        let before = if self.bars.iter().any(|b| b.value < 0.0) { behind } else { 0.0 };
        let left = names + 10.0;
        let low = left + before;
        let high = (frame.width - behind).max(low + 1.0);
        let fitted = axis.fit(self.bars.iter().map(|b| b.value), 5, false);
        let at = |v: f64| low + (high - low) * fitted.position(v);
        let height = TOP + ROW * self.bars.len().max(1) as f64 + 4.0;

        let mut m = Markup::new();
        let described = self.bars.iter().zip(&texts).map(|(b, t)| format!("{} {t}", b.label));
        let description = format!("{}: {}.", axis.title, described.collect::<Vec<_>>().join(", "));
        svg::open(&mut m, frame, height, &self.title, &description);
        svg::text(&mut m, "axis", left, 13.0, &axis.title);
        for (i, (bar, text)) in self.bars.iter().zip(&texts).enumerate() {
            let top = TOP + ROW * i as f64;
            let baseline = top + ROW / 2.0 + BASELINE * TEXT;
            let (x, y) = (Px(left - 8.0), Px(baseline));
            let place = [("class", &"end" as _), ("x", &x as _), ("y", &y as _)];
            svg::fitted(&mut m, &place, &bar.label, TEXT, names);
            let end = if axis.accepts(bar.value) { at(bar.value) } else { at(0.0) };
            let (from, to) = (at(0.0).min(end), at(0.0).max(end));
            if from < to {
                let class = format!("f{}", bar.colour % COLOURS);
                svg::rect(&mut m, &class, (from, top + 4.0), (to - from, ROW - 8.0));
            }
            if end < at(0.0) {
                svg::text(&mut m, "tick end", end - 6.0, baseline, text);
            } else {
                svg::text(&mut m, "tick", end + 6.0, baseline, text);
            }
        }
        svg::line(&mut m, "base", (at(0.0), TOP), (at(0.0), height - 4.0));
        if self.bars.is_empty() {
            svg::text(&mut m, "note", left + 8.0, TOP + 16.0, "no data");
        }
        m.finish()
    }
}

/// A short bar for a table's cell: `fraction` of its full length, which is also said by the number
/// beside it.
pub fn cell_bar(fraction: f64) -> String {
    let filled = if fraction.is_finite() { fraction.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    let mut m = Markup::new();
    m.open(
        "svg",
        &[
            ("class", &"bar"),
            ("viewBox", &"0 0 100 8"),
            ("preserveAspectRatio", &"none"),
            ("aria-hidden", &"true"),
        ],
    );
    svg::rect(&mut m, "track", (0.0, 0.0), (100.0, 8.0));
    svg::rect(&mut m, "main", (0.0, 0.0), (filled, 8.0));
    m.finish().trim_end().to_owned()
}
