//! Gives everything in a drawing its place, in pixels.
//!
//! A band across the drawing for each size of map; a column a network; a row a layer, all equally
//! high.

use std::collections::HashMap;

use super::fold::{self, Item};
use super::key::{FACT, FACT_LINE, Key};
use super::trace::{Row, Shortcut, Trace};
use crate::page::charts::format;
use crate::page::charts::label;
use crate::page::charts::palette::COLOURS;

/// Height of a box.
pub(super) const BOX: f64 = 16.0;
/// From a box to the next.
pub(super) const GAP: f64 = 9.0;
/// From a band's edge to its first or last box.
const PAD: f64 = 11.0;
/// From one column to the next.
const BETWEEN: f64 = 26.0;
/// Size of the texts in boxes.
pub(super) const SMALL: f64 = 11.0;
/// Size of a network's name.
pub(super) const NAME: f64 = 15.0;
/// How much wider than regular letters bold ones are.
pub(super) const BOLD: f64 = 1.12;
/// Length of the longest bar.
const LONGEST_BAR: f64 = 96.0;
/// Width of the box of a layer with one channel, and how much wider it is for twice as many.
const ONE_CHANNEL: f64 = 24.0;
const DOUBLING: f64 = 16.0;
/// From a box down to the arc that ends there, and from an arc down to the box that it leads
/// around.
const ARC: f64 = 3.0;
/// From a shortcut's arc to the boxes.
const LANE: f64 = 12.0;
/// Columns narrower than this have the key at their side.
const KEY_AT_SIDE: f64 = 620.0;
const SIDE_KEY: f64 = 330.0;

/// A drawing with places.
pub(super) struct Layout<'a> {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) top: f64,
    pub(super) bands: Vec<Band>,
    /// The right edge of the bands.
    pub(super) bands_end: f64,
    pub(super) columns: Vec<Column<'a>>,
    /// Pixels of a bar for one multiply-add.
    pub(super) per_mac: f64,
    pub(super) key: Key,
}

/// All maps of one size.
pub(super) struct Band {
    /// Height and width of the maps.
    pub(super) map: (usize, usize),
    pub(super) y: f64,
    pub(super) height: f64,
    /// Index in the palette.
    pub(super) colour: usize,
}

/// A network.
pub(super) struct Column<'a> {
    pub(super) trace: &'a Trace,
    pub(super) places: Vec<Place>,
    pub(super) arcs: Vec<Arc<'a>>,
    /// The lines under its name.
    pub(super) facts: Vec<String>,
    pub(super) left: f64,
    pub(super) right: f64,
    /// The path's x.
    pub(super) centre: f64,
    /// Where bars begin; they grow to the left.
    pub(super) bars: f64,
    /// The arcs' x.
    pub(super) lane: f64,
}

/// A row, or rows that are left out, at its place.
pub(super) struct Place {
    pub(super) item: Item,
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) width: f64,
    pub(super) band: usize,
}

/// A shortcut at its place.
pub(super) struct Arc<'a> {
    pub(super) shortcut: &'a Shortcut,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Middle of its label.
    pub(super) label: f64,
    pub(super) band: usize,
}

impl Place {
    pub(super) fn end(&self) -> f64 {
        self.y + self.height
    }
}

pub(super) fn lay_out(traces: &[Trace], top: f64) -> Layout<'_> {
    let folded = fold::needed(traces);
    let items: Vec<Vec<Item>> = traces.iter().map(|t| fold::items(t, folded)).collect();
    let maps: Vec<Vec<(usize, usize)>> = traces
        .iter()
        .zip(&items)
        .map(|(t, items)| items.iter().map(|i| t.rows[i.rows().start].map()).collect())
        .collect();
    let most_macs = traces.iter().flat_map(|t| &t.rows).map(|r| r.macs).max().unwrap_or(0);
    let per_mac = LONGEST_BAR / most_macs.max(1) as f64;

    let (sizes, band_of) = bands(&maps);
    let facts: Vec<Vec<String>> = traces.iter().map(facts).collect();
    let fact_lines = facts.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let mut y = top + NAME + FACT_LINE * fact_lines + 18.0;
    let mut bands = Vec::with_capacity(sizes.len());
    let mut places: Vec<Vec<Place>> = traces.iter().map(|_| Vec::new()).collect();
    for (b, map) in sizes.into_iter().enumerate() {
        let mut end: f64 = y + PAD + BOX;
        for (column, (trace, items)) in traces.iter().zip(&items).enumerate() {
            let mut at = y + PAD;
            let here = items.iter().zip(&band_of[column]).filter(|(_, of)| **of == b);
            for (item, _) in here {
                let height = (BOX + GAP) * item.height() as f64 - GAP;
                places[column].push(Place {
                    width: box_width(item, trace),
                    item: item.clone(),
                    y: at,
                    height,
                    band: b,
                });
                end = end.max(at + height);
                at += height + GAP;
            }
        }
        let pixel = map == (1, 1);
        bands.push(Band {
            map,
            y,
            height: end + PAD - y,
            // The last colour is grey, for what is no map any more.
            colour: if pixel { COLOURS - 1 } else { b % (COLOURS - 1) },
        });
        y = end + PAD;
    }

    let map_width =
        bands.iter().map(|b| label::width(&map_text(b.map), 13.0 * BOLD)).fold(0.0, f64::max);
    let mut x = 10.0 + map_width + 16.0;
    let mut columns = Vec::with_capacity(traces.len());
    for ((trace, places), facts) in traces.iter().zip(places).zip(facts) {
        let column = column(trace, places, facts, x, per_mac);
        x = column.right + BETWEEN;
        columns.push(column);
    }
    let bands_end = x - BETWEEN + 10.0;
    let aside = bands_end < KEY_AT_SIDE;
    let (key_x, key_y, room) =
        if aside { (bands_end + 28.0, top, SIDE_KEY) } else { (0.0, y + 18.0, bands_end) };
    let first_map = bands.first().map_or((1, 1), |b| b.map);
    let folded = items.iter().flatten().any(|item| matches!(item, Item::More { .. }));
    let key = Key::new(traces, folded, per_mac, first_map, (key_x, key_y), room);
    Layout {
        width: if aside { key_x + SIDE_KEY } else { bands_end },
        height: y.max(key_y + key.height),
        top,
        bands,
        bands_end,
        columns,
        per_mac,
        key,
    }
}

/// The sizes of maps from the top down, and for each column and item which of them it has. Sizes
/// that several columns share are one band; each column's own order is kept.
fn bands(maps: &[Vec<(usize, usize)>]) -> (Vec<(usize, usize)>, Vec<Vec<usize>>) {
    let mut sizes = Vec::new();
    let mut band_of: Vec<Vec<usize>> = maps.iter().map(|_| Vec::new()).collect();
    let heads = |band_of: &[Vec<usize>]| {
        let head =
            |(maps, done): (&Vec<(usize, usize)>, &Vec<usize>)| maps.get(done.len()).copied();
        maps.iter().zip(band_of).filter_map(head).max_by_key(|&(h, w)| (h * w, h))
    };
    while let Some(size) = heads(&band_of) {
        for (maps, done) in maps.iter().zip(&mut band_of) {
            while maps.get(done.len()) == Some(&size) {
                done.push(sizes.len());
            }
        }
        sizes.push(size);
    }
    (sizes, band_of)
}

fn column<'a>(
    trace: &'a Trace,
    places: Vec<Place>,
    facts: Vec<String>,
    left: f64,
    per_mac: f64,
) -> Column<'a> {
    let widest = |places: &mut dyn Iterator<Item = &Place>| {
        places.map(|p| p.width).fold(0.0, f64::max) / 2.0
    };
    let boxes = widest(&mut places.iter());
    let around = |p: &&Place| trace.shortcuts.iter().any(|s| s.rows.contains(&p.item.rows().start));
    let mut arcs = arcs(trace, &places);
    let label = arcs.iter().map(|a| mark_width(&a.shortcut.label)).fold(0.0, f64::max) / 2.0;
    let lane = widest(&mut places.iter().filter(around)) + LANE.max(label + 4.0);
    arcs.sort_by(|a, b| a.from.total_cmp(&b.from));

    let longest = trace.rows.iter().map(|r| r.macs).max().unwrap_or(0);
    let bars = boxes + 8.0;
    let bar_room = longest as f64 * per_mac + 5.0 + label::width(&format::compact(longest), SMALL);
    let texts = facts
        .iter()
        .map(|f| label::width(f, FACT))
        .fold(label::width(&trace.name, NAME * BOLD).min(300.0), f64::max)
        / 2.0;
    let right = if arcs.is_empty() { boxes } else { boxes.max(lane + label.max(2.0)) };
    let centre = left + (bars + bar_room).max(texts);
    Column {
        trace,
        arcs,
        facts,
        left,
        right: centre + right.max(texts),
        centre,
        bars: centre - bars,
        lane: centre + lane,
        places,
    }
}

fn arcs<'a>(trace: &'a Trace, places: &[Place]) -> Vec<Arc<'a>> {
    let place_of: HashMap<usize, usize> = places
        .iter()
        .enumerate()
        .filter_map(|(i, p)| match p.item {
            Item::Row(row) => Some((row, i)),
            Item::More { .. } => None,
        })
        .collect();
    let arc = |shortcut: &'a Shortcut| {
        let (first, last) =
            (*place_of.get(&shortcut.rows.start)?, *place_of.get(&(shortcut.rows.end - 1))?);
        let (before, last) = (&places[first.checked_sub(1)?], &places[last]);
        // Where the label's work is done the map has the size of the block's output already.
        let begins = places[first..].iter().find(|p| p.band == last.band)?.y;
        Some(Arc {
            shortcut,
            from: before.end() + GAP - ARC,
            to: last.end() + ARC,
            label: (begins + last.end()) / 2.0,
            band: last.band,
        })
    };
    trace.shortcuts.iter().filter_map(arc).collect()
}

/// Channels on a logarithmic scale, and never narrower than the text.
fn box_width(item: &Item, trace: &Trace) -> f64 {
    let width = |row: &Row| {
        let text = label::width(&row.label, SMALL) + 8.0;
        (ONE_CHANNEL + DOUBLING * (row.output.c as f64).log2()).max(text)
    };
    let drawn = trace.rows[item.rows()].iter().map(width).fold(0.0, f64::max);
    more_text(item).iter().map(|line| label::width(line, SMALL) + 8.0).fold(drawn, f64::max)
}

/// Width of the label of a shortcut; none for the identity.
pub(super) fn mark_width(text: &str) -> f64 {
    if text.is_empty() { 0.0 } else { label::width(text, SMALL) + 6.0 }
}

/// The lines in the place of rows that are not drawn.
pub(super) fn more_text(item: &Item) -> Vec<String> {
    match item {
        Item::Row(_) => Vec::new(),
        Item::More { rows, blocks, residual: true } => vec![
            format!("{} more blocks", format::thousands(*blocks as u64)),
            format::plural(rows.len() as u64, "layer"),
        ],
        Item::More { rows, .. } => {
            vec![format!("{} more layers", format::thousands(rows.len() as u64))]
        }
    }
}

/// `56x56`.
pub(super) fn map_text((h, w): (usize, usize)) -> String {
    format!("{h}x{w}")
}

fn facts(trace: &Trace) -> Vec<String> {
    let mut facts = vec![
        format!(
            "{}, {} parameters",
            format::plural(trace.depth as u64, "layer"),
            format::compact(trace.params)
        ),
        format!("{} MACs an image", format::compact(trace.macs)),
    ];
    if trace.pre_activation {
        facts.push("pre-activation".into());
    }
    if !trace.norms {
        facts.push("no batch norm".into());
    }
    facts
}
