//! Figures: drawings with a name, that stand in a page and as files of their own.

use super::chart::{Frame, LineChart};
use super::heatmap::{HeatMap, Hue, Ramp, Shade};
use super::page::Page;
use super::strips::Strips;

/// Widths of a drawing in pixels: in a page on a wide and on a narrow window, and as a file. The
/// narrow one is that of a phone, so that texts keep their size there.
pub(super) const WIDE: f64 = 880.0;
pub(super) const NARROW: f64 = 340.0;
const FILE: f64 = 860.0;
/// Heights of a chart in the same places.
const CHART: [f64; 3] = [340.0, 300.0, 420.0];
/// Height of a grid's cells together.
const GRID: f64 = 460.0;

/// A drawing with its name.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name: of its file, without the ending, and within the page.
    pub name: String,
    /// What stands under it in a page.
    pub caption: String,
    /// What is drawn.
    pub drawing: Drawing,
}

/// What a figure shows.
#[derive(Clone, Debug)]
pub enum Drawing {
    /// Lines.
    Chart(LineChart),
    /// Shaded cells.
    Grid(Grid),
    /// Rows of small pictures.
    Strips(Strips),
    /// Drawn elsewhere.
    Done {
        /// An `svg` element for a page.
        element: String,
        /// A file of its own.
        file: String,
        /// The least width at which it can be read, and the most that it is drawn in, in pixels.
        widths: (f64, f64),
    },
}

/// A grid of cells, each of a strength from 0 to 1; NaN is drawn as nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// What the grid shows.
    pub title: String,
    /// The same in a sentence, for readers who cannot see it.
    pub description: String,
    /// What the rows are, and their names.
    pub rows: (String, Vec<String>),
    /// What the columns are, and their names.
    pub columns: (String, Vec<String>),
    /// Strengths, row after row.
    pub strengths: Vec<f64>,
    /// What strength measures, and what 0 and 1 stand for.
    pub key: [String; 3],
}

impl Grid {
    fn with<T>(&self, use_it: impl FnOnce(&HeatMap<'_>) -> T) -> T {
        let columns = self.columns.1.len();
        let [label, none, full] = &self.key;
        use_it(&HeatMap {
            title: &self.title,
            description: &self.description,
            rows: &self.rows.1,
            columns: &self.columns.1,
            row_title: &self.rows.0,
            column_title: &self.columns.0,
            shade: &|row, column| Shade {
                hue: Hue::Main,
                strength: self.strengths[row * columns + column],
            },
            note: &|_, _| None,
            ramps: &[Ramp { hue: Hue::Main, label, none, full }],
        })
    }
}

impl Figure {
    /// A figure of lines.
    pub fn chart(name: &str, chart: LineChart, caption: impl Into<String>) -> Figure {
        Figure { name: name.into(), caption: caption.into(), drawing: Drawing::Chart(chart) }
    }

    /// A figure of shaded cells.
    pub fn grid(name: &str, grid: Grid, caption: impl Into<String>) -> Figure {
        Figure { name: name.into(), caption: caption.into(), drawing: Drawing::Grid(grid) }
    }

    /// Puts it into a page.
    pub fn add_to(&self, page: &mut Page) {
        match &self.drawing {
            Drawing::Chart(chart) => {
                let [wide, narrow] = [("wide", WIDE, CHART[0]), ("narrow", NARROW, CHART[1])].map(
                    |(what, width, height)| {
                        let id = &format!("{}-{what}", self.name);
                        chart.svg(Frame { id, width, height })
                    },
                );
                let note = chart.note().unwrap_or_default();
                page.heading(&chart.title);
                page.figure(&wide, &narrow, format!("{} {note}", self.caption).trim());
            }
            Drawing::Grid(grid) => grid.with(|map| {
                let frame = Frame { id: &self.name, width: WIDE, height: GRID };
                page.heading(&grid.title);
                page.scrolling_figure(
                    &map.svg(frame),
                    (map.least_width().min(WIDE), WIDE),
                    &grid.title,
                    &self.caption,
                );
            }),
            Drawing::Strips(strips) => {
                let [wide, narrow] = [("wide", WIDE), ("narrow", NARROW)].map(|(what, width)| {
                    let id = &format!("{}-{what}", self.name);
                    strips.svg(Frame { id, width, height: 0.0 })
                });
                page.heading(&strips.title);
                page.figure(&wide, &narrow, &self.caption);
            }
            Drawing::Done { element, widths, .. } => {
                page.scrolling_figure(element, *widths, &self.name, &self.caption)
            }
        }
    }

    /// The figure as an SVG file.
    pub fn file(&self) -> String {
        match &self.drawing {
            Drawing::Chart(chart) => chart.file(FILE, CHART[2]),
            Drawing::Grid(grid) => grid.with(|map| map.file(FILE, GRID)),
            Drawing::Strips(strips) => strips.file(FILE),
            Drawing::Done { file, .. } => file.clone(),
        }
    }
}
