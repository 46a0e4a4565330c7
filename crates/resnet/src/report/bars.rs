//! Horizontal bars: one a row, its name before it and its value behind it.

use super::axis::Axis;
use super::chart::{Frame, Head};
use super::label::{shorten, width};
use super::markup::{Markup, Px};
use super::palette::COLOURS;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub label: String,
    /// Its length; a bar whose value is not finite is named and not drawn.
    pub value: f64,
    /// Index of the colour in the palette.
    pub colour: usize,
}

/// A bar chart. Bars start at 0, which a logarithmic axis does not have: `axis.log` and `axis.range` are not used.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// What the chart shows, for readers who cannot see it.
    pub title: String,
    /// The values' axis.
    pub axis: Axis,
    /// Bars, top to bottom.
    pub bars: Vec<Bar>,
}

const TEXT: f64 = 13.0;
const ROW: f64 = 24.0;
const TOP: f64 = 24.0;

impl BarChart {
    /// The chart as an `svg` element; its height follows from the number of bars.
    pub fn svg(&self, frame: Frame<'_>) -> String {
        let mut axis = self.axis.clone().from_zero();
        (axis.log, axis.range) = (false, None);
        let name_room = 0.38 * frame.width;
        let left = self
            .bars
            .iter()
            .map(|b| width(&b.label, TEXT))
            .fold(0.0, f64::max)
            .min(name_room)
            + 10.0;
        let texts: Vec<String> = self.bars.iter().map(|b| axis.text(b.value)).collect();
        let behind = texts.iter().map(|t| width(t, TEXT)).fold(0.0, f64::max) + 12.0;
        let before = if self.bars.iter().any(|b| b.value < 0.0) {
            behind
        } else {
            0.0
        };
        let (low, high) = (
            left + before,
            (frame.width - behind).max(left + before + 1.0),
        );
        let fitted = axis.fit(self.bars.iter().map(|b| b.value), 5, false);
        let at = |v: f64| low + (high - low) * fitted.position(v);
        let height = TOP + ROW * self.bars.len().max(1) as f64 + 4.0;

        let mut m = Markup::new();
        let described: Vec<String> = self
            .bars
            .iter()
            .zip(&texts)
            .map(|(b, t)| format!("{} {t}", b.label))
            .collect();
        let description = format!("{}: {}.", axis.title, described.join(", "));
        Head {
            frame,
            height,
            title: &self.title,
            description: &description,
            alone: false,
        }
        .open(&mut m);
        m.element(
            "text",
            &[("class", &"axis"), ("x", &Px(left)), ("y", &"13")],
            &axis.title,
        );
        for (i, (bar, text)) in self.bars.iter().zip(&texts).enumerate() {
            let top = TOP + ROW * i as f64;
            let baseline = Px(top + ROW / 2.0 + 4.5);
            m.open(
                "text",
                &[("class", &"end"), ("x", &Px(left - 8.0)), ("y", &baseline)],
            );
            let name = shorten(&bar.label, TEXT, name_room);
            if name != bar.label {
                m.element("title", &[], &bar.label);
            }
            m.text(name);
            m.close();
            let drawn = axis.accepts(bar.value);
            let (zero, end) = (at(0.0), if drawn { at(bar.value) } else { at(0.0) });
            if drawn {
                m.leaf(
                    "rect",
                    &[
                        ("class", &format_args!("f{}", bar.colour % COLOURS)),
                        ("x", &Px(zero.min(end))),
                        ("y", &Px(top + 4.0)),
                        ("width", &Px((end - zero).abs())),
                        ("height", &Px(ROW - 8.0)),
                        ("rx", &"2"),
                    ],
                );
            }
            let (class, x) = if end < zero {
                ("tick end", end - 6.0)
            } else {
                ("tick", end + 6.0)
            };
            m.element(
                "text",
                &[("class", &class), ("x", &Px(x)), ("y", &baseline)],
                text,
            );
        }
        let zero = Px(at(0.0));
        m.leaf(
            "line",
            &[
                ("class", &"base"),
                ("x1", &zero),
                ("x2", &zero),
                ("y1", &Px(TOP)),
                ("y2", &Px(height - 4.0)),
            ],
        );
        if self.bars.is_empty() {
            m.element(
                "text",
                &[
                    ("class", &"note"),
                    ("x", &Px(left + 8.0)),
                    ("y", &Px(TOP + 16.0)),
                ],
                "no data",
            );
        }
        m.finish()
    }
}

/// A short bar for a table's cell: `fraction` of its full length, which is also said by the number beside it.
pub fn cell_bar(fraction: f64) -> String {
    let filled = Px(if fraction.is_finite() {
        fraction.clamp(0.0, 1.0) * 100.0
    } else {
        0.0
    });
    let mut m = Markup::new();
    m.open(
        "svg",
        &[
            ("class", &"bar"),
            ("viewBox", &"0 0 100 8"),
            ("preserveAspectRatio", &"none"),
            ("aria-hidden", &"true"),
        ],
    );
    m.leaf(
        "rect",
        &[("class", &"track"), ("width", &"100"), ("height", &"8")],
    );
    m.leaf(
        "rect",
        &[("class", &"main"), ("width", &filled), ("height", &"8")],
    );
    m.finish().trim_end().to_owned()
}
