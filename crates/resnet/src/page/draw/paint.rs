//! Writes a laid-out drawing as SVG.

use std::fmt::Write;

use super::fold::Item;
use super::key::FACT_LINE;
use super::key::{Entry, ROOM, SIGN, Sign};
use super::layout::{
    Arc, BOX, Band, Column, GAP, Layout, NAME, Place, SMALL, map_text, mark_width, more_text,
};
use super::trace::{Kind, Row, Shortcut, in_words};
use crate::page::charts::chart::Frame;
use crate::page::charts::format;
use crate::page::charts::label;
use crate::page::charts::markup::{Markup, Px};
use crate::page::charts::svg;

/// Where a drawing begins in a file, below its title.
pub(super) const FILE_TOP: f64 = 38.0;
/// Radius of an arc's corners.
const ROUND: f64 = 6.0;
/// From a text's middle to its baseline, at the size of boxes.
const BASELINE: f64 = 0.35 * SMALL;

pub(super) const CSS: &str = include_str!("draw.css");

/// The drawing as a file of its own.
pub(super) fn file(layout: &Layout<'_>) -> String {
    let title = label::shorten(&title(layout), 16.0 * 1.12, layout.width);
    let mut m = Markup::new();
    svg::open_file(&mut m, frame("networks", layout), layout.height, &title, &description(layout));
    inside(&mut m, layout);
    m.finish()
}

/// The drawing as an element of a page.
pub(super) fn element(layout: &Layout<'_>, id: &str) -> String {
    let mut m = Markup::new();
    svg::open(&mut m, frame(id, layout), layout.height, &title(layout), &description(layout));
    inside(&mut m, layout);
    m.finish()
}

fn frame<'a>(id: &'a str, layout: &Layout<'_>) -> Frame<'a> {
    Frame { id, width: layout.width, height: layout.height }
}

fn title(layout: &Layout<'_>) -> String {
    let names: Vec<&str> = layout.columns.iter().map(|c| c.trace.name.as_str()).collect();
    match &names[..] {
        [rest @ .., last] if !rest.is_empty() => {
            format!("{} and {last}, drawn to scale", rest.join(", "))
        }
        _ => format!("{}, drawn to scale", names.concat()),
    }
}

fn description(layout: &Layout<'_>) -> String {
    let network = |column: &Column<'_>| {
        let trace = column.trace;
        let changed = trace.shortcuts.iter().filter(|s| !s.label.is_empty()).count();
        let shortcuts = format::plural(trace.shortcuts.len() as u64, "shortcut");
        format!(
            "{}: {}; {shortcuts}, {changed} of them not the identity.",
            trace.name,
            column.facts.join(", "),
        )
    };
    let networks: Vec<String> = layout.columns.iter().map(network).collect();
    networks.join(" ")
}

fn inside(m: &mut Markup, layout: &Layout<'_>) {
    m.raw(&format!("<style>{CSS}</style>"));
    m.open("g", &[("class", &"net")]);
    for (i, band) in layout.bands.iter().enumerate() {
        if i % 2 == 0 {
            svg::rect(m, "band", (0.0, band.y), (layout.bands_end, band.height));
        }
        let class = format!("map t{}", band.colour);
        svg::text(m, &class, 10.0, band.y + 24.0, map_text(band.map));
    }
    for column in &layout.columns {
        head(m, column, layout.top);
        wires(m, column);
        for place in &column.places {
            match &place.item {
                Item::Row(row) => one(m, layout, column, place, &column.trace.rows[*row]),
                Item::More { rows, residual, .. } => {
                    let macs = column.trace.rows[rows.clone()].iter().map(|r| r.macs).sum();
                    more(m, &layout.bands[place.band], column, place, *residual, macs);
                }
            }
        }
        for arc in &column.arcs {
            shortcut(m, &layout.bands[arc.band], column, arc);
        }
    }
    for entry in &layout.key.entries {
        meaning(m, entry);
    }
    m.close();
}

fn head(m: &mut Markup, column: &Column<'_>, top: f64) {
    let x = Px(column.centre);
    let y = top + NAME - 2.0;
    let room = 2.0 * (column.centre - column.left).min(column.right - column.centre);
    svg::fitted(
        m,
        &[("class", &"name middle"), ("x", &x), ("y", &Px(y))],
        &column.trace.name,
        NAME * 1.12,
        room,
    );
    for (i, fact) in column.facts.iter().enumerate() {
        let y = y + 2.0 + FACT_LINE * (i + 1) as f64;
        svg::text(m, "fact middle", column.centre, y, fact);
    }
}

/// The path between the boxes.
fn wires(m: &mut Markup, column: &Column<'_>) {
    let mut d = String::new();
    for pair in column.places.windows(2) {
        let _ = write!(d, "M{} {}V{}", Px(column.centre), Px(pair[0].end()), Px(pair[1].y));
    }
    m.leaf("path", &[("class", &"wire"), ("d", &d)]);
}

fn one(m: &mut Markup, layout: &Layout<'_>, column: &Column<'_>, place: &Place, row: &Row) {
    let colour = layout.bands[place.band].colour;
    let corner = (column.centre - place.width / 2.0, place.y);
    let size = (place.width, BOX);
    let baseline = place.y + BOX / 2.0 + BASELINE;
    m.open("g", &[]);
    let words = in_words(&row.name, &row.label, row.output, row.params, row.macs);
    m.element("title", &[], words);
    match row.kind {
        Kind::Image => {}
        Kind::Pool => svg::rect(m, "pool", corner, size),
        Kind::Weights => {
            svg::rect(m, &format!("layer f{colour} l{colour}"), corner, size);
            let length = row.macs as f64 * layout.per_mac;
            if length >= 0.05 {
                let corner = (column.bars - length, place.y + 2.0);
                svg::rect(m, &format!("f{colour}"), corner, (length, BOX - 4.0));
            }
            let rows = &column.trace.rows;
            let most = rows.iter().map(|r| r.macs).max();
            // One bar of each column says its length: the first of the longest.
            if rows.iter().find(|r| Some(r.macs) == most).map(|r| &r.name) == Some(&row.name) {
                let x = column.bars - length - 5.0;
                svg::text(m, "end", x, baseline, format::compact(row.macs));
            }
        }
    }
    svg::text(m, "middle", column.centre, baseline, &row.label);
    m.close();
}

fn more(
    m: &mut Markup,
    band: &Band,
    column: &Column<'_>,
    place: &Place,
    residual: bool,
    macs: u64,
) {
    let colour = band.colour;
    m.open("g", &[]);
    let words = format!("not drawn: {} MACs together", format::thousands(macs));
    m.element("title", &[], words);
    svg::rect(
        m,
        &format!("more f{colour} l{colour}"),
        (column.centre - place.width / 2.0, place.y),
        (place.width, place.height),
    );
    let lines = more_text(&place.item);
    let first = place.y + place.height / 2.0 - 7.0 * (lines.len() - 1) as f64 + BASELINE;
    for (i, line) in lines.iter().enumerate() {
        svg::text(m, "middle", column.centre, first + 14.0 * i as f64, line);
    }
    m.close();
    if residual {
        let (x, step) = (column.lane, (place.height + GAP) / 4.0);
        let mut d = String::new();
        for i in 0..4 {
            let y = place.y - GAP / 2.0 + step * f64::from(i) + 1.5;
            let (middle, end) = (Px(y + step / 2.0 - 1.5), Px(y + step - 3.0));
            let back = Px(x - 7.0);
            let _ = write!(d, "M{back} {}Q{} {middle} {back} {end}", Px(y), Px(x + 7.0));
        }
        m.leaf("path", &[("class", &"wire"), ("d", &d)]);
    }
}

fn shortcut(m: &mut Markup, band: &Band, column: &Column<'_>, arc: &Arc<'_>) {
    let Shortcut { label, convs, .. } = arc.shortcut;
    m.open("g", &[]);
    let words = match (convs.is_empty(), label.is_empty()) {
        (false, _) => convs.join("; "),
        (true, true) => "identity".into(),
        (true, false) => label.clone(),
    };
    m.element("title", &[], words);
    let class = if label.is_empty() { "shortcut" } else { "shortcut changed" };
    sweep(m, class, (column.centre, column.lane), (arc.from, arc.to));
    let weights = !convs.is_empty();
    let class = match (weights, arc.band % 2) {
        (true, _) => format!("mark f{0} l{0}", band.colour),
        (false, 0) => "note middle on-band".to_owned(),
        (false, _) => "note middle".to_owned(),
    };
    mark(m, &class, (column.lane, arc.label), label, weights);
    m.close();
}

/// An arc from the path and back to it, with the tip of an arrow.
fn sweep(m: &mut Markup, class: &str, (path, lane): (f64, f64), (from, to): (f64, f64)) {
    let (centre, lane, turn) = (Px(path), Px(lane), Px(lane - ROUND));
    let (start, end) = (Px(from), Px(to));
    let (below, above) = (Px(from + ROUND), Px(to - ROUND));
    let d = format!(
        "M{centre} {start}H{turn}Q{lane} {start} {lane} {below}V{above}Q{lane} {end} {turn} {end}H{}",
        Px(path + 4.0)
    );
    m.leaf("path", &[("class", &class), ("d", &d)]);
    let (x, back, y) = (Px(path), Px(path + 6.0), Px(to));
    let tip = format!("M{x} {y}L{back} {}V{}Z", Px(to - 2.5), Px(to + 2.5));
    m.leaf("path", &[("class", &"tip"), ("d", &tip)]);
}

/// The label of an arc: in a box of a class where it stands for weights, else in letters of that
/// class.
fn mark(m: &mut Markup, class: &str, (lane, y): (f64, f64), label: &str, weights: bool) {
    let baseline = y + BASELINE;
    if weights {
        const HEIGHT: f64 = 15.0;
        let width = mark_width(label);
        let (corner, size) = ((lane - width / 2.0, y - HEIGHT / 2.0), (width, HEIGHT));
        svg::rect(m, "page", corner, size);
        svg::rect(m, class, corner, size);
        svg::text(m, "middle", lane, baseline, label);
    } else if !label.is_empty() {
        svg::text(m, class, lane, baseline, label);
    }
}

fn meaning(m: &mut Markup, entry: &Entry) {
    let (x, y) = (entry.x, entry.y);
    for (i, line) in entry.lines.iter().enumerate() {
        let y = y + 12.0 + FACT_LINE * i as f64;
        svg::text(m, "says", x + SIGN, y, line);
    }
    let room = SIGN - ROOM;
    let middle = y + 8.0;
    match &entry.sign {
        Sign::Layer => svg::rect(m, "f0 l0 layer", (x, y), (room, BOX)),
        Sign::Bar(length) => svg::rect(m, "f0", (x + room - length, y + 2.0), (*length, BOX - 4.0)),
        Sign::Map(map) => svg::text(m, "map t0", x, y + 12.0, map_text(*map)),
        Sign::More => svg::rect(m, "f0 l0 more", (x, y), (room, BOX)),
        Sign::Word(word) => svg::text(m, "middle", x + room / 2.0, y + 12.0, word),
        Sign::Arc { label, weights } => {
            let lane = x + room - mark_width(label) / 2.0;
            let class =
                if label.is_empty() { "sample shortcut" } else { "sample shortcut changed" };
            sweep(m, class, (x, lane), (y - 2.0, y + 18.0));
            let class = if *weights { "f0 l0 mark" } else { "note middle" };
            mark(m, class, (lane, middle), label, *weights);
        }
    }
}
