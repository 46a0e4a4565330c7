//! Line charts: series of points, each named at the end of its line.

use super::axis::Axis;
use super::format;
use super::limits::limits;
use super::markup::Markup;
use super::plot::Plot;
use super::svg;
pub use super::svg::Frame;

/// How a line is drawn. The paper's figures have thin lines for training and bold ones for test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A thin line.
    Thin,
    /// A bold line.
    Bold,
    /// A dashed line.
    Dashed,
    /// A pale line, for what lies behind a smoothed one.
    Faint,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name, written at the end of the line; an empty one is not written.
    pub label: String,
    /// Points (x, y) in any order; they are drawn by ascending x. A y that is not finite breaks the
    /// line.
    pub points: Vec<(f64, f64)>,
    /// How the line is drawn.
    pub style: Style,
    /// Index of the colour in the palette.
    pub colour: usize,
}

/// A line across the plot with a name, such as the error of guessing.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Where on its axis.
    pub value: f64,
    /// Its name.
    pub label: String,
}

/// A column behind the lines: an amount that belongs to a part of the x axis, such as the pictures
/// in a bin. Its height is no value of the y axis; its text says the amount.
#[derive(Clone, Debug)]
pub struct Column {
    /// Where it stands on the x axis: from, to.
    pub x: (f64, f64),
    /// The amount, zero or more; the largest of a chart takes a part of the plot's height.
    pub amount: f64,
    /// The amount as a text, written above the column.
    pub text: String,
}

/// A line chart.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// What the chart shows, for readers who cannot see it.
    pub title: String,
    /// The axis along the bottom.
    pub x: Axis,
    /// The axis up the side.
    pub y: Axis,
    /// The lines, back to front.
    pub series: Vec<Series>,
    /// Horizontal lines behind the series.
    pub references: Vec<Reference>,
    /// Vertical lines that mark places of the x axis.
    pub marks: Vec<Reference>,
    /// Columns behind everything else.
    pub columns: Vec<Column>,
    /// The least room left and right of the plot, in pixels: what lets the x axes of stacked charts
    /// stand in line.
    pub margins: (f64, f64),
}

impl LineChart {
    /// A chart without lines.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> LineChart {
        LineChart {
            title: title.into(),
            x,
            y,
            series: Vec::new(),
            references: Vec::new(),
            marks: Vec::new(),
            columns: Vec::new(),
            margins: (0.0, 0.0),
        }
    }

    /// Adds a line in front of those there are.
    pub fn line(
        mut self,
        label: impl Into<String>,
        style: Style,
        colour: usize,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> LineChart {
        let points = points.into_iter().collect();
        self.series.push(Series { label: label.into(), points, style, colour });
        self
    }

    /// Adds a horizontal line.
    pub fn reference(mut self, value: f64, label: impl Into<String>) -> LineChart {
        self.references.push(Reference { value, label: label.into() });
        self
    }

    /// Adds a vertical line at a place of the x axis.
    pub fn mark(mut self, value: f64, label: impl Into<String>) -> LineChart {
        self.marks.push(Reference { value, label: label.into() });
        self
    }

    /// The range of the y axis that is shown where it is neither that of all values nor a round
    /// one: a fixed one, or, where a few values stand out so far that the others would look flat,
    /// that of the others.
    pub(super) fn limits(&self) -> Option<(f64, f64)> {
        self.y.fixed().or_else(|| {
            let lines: Vec<Vec<f64>> = self
                .series
                .iter()
                .map(|s| self.ordered(s).into_iter().map(|p| p.1).collect())
                .collect();
            limits(&self.y, &lines, self.references.iter().map(|r| r.value))
        })
    }

    /// Points that can be drawn and lie beyond the y axis, which marks them at its edge.
    pub fn beyond(&self) -> Vec<(f64, f64)> {
        let Some((low, high)) = self.limits() else {
            return Vec::new();
        };
        let slack = 1e-9 * (high - low);
        let points = self.series.iter().flat_map(|s| self.ordered(s));
        let outside = |y: f64| y < low - slack || y > high + slack;
        points.filter(|p| self.draws(p) && outside(p.1)).collect()
    }

    /// Points of a series by ascending x, without those whose x has no place.
    pub(super) fn ordered(&self, series: &Series) -> Vec<(f64, f64)> {
        let (low, high) = self.x.fixed().unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let inside = |x: f64| self.x.accepts(x) && x >= low && x <= high;
        let mut points: Vec<(f64, f64)> =
            series.points.iter().copied().filter(|p| inside(p.0)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }

    /// What a reader has to know of points that are not where they belong: those not drawn, and
    /// those beyond the axis.
    pub fn note(&self) -> Option<String> {
        let notes = [undrawn_note(self.undrawn()), self.beyond_note()];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join(" "))
    }

    fn beyond_note(&self) -> Option<String> {
        let beyond = self.beyond();
        let far = |p: &&(f64, f64)| p.1.abs();
        let farthest = beyond.iter().max_by(|a, b| far(a).total_cmp(&far(b)))?;
        let value = format!("{} at {}", self.y.text(farthest.1), self.x.text(farthest.0));
        Some(match beyond.len() {
            1 => format!("One value, {value}, lies beyond the axis: a triangle marks it."),
            _ => format!(
                "Some values lie beyond the axis: triangles mark them. The farthest is {value}."
            ),
        })
    }

    /// Number of points that cannot be drawn: not finite, or not positive on a logarithmic axis.
    pub fn undrawn(&self) -> usize {
        self.series.iter().flat_map(|s| &s.points).filter(|p| !self.draws(p)).count()
    }

    pub(super) fn draws(&self, point: &(f64, f64)) -> bool {
        self.x.accepts(point.0) && self.y.accepts(point.1)
    }

    /// Charts under each other, their plots equally wide.
    pub fn stack(charts: &[&LineChart], frames: &[Frame<'_>]) -> Vec<String> {
        let mut margins = (0f64, 0f64);
        for (chart, frame) in charts.iter().zip(frames) {
            let plot = Plot::lay_out(chart, *frame, 0.0);
            margins = (margins.0.max(plot.left), margins.1.max(frame.width - plot.right));
        }
        let draw = |(chart, frame): (&&LineChart, &Frame<'_>)| {
            let mut chart = (*chart).clone();
            chart.margins = margins;
            chart.svg(*frame)
        };
        charts.iter().zip(frames).map(draw).collect()
    }

    /// The chart as an `svg` element for a page that holds the styles of
    /// [`palette`](super::palette).
    pub fn svg(&self, frame: Frame<'_>) -> String {
        self.draw(frame, false)
    }

    /// The chart as a file of its own, with its title above it.
    pub fn file(&self, width: f64, height: f64) -> String {
        self.draw(Frame { id: "chart", width, height }, true)
    }

    fn draw(&self, frame: Frame<'_>, alone: bool) -> String {
        let plot = Plot::lay_out(self, frame, if alone { 28.0 } else { 0.0 });
        let open = if alone { svg::open_file } else { svg::open };
        let mut m = Markup::new();
        open(&mut m, frame, plot.height, &self.title, &self.description());
        plot.draw(&mut m, frame.id);
        m.finish()
    }

    /// The lines in words: where each begins, ends, and is lowest.
    fn description(&self) -> String {
        let mut text = format!("{} over {}.", self.y.title, self.x.title);
        for series in &self.series {
            let drawn = || series.points.iter().filter(|p| self.draws(p)).map(|p| p.1);
            let (Some(first), Some(last)) = (drawn().next(), drawn().next_back()) else {
                if !series.label.is_empty() {
                    text += &format!(" {}: no points.", series.label);
                }
                continue;
            };
            if series.label.is_empty() {
                continue;
            }
            let lowest = drawn().fold(first, f64::min);
            let [first, last, lowest] = [first, last, lowest].map(|v| self.y.text(v));
            text += &format!(" {}: from {first} to {last}, lowest {lowest}.", series.label);
        }
        for mark in &self.marks {
            text += &format!(" At {}: {}.", self.x.text(mark.value), mark.label);
        }
        if let Some(note) = self.beyond_note() {
            text += &format!(" {note}");
        }
        text
    }
}

fn undrawn_note(count: usize) -> Option<String> {
    (count > 0).then(|| {
        format!(
            "{} not finite and not drawn.",
            match count {
                1 => "One value is".to_owned(),
                n => format!("{} values are", format::thousands(n as u64)),
            }
        )
    })
}
