//! Leaves out repetitions, so that a network of a thousand layers fits a page.
//!
//! A drawing with more rows than [`MOST_ROWS`] in any column shows of every run of equal blocks the
//! first and the last, and between them how many more there are, in the room of one block: so a
//! longer run never stands shorter. All columns follow the same rule, or heights could not be
//! compared.

use std::ops::Range;

use super::trace::{Kind, Trace};
use crate::net::block_of;

/// Most rows of a column in a drawing that leaves nothing out.
const MOST_ROWS: usize = 64;

/// What takes a place in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A row.
    Row(usize),
    /// Rows that are not drawn.
    More {
        rows: Range<usize>,
        /// Equal blocks that these rows are.
        blocks: usize,
        /// Whether the blocks have shortcuts.
        residual: bool,
    },
}

impl Item {
    /// The rows it stands for.
    pub(super) fn rows(&self) -> Range<usize> {
        match self {
            Item::Row(row) => *row..row + 1,
            Item::More { rows, .. } => rows.clone(),
        }
    }

    /// How many rows high it is: rows that are left out have the room of one of their blocks, and
    /// at least of two rows.
    pub(super) fn height(&self) -> usize {
        match self {
            Item::Row(_) => 1,
            Item::More { rows, blocks, .. } => (rows.len() / blocks).max(2),
        }
    }
}

/// Rows that belong together: those a shortcut leads around, or those of one block by their names.
struct Unit {
    rows: Range<usize>,
    shortcut: Option<usize>,
}

/// Whether a drawing of these networks leaves something out.
pub(super) fn needed(traces: &[Trace]) -> bool {
    traces.iter().any(|trace| trace.rows.len() > MOST_ROWS)
}

/// What is drawn of a network, in order.
pub(super) fn items(trace: &Trace, folded: bool) -> Vec<Item> {
    if !folded {
        return (0..trace.rows.len()).map(Item::Row).collect();
    }
    let units = units(trace);
    let mut items = Vec::new();
    for run in units.chunk_by(|a, b| same(trace, a, b)) {
        // A layer that is no part of a block is shown twice, so that it takes the room of a block
        // of two.
        let kept = if run[0].rows.len() > 1 { 1 } else { 2 };
        let rows = |units: &[Unit]| {
            let (first, last) = (&units[0], &units[units.len() - 1]);
            first.rows.start..last.rows.end
        };
        if run.len() <= 3 * kept {
            items.extend(rows(run).map(Item::Row));
            continue;
        }
        let (head, rest) = run.split_at(kept);
        let (middle, tail) = rest.split_at(rest.len() - kept);
        items.extend(rows(head).map(Item::Row));
        items.push(Item::More {
            rows: rows(middle),
            blocks: middle.len(),
            residual: middle[0].shortcut.is_some(),
        });
        items.extend(rows(tail).map(Item::Row));
    }
    items
}

fn units(trace: &Trace) -> Vec<Unit> {
    let mut shortcuts = trace.shortcuts.iter().enumerate().peekable();
    let mut units: Vec<Unit> = Vec::new();
    let mut row = 0;
    while row < trace.rows.len() {
        let next = shortcuts.peek().map_or(trace.rows.len(), |(_, s)| s.rows.start);
        let unit = match shortcuts.next_if(|(_, s)| s.rows.start == row) {
            Some((i, shortcut)) => Unit { rows: shortcut.rows.clone(), shortcut: Some(i) },
            None => {
                let block = block_of(&trace.rows[row].name);
                let more = trace.rows[row + 1..next]
                    .iter()
                    .take_while(|r| block.is_some() && block_of(&r.name) == block);
                Unit { rows: row..row + 1 + more.count(), shortcut: None }
            }
        };
        row = unit.rows.end;
        units.push(unit);
    }
    units
}

fn same(trace: &Trace, a: &Unit, b: &Unit) -> bool {
    let rows = |unit: &Unit| &trace.rows[unit.rows.clone()];
    let way = |unit: &Unit| unit.shortcut.map(|i| &trace.shortcuts[i].label);
    rows(a).len() == rows(b).len()
        && way(a) == way(b)
        && rows(a)
            .iter()
            .zip(rows(b))
            .all(|(a, b)| a.kind != Kind::Image && a.op == b.op && a.input == b.input)
}
