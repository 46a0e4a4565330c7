//! Line charts: series of points, each named at the end of its line.

use super::axis::Axis;
use super::format;
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

/// A horizontal line with a name, such as the error of guessing.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Where on the y axis.
    pub value: f64,
    /// Its name.
    pub label: String,
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
        text
    }
}

/// The note under a chart some of whose points could not be drawn.
pub fn undrawn_note(count: usize) -> Option<String> {
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
