//! The few SVG elements that drawings are made of.

use super::label::{shorten, width};
use super::markup::{Attributes, Markup, Px};
use super::palette::{CHART_CSS, variables};
use std::fmt::Display;

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

/// The size of a drawing's texts, in pixels.
pub(crate) const TEXT: f64 = 13.0;

/// From a text's middle to its baseline, as a share of its size.
pub(crate) const BASELINE: f64 = 0.35;

/// Opens an `svg` element with its title and description, for readers who cannot see it.
pub(crate) fn open(m: &mut Markup, frame: Frame<'_>, height: f64, title: &str, description: &str) {
    let view_box = format!("0 0 {} {}", Px(frame.width), Px(height));
    let named = format!("{0}-title {0}-desc", frame.id);
    m.open(
        "svg",
        &[
            ("class", &"chart"),
            ("viewBox", &view_box),
            ("role", &"img"),
            ("aria-labelledby", &named),
        ],
    );
    describe(m, frame.id, title, description);
}

/// Opens an `svg` element that is a file of its own: style and ground inside, the title at the top.
pub(crate) fn open_file(
    m: &mut Markup,
    frame: Frame<'_>,
    drawn: f64,
    title: &str,
    description: &str,
) {
    const BORDER: f64 = 16.0;
    let (width, height) = (Px(frame.width + 2.0 * BORDER), Px(drawn + 2.0 * BORDER));
    let corner = Px(-BORDER);
    let view_box = format!("{corner} {corner} {width} {height}");
    m.open(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &"chart"),
            ("viewBox", &view_box),
            ("width", &width),
            ("height", &height),
            ("role", &"img"),
        ],
    );
    describe(m, frame.id, title, description);
    m.raw(&format!("<style>{}{CHART_CSS}</style>", variables()));
    rect(m, "page", (-BORDER, -BORDER), (frame.width + 2.0 * BORDER, drawn + 2.0 * BORDER));
    text(m, "heading", 0.0, 14.0, title);
}

/// The frame of a file whose title fits above what is drawn.
pub(crate) fn wide_enough<'a>(id: &'a str, drawn: f64, title: &str) -> Frame<'a> {
    const HEADING: f64 = 16.0 * 1.12;
    Frame { id, width: drawn.max(width(title, HEADING)), height: 0.0 }
}

fn describe(m: &mut Markup, id: &str, title: &str, description: &str) {
    m.element("title", &[("id", &format_args!("{id}-title"))], title);
    m.element("desc", &[("id", &format_args!("{id}-desc"))], description);
}

/// A line from (x1, y1) to (x2, y2).
pub(crate) fn line(m: &mut Markup, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let attributes: Attributes<'_> =
        &[("class", &class), ("x1", &Px(x1)), ("y1", &Px(y1)), ("x2", &Px(x2)), ("y2", &Px(y2))];
    m.leaf("line", attributes);
}

/// A rectangle from its upper left corner.
pub(crate) fn rect(m: &mut Markup, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
    shaded(m, class, 1.0, (x, y), (width, height));
}

/// A rectangle of some opacity.
pub(crate) fn shaded(
    m: &mut Markup,
    class: &str,
    opacity: f64,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
) {
    let (x, y, width, height) = (Px(x), Px(y), Px(width.max(0.0)), Px(height.max(0.0)));
    let mut attributes: Vec<(&str, &dyn Display)> =
        vec![("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)];
    if opacity < 1.0 {
        attributes.push(("fill-opacity", &opacity));
    }
    m.leaf("rect", &attributes);
}

/// A text whose baseline starts (or ends, or has its middle: the class says) at (x, y).
pub(crate) fn text(m: &mut Markup, class: &str, x: f64, y: f64, text: impl Display) {
    m.element("text", &[("class", &class), ("x", &Px(x)), ("y", &Px(y))], text);
}

/// A text shortened to `room` pixels; what was cut shows when the pointer rests on it.
pub(crate) fn fitted(m: &mut Markup, attributes: Attributes<'_>, name: &str, size: f64, room: f64) {
    let short = shorten(name, size, room + 1e-6);
    m.open("text", attributes);
    if short != name {
        m.element("title", &[], name);
    }
    m.text(short);
    m.close();
}

/// Opens a group that shows only what lies inside a rectangle.
pub(crate) fn clip(m: &mut Markup, id: &str, corner: (f64, f64), size: (f64, f64)) {
    let name = format!("{id}-clip");
    m.open("clipPath", &[("id", &name)]);
    rect(m, "clip", corner, size);
    m.close();
    m.open("g", &[("clip-path", &format_args!("url(#{name})"))]);
}
