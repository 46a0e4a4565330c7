//! Drawing a line chart: where everything goes, then the marks.

use super::axis::Fitted;
use super::chart::{LineChart, Reference, Series, Style};
use super::edge;
use super::label::{shorten, spread, width};
use super::markup::{Markup, Px};
use super::palette::COLOURS;
use super::svg::{self, BASELINE, Frame, TEXT};
use super::thin::{Stretch, thin};

const LINE_HEIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// Bold letters are wider than the estimate of [`width`].
const BOLDER: f64 = 1.1;

/// Dots mark the points of a line that has no more than this many.
const DOTTED: usize = 40;

/// Part of the plot's height that the largest column takes.
const COLUMN: f64 = 0.3;

/// A line is drawn no farther beyond the plot than so many pixels.
const OUTSIDE: f64 = 1e4;

/// A chart with its places settled, in pixels.
pub(super) struct Plot<'a> {
    pub(super) chart: &'a LineChart,
    x: Fitted,
    y: Fitted,
    width: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) height: f64,
    lines: Vec<Vec<Stretch>>,
    labels: Vec<EndLabel>,
}

/// The name at the end of a line.
struct EndLabel {
    text: String,
    room: f64,
    colour: usize,
    bold: bool,
    /// The line's last point.
    end: (f64, f64),
    /// Middle of the text.
    y: f64,
}

impl<'a> Plot<'a> {
    /// Settles the places; `above` pixels at the top stay free.
    pub(super) fn lay_out(chart: &'a LineChart, frame: Frame<'_>, above: f64) -> Plot<'a> {
        let drawn: Vec<Vec<(f64, f64)>> = chart.series.iter().map(|s| chart.ordered(s)).collect();
        let mut named: Vec<(usize, String)> = Vec::new();
        for (i, series) in chart.series.iter().enumerate() {
            let last = drawn[i].iter().rev().find(|p| chart.draws(p));
            if let (false, Some(last)) = (series.label.is_empty(), last) {
                // A name that ends in a number does not run into the value.
                let digit = series.label.ends_with(|c: char| c.is_ascii_digit());
                let colon = if digit { ":" } else { "" };
                named.push((i, format!("{}{colon} {}", series.label, chart.y.text(last.1))));
            }
        }

        let longest = named.iter().map(|l| BOLDER * width(&l.1, TEXT)).fold(0.0, f64::max);
        let room = longest.min(0.4 * frame.width);
        let right_margin = if named.is_empty() { 18.0 } else { room + 14.0 };
        let right = frame.width - right_margin.max(chart.margins.1.min(0.45 * frame.width));
        let top = above + TOP;
        let bottom = (frame.height - BOTTOM).max(top + LINE_HEIGHT * named.len().max(4) as f64);

        let widest =
            |fitted: &Fitted| fitted.ticks.iter().map(|t| width(&t.1, TEXT)).fold(0.0, f64::max);
        let values = drawn.iter().flatten().map(|p| p.1);
        let values = values.chain(chart.references.iter().map(|r| r.value));
        let mut y_axis = chart.y.clone();
        y_axis.range = chart.limits();
        let y = y_axis.fit(values, ((bottom - top) / 44.0) as usize, true);
        let left = (widest(&y) + 12.0).max(chart.margins.0).min(0.4 * frame.width);
        let columns = chart.columns.iter().flat_map(|c| [c.x.0, c.x.1]);
        let marked: Vec<f64> = chart.marks.iter().map(|m| m.value).chain(columns).collect();
        let along = || drawn.iter().flatten().map(|p| p.0).chain(marked.iter().copied());
        let fit_x = |most| chart.x.fit(along(), most, false);
        let x = fit_x(((right - left) / (widest(&fit_x(8)) + 28.0)) as usize);

        let height = bottom + BOTTOM;
        let (lines, labels) = (Vec::new(), Vec::new());
        let width = frame.width;
        let mut plot = Plot { chart, x, y, width, left, right, top, bottom, height, lines, labels };
        let pixels = |points: &Vec<(f64, f64)>| thin(points.iter().map(|&p| plot.at(p)));
        let lines: Vec<Vec<Stretch>> = drawn.iter().map(pixels).collect();
        let end = |line: usize| lines[line].last().and_then(|s| s.last()).copied();
        let ends: Vec<(f64, f64)> =
            named.iter().map(|l| end(l.0).unwrap_or((right, bottom))).collect();
        let wanted: Vec<f64> = ends.iter().map(|e| e.1).collect();
        let places = spread(&wanted, LINE_HEIGHT, top, bottom);
        for (k, (line, text)) in named.into_iter().enumerate() {
            let Series { colour, style, .. } = chart.series[line];
            plot.labels.push(EndLabel {
                text,
                room: room / BOLDER,
                colour: colour % COLOURS,
                bold: style == Style::Bold,
                end: ends[k],
                y: places[k],
            });
        }
        plot.lines = lines;
        plot
    }

    /// A point in pixels; a y that cannot be drawn is not finite.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let far = (self.top - OUTSIDE, self.bottom + OUTSIDE);
        let inside = |y: f64| self.y_at(y).clamp(far.0, far.1);
        (self.x_at(x), if self.chart.y.accepts(y) { inside(y) } else { f64::NAN })
    }

    pub(super) fn x_at(&self, x: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.position(x)
    }

    pub(super) fn y_at(&self, y: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.position(y)
    }

    /// Everything, back to front.
    pub(super) fn draw(&self, m: &mut Markup, id: &str) {
        self.columns(m);
        self.axes(m);
        self.references(m);
        self.marks(m);
        svg::clip(
            m,
            id,
            (self.left, self.top - 3.0),
            (self.right - self.left + 4.0, self.bottom - self.top + 6.0),
        );
        for (series, stretches) in self.chart.series.iter().zip(&self.lines) {
            self.line(m, series, stretches);
        }
        m.close();
        edge::draw(m, self);
        self.column_texts(m);
        if self.lines.iter().all(Vec::is_empty) {
            let middle = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
            svg::text(m, "note middle", middle.0, middle.1, "no data");
        }
        self.labels(m);
    }

    fn axes(&self, m: &mut Markup) {
        let (left, right, base) = (self.left, self.right, self.bottom);
        for (value, text) in &self.y.ticks {
            let y = self.y_at(*value);
            svg::line(m, "grid", (left, y), (right, y));
            svg::text(m, "tick end", left - 8.0, y + BASELINE * TEXT, text);
        }
        svg::line(m, "base", (left, base), (right, base));
        for (value, text) in &self.x.ticks {
            let x = self.x_at(*value);
            svg::line(m, "base", (x, base), (x, base + 4.0));
            svg::text(m, "tick middle", x, base + 18.0, text);
        }
        let title = |m: &mut Markup, class: &str, x: f64, y: f64, text: &str| {
            let (x, y) = (Px(x), Px(y));
            let place = [("class", &class as _), ("x", &x as _), ("y", &y as _)];
            svg::fitted(m, &place, text, BOLDER * TEXT, self.width);
        };
        title(m, "axis", 0.0, self.top - 16.0, &self.chart.y.title);
        let half = (BOLDER * width(&self.chart.x.title, TEXT) / 2.0).min(self.width / 2.0);
        let middle = ((left + right) / 2.0).min(self.width - half).max(half);
        title(m, "axis middle", middle, base + 37.0, &self.chart.x.title);
    }

    /// Columns stand on the base line.
    fn columns(&self, m: &mut Markup) {
        let Some(unit) = self.column_unit() else { return };
        for column in &self.chart.columns {
            let (from, to) = (self.x_at(column.x.0) + 1.0, self.x_at(column.x.1) - 1.0);
            let height = unit * column.amount.max(0.0);
            if height > 0.0 {
                svg::rect(m, "column", (from, self.bottom - height), (to - from, height));
            }
        }
    }

    /// Pixels that an amount of one is high.
    fn column_unit(&self) -> Option<f64> {
        let most = self.chart.columns.iter().map(|c| c.amount).fold(0.0, f64::max);
        (most > 0.0 && most.is_finite()).then(|| COLUMN * (self.bottom - self.top) / most)
    }

    /// Amounts above their columns, upright where one of them is wider than its column.
    fn column_texts(&self, m: &mut Markup) {
        let Some(unit) = self.column_unit() else { return };
        let columns = || self.chart.columns.iter().filter(|c| c.amount > 0.0);
        let room = |c: &super::chart::Column| self.x_at(c.x.1) - self.x_at(c.x.0) - 2.0;
        let lying = columns().all(|c| width(&c.text, TEXT) <= room(c));
        for column in columns() {
            let x = (self.x_at(column.x.0) + self.x_at(column.x.1)) / 2.0;
            let y = self.bottom - unit * column.amount - 5.0;
            if lying {
                svg::text(m, "note middle", x, y, &column.text);
                continue;
            }
            let (x, y) = (Px(x + BASELINE * TEXT), Px(y));
            let turn = format!("rotate(-90 {x} {y})");
            let place = [
                ("class", &"note" as _),
                ("x", &x as _),
                ("y", &y as _),
                ("transform", &turn as _),
            ];
            m.element("text", &place, &column.text);
        }
    }

    /// Vertical lines with their names, one name lower than the other.
    fn marks(&self, m: &mut Markup) {
        let inside = |value: f64| {
            self.chart.x.accepts(value) && (-1e-9..=1.0 + 1e-9).contains(&self.x.position(value))
        };
        // Values beyond the upper edge are written in the first row.
        let first = usize::from(!self.chart.beyond().is_empty());
        for (row, mark) in self.chart.marks.iter().filter(|m| inside(m.value)).enumerate() {
            let x = self.x_at(mark.value);
            svg::line(m, "guide", (x, self.top), (x, self.bottom));
            let y = self.top + 11.0 + LINE_HEIGHT * (first + row) as f64;
            let short = shorten(&mark.label, TEXT, self.right - self.left);
            let length = width(&short, TEXT);
            if x + 6.0 + length > self.right && x - 6.0 - length >= self.left {
                svg::text(m, "note end", x - 6.0, y, short);
            } else {
                svg::text(m, "note", (x + 6.0).min(self.right - length), y, short);
            }
        }
    }

    fn references(&self, m: &mut Markup) {
        let inside = |value: f64| {
            self.chart.y.accepts(value) && (-1e-9..=1.0 + 1e-9).contains(&self.y.position(value))
        };
        let visible: Vec<&Reference> =
            self.chart.references.iter().filter(|r| inside(r.value)).collect();
        let above: Vec<f64> = visible.iter().map(|r| self.y_at(r.value) - 9.0).collect();
        let places = spread(&above, LINE_HEIGHT, self.top + 8.0, self.bottom - 9.0);
        for (reference, place) in visible.iter().zip(places) {
            let y = self.y_at(reference.value);
            svg::line(m, "reference", (self.left, y), (self.right, y));
            let text = shorten(&reference.label, TEXT, self.right - self.left - 16.0);
            svg::text(m, "note end", self.right - 8.0, place + BASELINE * TEXT, text);
        }
    }

    fn line(&self, m: &mut Markup, series: &Series, stretches: &[Stretch]) {
        let colour = series.colour % COLOURS;
        let (style, radius) = match series.style {
            Style::Thin => ("thin", 2.2),
            Style::Bold => ("bold", 3.2),
            Style::Dashed => ("dashed", 2.4),
            Style::Faint => ("faint", 1.0),
        };
        let d: String = stretches.iter().filter(|s| s.len() > 1).map(|s| path(s)).collect();
        if !d.is_empty() {
            let class = format!("line {style} l{colour}");
            m.leaf("path", &[("class", &class), ("d", &d)]);
        }
        let points: usize = stretches.iter().map(Vec::len).sum();
        let dotted = points <= DOTTED && series.style != Style::Faint;
        let class = format!("f{colour}");
        // A point between two gaps has no line and is seen only as a dot.
        for &(x, y) in stretches.iter().filter(|s| dotted || s.len() == 1).flatten() {
            m.leaf("circle", &[("class", &class), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &radius)]);
        }
    }

    fn labels(&self, m: &mut Markup) {
        for label in &self.labels {
            let (x, y) = (label.end.0, label.end.1.clamp(self.top, self.bottom));
            if x < self.right - 3.0 || (y - label.y).abs() > 2.0 {
                // From the line's end straight on to the plot's edge, then slanting to the text.
                let edge = Px(self.right.max(x) + 1.0);
                let to = (Px(self.right + 9.0), Px(label.y));
                let d = format!("M{},{}H{edge}L{},{}", Px(x + 4.0), Px(y), to.0, to.1);
                let class = format!("leader l{}", label.colour);
                m.leaf("path", &[("class", &class), ("d", &d)]);
            }
            let class = format!("t{}{}", label.colour, if label.bold { " strong" } else { "" });
            let (x, y) = (Px(self.right + 12.0), Px(label.y + BASELINE * TEXT));
            let place = [("class", &class as _), ("x", &x as _), ("y", &y as _)];
            svg::fitted(m, &place, &label.text, TEXT, label.room);
        }
    }
}

fn path(stretch: &[(f64, f64)]) -> String {
    let mut d = String::with_capacity(stretch.len() * 12);
    for (i, &(x, y)) in stretch.iter().enumerate() {
        d += &format!("{}{},{}", if i == 0 { 'M' } else { 'L' }, Px(x), Px(y));
    }
    d
}
