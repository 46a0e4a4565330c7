//! Networks as skylines: one line a layer with weights, so that hundreds of layers stand to scale
//! side by side on a phone.

use std::fmt::Write;

use super::layout::{BOLD, map_text};
use super::paint::{CSS, FILE_TOP};
use super::trace::{Kind, Row, Trace};
use super::{DrawError, Network, traces};
use crate::page::charts::chart::Frame;
use crate::page::charts::format;
use crate::page::charts::label;
use crate::page::charts::markup::{Markup, Px};
use crate::page::charts::palette::COLOURS;
use crate::page::charts::svg;

/// Height of the tallest network, and the most that a layer takes.
const TALL: f64 = 460.0;
const MOST: f64 = 8.0;
/// Least width of a drawing.
const LEAST: f64 = 200.0;
/// Least width of a column with its gap.
const COLUMN: f64 = 54.0;
/// Length of the line of the layer with most channels.
const LONGEST: f64 = 40.0;
const TEXT: f64 = 11.0;
const LINE: f64 = 14.0;
/// What the lines of text above the columns say, after the names.
const SAYS: [&str; 3] = ["layers", "weights", "MACs"];
const HEAD: f64 = (SAYS.len() + 1) as f64 * LINE + 10.0;

/// Networks as an SVG file of its own.
///
/// # Errors
/// As [`draw`](super::draw).
pub fn draw(networks: &[Network]) -> Result<String, DrawError> {
    let traces = traces(networks)?;
    let painting = Painting::new(&traces, FILE_TOP);
    let mut m = Markup::new();
    let (title, text) = (title(&traces), description(&traces));
    let frame = svg::wide_enough("family", painting.width, &title);
    svg::open_file(&mut m, frame, painting.height, &title, &text);
    painting.inside(&mut m);
    Ok(m.finish())
}

/// The same as an `svg` element for a page, and its width in pixels.
///
/// # Errors
/// As [`draw`](super::draw).
pub fn embed(networks: &[Network], id: &str) -> Result<(String, f64), DrawError> {
    let traces = traces(networks)?;
    let painting = Painting::new(&traces, 0.0);
    let mut m = Markup::new();
    svg::open(&mut m, painting.frame(id), painting.height, &title(&traces), &description(&traces));
    painting.inside(&mut m);
    Ok((m.finish(), painting.width))
}

fn title(traces: &[Trace]) -> String {
    match traces {
        [one] => format!("{}, layer by layer", one.name),
        _ => "Depth to scale: one line a layer".into(),
    }
}

fn description(traces: &[Trace]) -> String {
    let words = |trace: &Trace| {
        let said = facts(trace).into_iter().zip(SAYS).map(|(n, what)| format!("{n} {what}"));
        format!("{}: {}.", trace.name, said.collect::<Vec<_>>().join(", "))
    };
    traces.iter().map(words).collect::<Vec<_>>().join(" ")
}

/// The numbers of [`SAYS`].
fn facts(trace: &Trace) -> [String; 3] {
    [trace.depth.to_string(), format::compact(trace.params), format::compact(trace.macs)]
}

/// What all names begin with, up to their numbers: it is written once.
fn family_name(traces: &[Trace]) -> &str {
    let letters = |name: &str| name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let Some(first) = traces.first().map(|t| t.name.as_str()) else { return "" };
    let shared = &first[..letters(first)];
    let all = traces.iter().all(|t| {
        let end = letters(&t.name);
        let number = &t.name[end..];
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        t.name[..end] == *shared && is_number
    });
    if all && traces.len() > 1 { shared } else { "" }
}

fn layers(trace: &Trace) -> usize {
    trace.rows.iter().filter(|row| row.kind == Kind::Weights).count()
}

struct Painting<'a> {
    traces: &'a [Trace],
    /// Height of one layer.
    step: f64,
    /// Width of what stands left of the columns, and of a column.
    scale: f64,
    column: f64,
    /// Sizes of maps, largest first, each with its colour.
    maps: Vec<(usize, usize)>,
    /// Length of a line for each doubling of its channels.
    doubling: f64,
    /// Width of an entry of the key.
    entry: f64,
    says: Vec<String>,
    top: f64,
    width: f64,
    height: f64,
}

impl Painting<'_> {
    fn new(traces: &[Trace], top: f64) -> Painting<'_> {
        let most = traces.iter().map(layers).max().unwrap_or(0).max(1);
        let step = (TALL / most as f64).min(MOST);
        let rows = traces.iter().flat_map(|trace| &trace.rows);
        let mut maps: Vec<(usize, usize)> =
            rows.filter(|row| row.kind == Kind::Weights).map(Row::map).collect();
        maps.sort_unstable_by(|a, b| b.cmp(a));
        maps.dedup();
        let family = family_name(traces);
        let left = SAYS.iter().map(|says| label::width(says, TEXT));
        let scale = left.fold(label::width(family, TEXT * BOLD), f64::max) + 8.0;
        let names = traces.iter().map(|t| label::width(&t.name[family.len()..], TEXT * BOLD));
        let facts = traces.iter().flat_map(facts).map(|fact| label::width(&fact, TEXT));
        let column = names.chain(facts).map(|width| width + 6.0).fold(COLUMN, f64::max);
        let width = (scale + column * traces.len() as f64).max(LEAST);
        let widest = maps.iter().map(|map| label::width(&map_text(*map), TEXT));
        let entry = widest.fold(0.0, f64::max) + 24.0;
        let key = (maps.len() as f64 / per_line(width, entry) as f64).ceil() * LINE;
        let channels = traces.iter().flat_map(|trace| &trace.rows).map(|row| row.output.c);
        let doubling = LONGEST / (channels.max().unwrap_or(2).max(2) as f64).log2();
        let says = label::wrap(KEY_SAYS, TEXT, width - 4.0);
        let height = top + HEAD + step * most as f64 + 30.0 + LINE * says.len() as f64 + key;
        Painting { traces, step, scale, column, maps, doubling, entry, says, top, width, height }
    }

    fn frame<'b>(&self, id: &'b str) -> Frame<'b> {
        Frame { id, width: self.width, height: self.height }
    }

    /// The colour of a size of maps, and its opacity: paler beyond as many sizes as colours.
    fn colour(&self, map: (usize, usize)) -> (String, f64) {
        // The last colour is grey, for what is no map any more.
        const MANY: usize = COLOURS - 1;
        let at = self.maps.iter().position(|m| *m == map).unwrap_or(0);
        match map {
            (1, 1) => (format!("f{MANY}"), 1.0),
            _ => (format!("f{}", at % MANY), if at < MANY { 1.0 } else { 0.45 }),
        }
    }

    fn inside(&self, m: &mut Markup) {
        m.raw(&format!("<style>{CSS}</style>"));
        m.open("g", &[("class", &"net")]);
        let begin = self.top + HEAD;
        let most = self.traces.iter().map(layers).max().unwrap_or(0);
        // Round numbers of layers, at least 40 pixels apart.
        let every = [5, 10, 20, 50, 100, 200, 500]
            .into_iter()
            .find(|n| *n as f64 * self.step >= 40.0)
            .unwrap_or(1000);
        for n in (0..=most).step_by(every) {
            let y = begin + self.step * n as f64;
            svg::line(m, "grid", (self.scale - 4.0, y), (self.width, y));
            svg::text(m, "end small", self.scale - 7.0, y + 4.0, n);
        }
        let family = family_name(self.traces);
        svg::text(m, "strong", 0.0, self.top + LINE - 2.0, family);
        for (i, says) in SAYS.iter().enumerate() {
            svg::text(m, "small", 0.0, self.top + LINE * (i + 2) as f64 - 2.0, says);
        }
        for (i, trace) in self.traces.iter().enumerate() {
            let name = &trace.name[family.len()..];
            self.column(m, trace, name, (self.scale + self.column * (i as f64 + 0.5), begin));
        }
        let mut y = begin + self.step * most as f64 + 22.0;
        for line in &self.says {
            svg::text(m, "small", 0.0, y, line);
            y += LINE;
        }
        y -= LINE;
        let per_line = per_line(self.width, self.entry);
        for (i, map) in self.maps.iter().enumerate() {
            let x = self.entry * (i % per_line) as f64;
            let y = y + 4.0 + LINE * (i / per_line) as f64;
            let (class, opacity) = self.colour(*map);
            svg::shaded(m, &class, opacity, (x, y + 3.0), (10.0, 8.0));
            svg::text(m, "", x + 14.0, y + 11.0, map_text(*map));
        }
        m.close();
    }

    fn column(&self, m: &mut Markup, trace: &Trace, name: &str, (x, begin): (f64, f64)) {
        svg::text(m, "middle strong", x, self.top + LINE - 2.0, name);
        for (i, fact) in facts(trace).iter().enumerate() {
            svg::text(m, "middle small", x, self.top + LINE * (i + 2) as f64 - 2.0, fact);
        }
        let thick = self.step * if self.step > 4.0 { 0.7 } else { 0.8 };
        let mut y = begin;
        let mut tops = Vec::with_capacity(trace.rows.len() + 1);
        for row in &trace.rows {
            tops.push(y);
            if row.kind != Kind::Weights {
                continue;
            }
            let length = ((row.output.c as f64).log2() * self.doubling).max(2.0);
            let (class, opacity) = self.colour(row.map());
            svg::shaded(m, &class, opacity, (x - length / 2.0, y), (length, thick));
            y += self.step;
        }
        tops.push(y);
        let mut d = String::new();
        let lane = x + LONGEST / 2.0 + 1.0;
        for shortcut in &trace.shortcuts {
            let (from, to) = (tops[shortcut.rows.start], tops[shortcut.rows.end]);
            let (start, half) = (from + 0.15 * self.step, (to - from - 0.5 * self.step) / 2.0);
            let (side, middle, end) = (Px(lane + 7.0), Px(start + half), Px(start + 2.0 * half));
            let lane = Px(lane);
            let _ = write!(d, "M{lane} {}Q{side} {middle} {lane} {end}", Px(start));
        }
        if !d.is_empty() {
            m.leaf("path", &[("class", &"wire"), ("d", &d)]);
        }
    }
}

/// What stands above the key.
const KEY_SAYS: &str = "One line a layer with weights, from the picture down; the more channels, the longer (each \
                        doubling is the same step). Arcs are shortcuts. Colour: size of the maps.";

fn per_line(width: f64, entry: f64) -> usize {
    ((width / entry).floor() as usize).max(1)
}
