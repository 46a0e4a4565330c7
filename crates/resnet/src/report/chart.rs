//! Line charts: series of points, each named at the end of its line.

use super::axis::{Axis, Fitted};
use super::format;
use super::label::{shorten, spread, width};
use super::markup::{Markup, Px};
use super::palette::{CHART_CSS, COLOURS, variables};
use super::thin::{Stretch, thin};

/// Size of a drawing in pixels, and the id that makes its inner ids unique in the page.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// An XML id, such as `error-wide`.
    pub id: &'a str,
    /// Width in pixels.
    pub width: f64,
    /// Height in pixels; a drawing that needs more takes it.
    pub height: f64,
}

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
    /// Points (x, y) in any order; they are drawn by ascending x. A y that is not finite breaks the line.
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
    /// The least room left and right of the plot, in pixels: what lets the x axes of stacked charts stand in line.
    pub margins: (f64, f64),
}

const TEXT: f64 = 13.0;
const LINE_HEIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// Dots mark the points of a line that has no more than this many.
const DOTTED: usize = 40;

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
        self.series.push(Series {
            label: label.into(),
            points,
            style,
            colour,
        });
        self
    }

    /// Adds a horizontal line.
    pub fn reference(mut self, value: f64, label: impl Into<String>) -> LineChart {
        self.references.push(Reference {
            value,
            label: label.into(),
        });
        self
    }

    /// Number of points that cannot be drawn: not finite, or not positive on a logarithmic axis.
    pub fn undrawn(&self) -> usize {
        self.series
            .iter()
            .flat_map(|s| &s.points)
            .filter(|p| !self.draws(p))
            .count()
    }

    fn draws(&self, point: &(f64, f64)) -> bool {
        self.x.accepts(point.0) && self.y.accepts(point.1)
    }

    /// Charts under each other, their plots equally wide.
    pub fn stack(charts: &[&LineChart], frames: &[Frame<'_>]) -> Vec<String> {
        let mut margins = (0f64, 0f64);
        for (chart, frame) in charts.iter().zip(frames) {
            let plot = Plot::lay_out(chart, *frame, 0.0);
            margins = (
                margins.0.max(plot.left),
                margins.1.max(frame.width - plot.right),
            );
        }
        let draw = |(chart, frame): (&&LineChart, &Frame<'_>)| {
            let mut chart = (*chart).clone();
            chart.margins = margins;
            chart.svg(*frame)
        };
        charts.iter().zip(frames).map(draw).collect()
    }

    /// The chart as an `svg` element for a page that holds [`CHART_CSS`] and [`variables`].
    pub fn svg(&self, frame: Frame<'_>) -> String {
        self.draw(frame, false)
    }

    /// The chart as a file of its own, with its title above it.
    pub fn file(&self, width: f64, height: f64) -> String {
        self.draw(
            Frame {
                id: "chart",
                width,
                height,
            },
            true,
        )
    }

    fn draw(&self, frame: Frame<'_>, alone: bool) -> String {
        let plot = Plot::lay_out(self, frame, if alone { 28.0 } else { 0.0 });
        let mut m = Markup::new();
        let head = Head {
            frame,
            height: plot.height,
            title: &self.title,
            description: &self.description(),
            alone,
        };
        head.open(&mut m);
        plot.axes(&mut m);
        plot.references(&mut m);
        plot.lines(&mut m, frame.id);
        plot.labels(&mut m);
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
            text += &format!(
                " {}: from {first} to {last}, lowest {lowest}.",
                series.label
            );
        }
        text
    }
}

/// The opening of an `svg` element with its title and description.
pub(super) struct Head<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) height: f64,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    /// A file of its own, not part of a page.
    pub(super) alone: bool,
}

impl Head<'_> {
    pub(super) fn open(&self, m: &mut Markup) {
        let Frame { id, width, .. } = self.frame;
        let view_box = format!("0 0 {} {}", Px(width), Px(self.height));
        let named = format!("{id}-title {id}-desc");
        if self.alone {
            m.open(
                "svg",
                &[
                    ("xmlns", &"http://www.w3.org/2000/svg"),
                    ("class", &"chart"),
                    ("viewBox", &view_box),
                    ("width", &Px(width)),
                    ("height", &Px(self.height)),
                    ("role", &"img"),
                    ("aria-labelledby", &named),
                ],
            );
        } else {
            m.open(
                "svg",
                &[
                    ("class", &"chart"),
                    ("viewBox", &view_box),
                    ("role", &"img"),
                    ("aria-labelledby", &named),
                ],
            );
        }
        m.element("title", &[("id", &format_args!("{id}-title"))], self.title);
        m.element(
            "desc",
            &[("id", &format_args!("{id}-desc"))],
            self.description,
        );
        if self.alone {
            m.raw(&format!("<style>{}{CHART_CSS}</style>", variables()));
            m.leaf(
                "rect",
                &[("class", &"page"), ("width", &"100%"), ("height", &"100%")],
            );
            m.element(
                "text",
                &[("class", &"heading"), ("x", &"8"), ("y", &"20")],
                self.title,
            );
        }
    }
}

/// A chart with its places settled.
struct Plot<'a> {
    chart: &'a LineChart,
    x: Fitted,
    y: Fitted,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    height: f64,
    /// Pixels of each line.
    lines: Vec<Vec<Stretch>>,
    labels: Vec<EndLabel>,
}

/// The name at the end of a line.
struct EndLabel {
    full: String,
    text: String,
    colour: usize,
    bold: bool,
    /// The line's last point.
    end: (f64, f64),
    /// Middle of the text.
    y: f64,
}

impl<'a> Plot<'a> {
    fn lay_out(chart: &'a LineChart, frame: Frame<'_>, above: f64) -> Plot<'a> {
        let drawn: Vec<Vec<(f64, f64)>> = chart.series.iter().map(|s| ordered(s, chart)).collect();
        let mut labels: Vec<(usize, String)> = Vec::new();
        for (i, series) in chart.series.iter().enumerate() {
            let last = drawn[i].iter().rev().find(|p| chart.draws(p));
            if let (false, Some(last)) = (series.label.is_empty(), last) {
                labels.push((i, format!("{} {}", series.label, chart.y.text(last.1))));
            }
        }

        let longest = labels.iter().map(|l| width(&l.1, TEXT)).fold(0.0, f64::max);
        let room = longest.min(0.4 * frame.width);
        let right_margin = if labels.is_empty() { 18.0 } else { room + 20.0 };
        let right = frame.width - right_margin.max(chart.margins.1.min(0.45 * frame.width));
        let top = above + TOP;
        let bottom = (frame.height - BOTTOM).max(top + LINE_HEIGHT * labels.len().max(4) as f64);

        let ys = drawn
            .iter()
            .flatten()
            .map(|p| p.1)
            .chain(chart.references.iter().map(|r| r.value));
        let y = chart.y.fit(ys, ((bottom - top) / 44.0) as usize, true);
        let widest_y = y
            .ticks
            .iter()
            .map(|t| width(&t.1, TEXT))
            .fold(0.0, f64::max);
        let left = (widest_y + 12.0)
            .max(chart.margins.0)
            .min(0.4 * frame.width);

        let xs = || drawn.iter().flatten().map(|p| p.0);
        let guess = chart.x.fit(xs(), 8, false);
        let widest_x = guess
            .ticks
            .iter()
            .map(|t| width(&t.1, TEXT))
            .fold(0.0, f64::max);
        let x = chart
            .x
            .fit(xs(), ((right - left) / (widest_x + 28.0)) as usize, false);

        let mut plot = Plot {
            chart,
            x,
            y,
            left,
            right,
            top,
            bottom,
            height: bottom + BOTTOM,
            lines: Vec::new(),
            labels: Vec::new(),
        };
        plot.lines = drawn
            .iter()
            .map(|points| thin(points.iter().map(|&p| plot.at(p))))
            .collect();
        let ends: Vec<(f64, f64)> = labels
            .iter()
            .map(|&(i, _)| {
                plot.lines[i]
                    .last()
                    .and_then(|s| s.last())
                    .copied()
                    .unwrap_or((right, bottom))
            })
            .collect();
        let places = spread(
            &ends.iter().map(|e| e.1).collect::<Vec<_>>(),
            LINE_HEIGHT,
            top,
            bottom,
        );
        plot.labels = labels
            .into_iter()
            .enumerate()
            .map(|(k, (i, full))| EndLabel {
                text: shorten(&full, TEXT, room + 1e-6),
                full,
                colour: chart.series[i].colour % COLOURS,
                bold: chart.series[i].style == Style::Bold,
                end: ends[k],
                y: places[k],
            })
            .collect();
        plot
    }

    /// A point in pixels; a y that cannot be drawn is not finite.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let y = if self.chart.y.accepts(y) {
            self.y_at(y)
        } else {
            f64::NAN
        };
        (self.left + (self.right - self.left) * self.x.position(x), y)
    }

    fn y_at(&self, y: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.position(y)
    }

    fn axes(&self, m: &mut Markup) {
        for (value, text) in &self.y.ticks {
            let y = self.y_at(*value);
            let line: [(&str, &dyn std::fmt::Display); 4] = [
                ("x1", &Px(self.left)),
                ("x2", &Px(self.right)),
                ("y1", &Px(y)),
                ("y2", &Px(y)),
            ];
            m.leaf(
                "line",
                &[
                    [("class", &"grid" as &dyn std::fmt::Display)].as_slice(),
                    &line,
                ]
                .concat(),
            );
            m.element(
                "text",
                &[
                    ("class", &"tick end"),
                    ("x", &Px(self.left - 8.0)),
                    ("y", &Px(y + 4.5)),
                ],
                text,
            );
        }
        let base = self.bottom;
        m.leaf(
            "line",
            &[
                ("class", &"base"),
                ("x1", &Px(self.left)),
                ("x2", &Px(self.right)),
                ("y1", &Px(base)),
                ("y2", &Px(base)),
            ],
        );
        for (value, text) in &self.x.ticks {
            let x = self.at((*value, f64::NAN)).0;
            m.leaf(
                "line",
                &[
                    ("class", &"base"),
                    ("x1", &Px(x)),
                    ("x2", &Px(x)),
                    ("y1", &Px(base)),
                    ("y2", &Px(base + 4.0)),
                ],
            );
            m.element(
                "text",
                &[
                    ("class", &"tick middle"),
                    ("x", &Px(x)),
                    ("y", &Px(base + 18.0)),
                ],
                text,
            );
        }
        m.element(
            "text",
            &[("class", &"axis"), ("x", &"0"), ("y", &Px(self.top - 16.0))],
            &self.chart.y.title,
        );
        let middle = (self.left + self.right) / 2.0;
        let below = Px(base + 37.0);
        m.element(
            "text",
            &[("class", &"axis middle"), ("x", &Px(middle)), ("y", &below)],
            &self.chart.x.title,
        );
    }

    fn references(&self, m: &mut Markup) {
        let visible: Vec<&Reference> = (self.chart.references.iter())
            .filter(|r| {
                self.chart.y.accepts(r.value)
                    && (-1e-9..=1.0 + 1e-9).contains(&self.y.position(r.value))
            })
            .collect();
        let wanted: Vec<f64> = visible.iter().map(|r| self.y_at(r.value) - 9.0).collect();
        let places = spread(&wanted, LINE_HEIGHT, self.top + 8.0, self.bottom - 9.0);
        for (reference, place) in visible.iter().zip(places) {
            let y = Px(self.y_at(reference.value));
            m.leaf(
                "line",
                &[
                    ("class", &"reference"),
                    ("x1", &Px(self.left)),
                    ("x2", &Px(self.right)),
                    ("y1", &y),
                    ("y2", &y),
                ],
            );
            let text = shorten(&reference.label, TEXT, self.right - self.left - 16.0);
            let x = Px(self.right - 8.0);
            m.element(
                "text",
                &[("class", &"note end"), ("x", &x), ("y", &Px(place + 4.5))],
                text,
            );
        }
    }

    fn lines(&self, m: &mut Markup, id: &str) {
        m.open("clipPath", &[("id", &format_args!("{id}-clip"))]);
        m.leaf(
            "rect",
            &[
                ("x", &Px(self.left)),
                ("y", &Px(self.top - 3.0)),
                ("width", &Px((self.right - self.left + 4.0).max(0.0))),
                ("height", &Px(self.bottom - self.top + 6.0)),
            ],
        );
        m.close();
        m.open("g", &[("clip-path", &format_args!("url(#{id}-clip)"))]);
        for (series, stretches) in self.chart.series.iter().zip(&self.lines) {
            let colour = series.colour % COLOURS;
            let style = match series.style {
                Style::Thin => "thin",
                Style::Bold => "bold",
                Style::Dashed => "dashed",
                Style::Faint => "faint",
            };
            let path: String = stretches
                .iter()
                .filter(|s| s.len() > 1)
                .map(|s| path(s))
                .collect();
            if !path.is_empty() {
                m.leaf(
                    "path",
                    &[
                        ("class", &format_args!("line {style} l{colour}")),
                        ("d", &path),
                    ],
                );
            }
            let all: usize = stretches.iter().map(Vec::len).sum();
            let radius = if series.style == Style::Bold {
                3.2
            } else {
                2.2
            };
            let dots = stretches.iter().flat_map(|s| {
                let shown = if all <= DOTTED && series.style != Style::Faint {
                    s.len()
                } else {
                    usize::from(s.len() == 1)
                };
                s.iter().take(shown)
            });
            for &(x, y) in dots {
                m.leaf(
                    "circle",
                    &[
                        ("class", &format_args!("f{colour}")),
                        ("cx", &Px(x)),
                        ("cy", &Px(y)),
                        ("r", &radius),
                    ],
                );
            }
        }
        m.close();
        if self
            .chart
            .series
            .iter()
            .all(|s| s.points.iter().all(|p| !self.chart.draws(p)))
        {
            let (x, y) = (
                (self.left + self.right) / 2.0,
                (self.top + self.bottom) / 2.0,
            );
            m.element(
                "text",
                &[("class", &"note middle"), ("x", &Px(x)), ("y", &Px(y))],
                "no data",
            );
        }
    }

    fn labels(&self, m: &mut Markup) {
        for label in &self.labels {
            let (x, y) = label.end;
            let end_y = y.clamp(self.top, self.bottom);
            let class = format!("l{}", label.colour);
            if x < self.right - 3.0 || (end_y - label.y).abs() > 2.0 {
                let bend = Px((self.right + 1.0).max(x + 1.0));
                let d = format!(
                    "M{},{}H{bend}L{},{}",
                    Px(x + 4.0),
                    Px(end_y),
                    Px(self.right + 9.0),
                    Px(label.y)
                );
                m.leaf(
                    "path",
                    &[("class", &format_args!("leader {class}")), ("d", &d)],
                );
            }
            let weight = if label.bold { " strong" } else { "" };
            m.open(
                "text",
                &[
                    ("class", &format_args!("t{}{weight}", label.colour)),
                    ("x", &Px(self.right + 12.0)),
                    ("y", &Px(label.y + 4.5)),
                ],
            );
            if label.text != label.full {
                m.element("title", &[], &label.full);
            }
            m.text(&label.text);
            m.close();
        }
    }
}

/// Points of a series by ascending x, without those whose x has no place.
fn ordered(series: &Series, chart: &LineChart) -> Vec<(f64, f64)> {
    let fixed = chart.x.range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let inside =
        |x: f64| chart.x.accepts(x) && (x >= fixed.0 && x <= fixed.1 || fixed.0 >= fixed.1);
    let mut points: Vec<(f64, f64)> = series
        .points
        .iter()
        .copied()
        .filter(|p| inside(p.0))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn path(stretch: &[(f64, f64)]) -> String {
    let mut d = String::with_capacity(stretch.len() * 12);
    for (i, &(x, y)) in stretch.iter().enumerate() {
        d += &format!("{}{},{}", if i == 0 { 'M' } else { 'L' }, Px(x), Px(y));
    }
    d
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
