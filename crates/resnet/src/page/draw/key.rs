//! The key of a drawing: what is to scale, and what the signs mean that occur in it.

use super::trace::{Shortcut, Trace};
use crate::page::charts::format;
use crate::page::charts::label;
use resnet_engine::graph::Op;

/// Size of the facts under a name, and of the key.
pub(super) const FACT: f64 = 12.0;
/// From one line of facts to the next.
pub(super) const FACT_LINE: f64 = 16.0;
/// Room for a sign.
pub(super) const SIGN: f64 = 74.0;
/// The part of it that stays free before the text.
pub(super) const ROOM: f64 = 12.0;
/// From one column of entries to the next.
const BETWEEN: f64 = 28.0;
/// A column of entries is at least so wide.
const COLUMN: f64 = 290.0;
/// From one entry to the next.
const GAP: f64 = 7.0;

/// What stands before an entry's text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sign {
    /// A box of a layer.
    Layer,
    /// A bar of this length.
    Bar(f64),
    /// A size of maps.
    Map((usize, usize)),
    /// An arc with this label.
    Arc {
        label: String,
        /// Whether the label has a box.
        weights: bool,
    },
    /// Rows that are not drawn.
    More,
    /// A word.
    Word(&'static str),
}

/// A sign and its meaning.
pub(super) struct Entry {
    pub(super) sign: Sign,
    pub(super) lines: Vec<String>,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// The key.
pub(super) struct Key {
    pub(super) entries: Vec<Entry>,
    pub(super) height: f64,
}

impl Key {
    /// The key of a drawing, in columns of entries from a corner on.
    pub(super) fn new(
        traces: &[Trace],
        folded: bool,
        per_mac: f64,
        first_map: (usize, usize),
        (x, y): (f64, f64),
        room: f64,
    ) -> Key {
        let meanings = meanings(traces, folded, per_mac, first_map);
        let columns = ((room + BETWEEN) / (COLUMN + BETWEEN)).floor().max(1.0);
        let width = (room + BETWEEN) / columns - BETWEEN;
        let wrapped: Vec<(Sign, Vec<String>)> = meanings
            .into_iter()
            .map(|(sign, text)| (sign, label::wrap(&text, FACT, width - SIGN)))
            .collect();
        let tall = |lines: &[String]| FACT_LINE * lines.len() as f64 + GAP;
        let whole: f64 = wrapped.iter().map(|(_, lines)| tall(lines)).sum();
        let (mut entries, mut height) = (Vec::new(), 0f64);
        let (mut column, mut down, mut before) = (0.0, 0.0, 0.0);
        for (sign, lines) in wrapped {
            let tall = tall(&lines);
            // An entry stands where its middle falls when all columns are equally high.
            if column + 1.0 < columns && before + tall / 2.0 > whole / columns * (column + 1.0) {
                column += 1.0;
                down = 0.0;
            }
            entries.push(Entry { sign, lines, x: x + column * (width + BETWEEN), y: y + down });
            down += tall;
            before += tall;
            height = height.max(down);
        }
        Key { entries, height }
    }
}

fn meanings(
    traces: &[Trace],
    folded: bool,
    per_mac: f64,
    first_map: (usize, usize),
) -> Vec<(Sign, String)> {
    let mut meanings = Vec::new();
    let undrawn =
        if traces.iter().any(|t| t.norms) { "Batch norm and ReLU are" } else { "ReLU is" };
    meanings.push((
        Sign::Layer,
        format!("A layer with weights: kernel, output channels, stride. {undrawn} not drawn."),
    ));
    meanings.push((
        Sign::Word("height"),
        if folded {
            "One row a layer, except where layers are left out."
        } else {
            "One row a layer: a column is as long as its network is deep."
        }
        .into(),
    ));
    meanings.push((
        Sign::Word("width"),
        "Output channels on a log scale: each doubling is the same step.".into(),
    ));
    let macs = traces.iter().flat_map(|t| &t.rows).map(|r| r.macs);
    if let Some(1..) = macs.max() {
        let macs = round_below((SIGN - ROOM) / per_mac);
        meanings.push((
            Sign::Bar(macs as f64 * per_mac),
            format!(
                "{} multiply-adds (MACs) of a layer for one image, linear scale. 1 MAC is 2 FLOPs.",
                round_text(macs)
            ),
        ));
    }
    meanings.push((
        Sign::Map(first_map),
        "Height x width of the maps in pixels; a colour each. A pool stands with the size it gives.".into(),
    ));
    let shortcuts = || traces.iter().flat_map(|t| &t.shortcuts);
    let first =
        |found: &dyn Fn(&&Shortcut) -> bool| shortcuts().find(found).map(|s| s.label.clone());
    if first(&|s| s.label.is_empty()).is_some() {
        meanings.push((
            Sign::Arc { label: String::new(), weights: false },
            "Shortcut: the map is kept as it is and added to what the layers beside it make of it."
                .into(),
        ));
    }
    if let Some(label) = first(&|s| !s.convs.is_empty()) {
        meanings.push((
            Sign::Arc {
                label,
                weights: true,
            },
            "Shortcut through a convolution of its own (projection). Its weights and MACs are in the sums, not in \
             the depth."
                .into(),
        ));
    }
    if let Some(label) = first(&|s| s.convs.is_empty() && !s.label.is_empty()) {
        let text = if label.contains("zeros") {
            "Shortcut without weights where the shape changes: every second pixel at /2, zeros for the channels it \
             lacks."
        } else {
            "Shortcut without weights where the shape changes."
        };
        meanings.push((Sign::Arc { label, weights: false }, text.into()));
    }
    let grouped = |op: &Op| matches!(op, Op::Conv2d { groups, .. } if *groups > 1);
    if traces.iter().flat_map(|t| &t.rows).any(|r| grouped(&r.op)) {
        meanings.push((
            Sign::Word("C"),
            "Groups of channels; each output reads only its own group.".into(),
        ));
    }
    if folded {
        meanings.push((Sign::More, "Left out: more of the same as above and below.".into()));
    }
    meanings
}

/// A round number without its zeros behind the point.
fn round_text(n: u64) -> String {
    let text = format::compact(n);
    text.replacen(".00", "", 1).replacen(".0", "", 1)
}

/// The largest of 1, 2, 5, 10, 20, ... that is no larger than `x`; at least 1.
fn round_below(x: f64) -> u64 {
    let mut found = 1;
    let mut power = 1u64;
    while power as f64 <= x && power < u64::MAX / 100 {
        for step in [1, 2, 5] {
            if (step * power) as f64 <= x {
                found = step * power;
            }
        }
        power *= 10;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::round_below;
    use crate::page::charts::label::{width, wrap};

    #[test]
    fn scales_are_round() {
        for (x, expected) in
            [(0.0, 1), (1.9, 1), (2.0, 2), (7.0, 5), (99.0, 50), (1.3e9, 1_000_000_000)]
        {
            assert_eq!(round_below(x), expected);
        }
    }

    #[test]
    fn lines_fit_and_lose_nothing() {
        let text =
            "one row a layer, all equally high, a word that-is-too-long-for-any-line and an end";
        let lines = wrap(text, 12.0, 120.0);
        assert_eq!(lines.join(" "), text);
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|l| width(l, 12.0) <= 120.0 || !l.contains(' ')));
    }
}
