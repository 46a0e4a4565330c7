//! Heat maps: a grid of shaded cells, with texts in them where the grid is small enough.

use super::label::width;
use super::markup::{Markup, Px};
use super::palette::text_on;
use super::svg::{self, BASELINE, Frame, TEXT};

/// The colour of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// Blue.
    Main,
    /// Orange.
    Accent,
}

/// How a cell is shaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shade {
    /// Its colour.
    pub hue: Hue,
    /// 0: nothing, 1: the full colour. A strength that is not finite counts as 0.
    pub strength: f64,
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Written in the cell where there is room.
    pub text: String,
    /// Shown when the pointer rests on the cell.
    pub tip: String,
}

/// What one hue stands for: a strip from nothing to the full colour with a text at each end.
#[derive(Clone, Copy, Debug)]
pub struct Ramp<'a> {
    /// The hue.
    pub hue: Hue,
    /// What it measures.
    pub label: &'a str,
    /// The meaning of strength 0.
    pub none: &'a str,
    /// The meaning of strength 1.
    pub full: &'a str,
}

/// A heat map.
pub struct HeatMap<'a> {
    /// What the map shows, for readers who cannot see it.
    pub title: &'a str,
    /// The same in a sentence.
    pub description: &'a str,
    /// Names of the rows, top to bottom.
    pub rows: &'a [String],
    /// Names of the columns, left to right.
    pub columns: &'a [String],
    /// What the rows are.
    pub row_title: &'a str,
    /// What the columns are.
    pub column_title: &'a str,
    /// The shade of a cell (row, column).
    pub shade: &'a dyn Fn(usize, usize) -> Shade,
    /// What a cell says; asked only where the grid is small enough to say it.
    pub note: &'a dyn Fn(usize, usize) -> Option<Note>,
    /// The key.
    pub ramps: &'a [Ramp<'a>],
}

/// Steps of strength that are told apart.
const LEVELS: usize = 24;

/// A grid with more rows or columns is drawn in blocks, each as strong as its strongest cell.
const MOST_CELLS: usize = 256;

/// Grids up to this many rows and columns carry texts and tips.
const MOST_NOTES: usize = 32;

/// Height of the title of a map that is a file of its own.
const HEADING: f64 = 24.0;
/// Height above the names of the columns, where their title is.
const HEAD: f64 = 34.0;
/// Height of one row of the key, its stripes, and their side.
const KEY_ROW: f64 = 24.0;
const STRIPES: usize = 6;
const STRIPE: f64 = 13.0;

struct Layout {
    cell: f64,
    row_height: f64,
    /// Size of the rows' names, of the columns' names.
    text: (f64, f64),
    left: f64,
    top: f64,
    /// Height of the title above all.
    above: f64,
    /// How far the names above the columns lean: degrees.
    lean: f64,
    /// Cells of the data in one drawn cell, down and across.
    block: (usize, usize),
}

impl HeatMap<'_> {
    /// The width at which the map's texts stay readable, in pixels: a narrower window should
    /// scroll.
    pub fn least_width(&self) -> f64 {
        120.0
            + self.columns.len().min(MOST_CELLS) as f64
                * if self.columns.len() <= MOST_NOTES { 27.0 } else { 7.0 }
    }

    /// The map as an `svg` element; its height follows from its width.
    pub fn svg(&self, frame: Frame<'_>) -> String {
        self.draw(frame, false)
    }

    /// The map as a file of its own, with its title above it.
    pub fn file(&self, width: f64, height: f64) -> String {
        let id = "map";
        self.draw(Frame { id, width, height }, true)
    }

    fn draw(&self, frame: Frame<'_>, alone: bool) -> String {
        let mut l = self.lay_out(frame);
        if alone {
            l.top += HEADING;
            l.above = HEADING;
        }
        let (rows, columns) =
            (self.rows.len().div_ceil(l.block.0), self.columns.len().div_ceil(l.block.1));
        let grid = (l.cell * columns as f64, l.row_height * rows as f64);
        let mut m = Markup::new();
        let key = self.key_places(&l, frame.width).last().map_or(2.0, |p| p.1 + KEY_ROW + 14.0);
        let height = l.top + grid.1 + key;
        let open = if alone { svg::open_file } else { svg::open };
        open(&mut m, frame, height, self.title, self.description);
        self.cells(&mut m, &l, rows, columns);
        svg::rect(&mut m, "outline", (l.left, l.top), grid);
        self.names(&mut m, &l, rows, columns);
        if self.rows.len() <= MOST_NOTES && self.columns.len() <= MOST_NOTES {
            self.notes(&mut m, &l);
        }
        self.key(&mut m, &l, l.top + grid.1 + 14.0, frame.width);
        m.finish()
    }

    fn lay_out(&self, frame: Frame<'_>) -> Layout {
        let (rows, columns) = (self.rows.len().max(1), self.columns.len().max(1));
        let block = (rows.div_ceil(MOST_CELLS), columns.div_ceil(MOST_CELLS));
        let (drawn_rows, drawn_columns) =
            (rows.div_ceil(block.0) as f64, columns.div_ceil(block.1) as f64);
        let longest =
            |names: &[String], text| names.iter().map(|n| width(n, text)).fold(0.0, f64::max);
        let few = columns <= MOST_NOTES;
        let lean: f64 = if few { 40.0 } else { 90.0 };

        // The names' size follows from the cells' size, which follows from the names' room: settled
        // in a few rounds.
        let mut text = (TEXT, TEXT);
        for round in 0.. {
            let left = longest(self.rows, text.0).min(0.3 * frame.width) + 10.0;
            let leaning = longest(self.columns, text.1).min(0.3 * frame.width);
            let overhang = if few { leaning * lean.to_radians().cos() } else { 0.0 };
            let mut cell = (frame.width - left - 4.0) / drawn_columns;
            // Names lean out over the last columns; what stands out beyond the grid needs room
            // beside it.
            let beyond = (overhang - cell * 0.5).max(0.0);
            cell = ((frame.width - left - 4.0 - beyond) / drawn_columns).clamp(1.0, 64.0);
            let row_height = if drawn_rows == drawn_columns {
                if few { cell.min(40.0) } else { cell }
            } else {
                (frame.height / drawn_rows).clamp(3.0, 24.0)
            };
            if round == 3 {
                let top = HEAD + leaning * lean.to_radians().sin();
                return Layout { cell, row_height, text, left, top, above: 0.0, lean, block };
            }
            text = (name_size(row_height), name_size(cell));
        }
        unreachable!("the loop returns")
    }

    /// Cells of one shade are one path of horizontal runs.
    fn cells(&self, m: &mut Markup, l: &Layout, rows: usize, columns: usize) {
        let mut paths = vec![String::new(); 2 * (LEVELS + 1)];
        for row in 0..rows {
            let mut run: Option<(usize, usize)> = None; // first column, slot
            for column in 0..=columns {
                let slot = (column < columns).then(|| self.slot(l, row, column));
                if let Some((first, current)) = run
                    && slot != Some(current)
                {
                    // Corners, not sizes: rounded alike, neighbours leave no seam.
                    let x = [first, column].map(|c| Px(l.left + l.cell * c as f64));
                    let y = [row, row + 1].map(|r| Px(l.top + l.row_height * r as f64));
                    if current % (LEVELS + 1) > 0 {
                        paths[current] +=
                            &format!("M{},{}H{}V{}H{}z", x[0], y[0], x[1], y[1], x[0]);
                    }
                    run = None;
                }
                if run.is_none() {
                    run = slot.map(|s| (column, s));
                }
            }
        }
        m.open("g", &[("class", &"cells")]);
        for (slot, d) in paths.iter().enumerate().filter(|(_, d)| !d.is_empty()) {
            let class = if slot > LEVELS { Hue::Accent.class() } else { Hue::Main.class() };
            m.leaf(
                "path",
                &[("class", &class), ("fill-opacity", &opacity(slot % (LEVELS + 1))), ("d", d)],
            );
        }
        m.close();
    }

    fn slot(&self, l: &Layout, row: usize, column: usize) -> usize {
        let mut strongest = Shade { hue: Hue::Main, strength: 0.0 };
        for r in (row * l.block.0)..((row + 1) * l.block.0).min(self.rows.len()) {
            for c in (column * l.block.1)..((column + 1) * l.block.1).min(self.columns.len()) {
                let shade = (self.shade)(r, c);
                if shade.strength > strongest.strength {
                    strongest = shade;
                }
            }
        }
        level(strongest.strength) + if strongest.hue == Hue::Accent { LEVELS + 1 } else { 0 }
    }

    fn names(&self, m: &mut Markup, l: &Layout, rows: usize, columns: usize) {
        let every = |cell: f64, text: f64| match text > cell {
            true => (1.6 * text / cell).ceil() as usize,
            false => 1,
        };
        let (size, drop) = (format!("font-size:{}px", Px(l.text.0)), BASELINE * l.text.0);
        for row in (0..rows).step_by(every(l.row_height, l.text.0)) {
            let (x, y) = (Px(l.left - 7.0), Px(l.top + l.row_height * (row as f64 + 0.5) + drop));
            let place =
                [("class", &"end" as _), ("x", &x as _), ("y", &y as _), ("style", &size as _)];
            svg::fitted(m, &place, &self.rows[row * l.block.0], l.text.0, l.left - 10.0);
        }
        let (size, drop) = (format!("font-size:{}px", Px(l.text.1)), BASELINE * l.text.1);
        let room = (l.top - l.above - HEAD) / l.lean.to_radians().sin();
        for column in (0..columns).step_by(every(l.cell, l.text.1)) {
            let upright = if l.lean == 90.0 { drop } else { 0.0 };
            let (x, y) = (Px(l.left + l.cell * (column as f64 + 0.5) + upright), Px(l.top - 7.0));
            let turn = format!("rotate({} {x} {y})", Px(-l.lean));
            let place =
                [("x", &x as _), ("y", &y as _), ("transform", &turn as _), ("style", &size as _)];
            svg::fitted(m, &place, &self.columns[column * l.block.1], l.text.1, room);
        }
        svg::text(m, "axis end", l.left - 7.0, l.top - 8.0, self.row_title);
        svg::text(m, "axis", l.left, l.above + 14.0, self.column_title);
    }

    fn notes(&self, m: &mut Markup, l: &Layout) {
        let text = (0.36 * l.cell).min(0.5 * l.row_height).clamp(6.0, 13.0);
        let size = format!("font-size:{}px", Px(text));
        for row in 0..self.rows.len() {
            for column in 0..self.columns.len() {
                let Some(note) = (self.note)(row, column) else {
                    continue;
                };
                let corner = (l.left + l.cell * column as f64, l.top + l.row_height * row as f64);
                m.open("g", &[]);
                m.element("title", &[], &note.tip);
                svg::rect(m, "hit", corner, (l.cell, l.row_height));
                if width(&note.text, text) <= l.cell {
                    let shade = (self.shade)(row, column);
                    let class = text_on(shade.hue.class(), opacity(level(shade.strength)));
                    let x = Px(corner.0 + l.cell / 2.0);
                    let y = Px(corner.1 + l.row_height / 2.0 + BASELINE * text);
                    let place = [
                        ("class", &class as _),
                        ("x", &x as _),
                        ("y", &y as _),
                        ("style", &size as _),
                    ];
                    m.element("text", &place, &note.text);
                }
                m.close();
            }
        }
    }

    /// Draws the key from `top` down.
    fn key(&self, m: &mut Markup, l: &Layout, top: f64, right: f64) {
        for (ramp, (mut x, y)) in self.ramps.iter().zip(self.key_places(l, right)) {
            let y = top + y;
            let before = ramp.before();
            svg::text(m, "tick", x, y + 11.0, &before);
            x += width(&before, TEXT) + 6.0;
            for step in 1..=STRIPES {
                let opacity = opacity(level(step as f64 / STRIPES as f64));
                svg::shaded(m, ramp.hue.class(), opacity, (x, y), (STRIPE, STRIPE));
                x += STRIPE;
            }
            svg::text(m, "tick", x + 6.0, y + 11.0, ramp.full);
        }
    }

    /// Where each ramp of the key starts, as many beside each other as there is room for.
    fn key_places(&self, l: &Layout, right: f64) -> Vec<(f64, f64)> {
        let (mut x, mut y) = (l.left, 0.0);
        let mut places = Vec::with_capacity(self.ramps.len());
        for ramp in self.ramps {
            let length = width(&ramp.before(), TEXT)
                + width(ramp.full, TEXT)
                + STRIPE * STRIPES as f64
                + 12.0;
            if x > l.left && x + length > right {
                (x, y) = (l.left, y + KEY_ROW);
            }
            places.push((x, y));
            x += length + 28.0;
        }
        places
    }
}

impl Ramp<'_> {
    fn before(&self) -> String {
        format!("{}: {}", self.label, self.none)
    }
}

/// The size of names beside cells of some size: as large as the cells, or, where that is too small
/// to read, larger and only beside every so many cells.
fn name_size(cell: f64) -> f64 {
    if cell < 7.2 { 11.0 } else { (0.92 * cell).min(TEXT) }
}

impl Hue {
    fn class(self) -> &'static str {
        match self {
            Hue::Main => "main",
            Hue::Accent => "accent",
        }
    }
}

fn level(strength: f64) -> usize {
    if strength > 0.0 { ((strength.min(1.0) * LEVELS as f64).ceil() as usize).max(1) } else { 0 }
}

fn opacity(level: usize) -> f64 {
    (level as f64 / LEVELS as f64 * 100.0).round() / 100.0
}
