//! A writer of HTML and SVG that is also well-formed XML: tags balance by construction, every text
//! is escaped.

use std::fmt::{self, Display, Write};

/// Attributes of one element: names and values, written in this order.
pub type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// Markup being written.
#[derive(Debug, Default)]
pub struct Markup {
    out: String,
    open: Vec<&'static str>,
}

impl Markup {
    /// Nothing yet.
    pub fn new() -> Markup {
        Markup::default()
    }

    /// Starts an element; [`Markup::close`] ends it.
    pub fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.start(tag, attributes);
        self.out.push('>');
        self.open.push(tag);
    }

    /// Ends the element opened last.
    ///
    /// # Panics
    /// If nothing is open, which is a mistake of the code that writes.
    pub fn close(&mut self) {
        let tag = self.open.pop().expect("close() without open()");
        let _ = write!(self.out, "</{tag}>");
        if BLOCKS.contains(&tag) {
            self.out.push('\n');
        }
    }

    /// An element without content. HTML knows only void elements (`meta`, `img`, `br`) so; SVG
    /// knows any.
    pub fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.start(tag, attributes);
        self.out.push_str("/>");
    }

    /// An element that holds one text.
    pub fn element(&mut self, tag: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.open(tag, attributes);
        self.text(text);
        self.close();
    }

    /// Text, escaped.
    pub fn text(&mut self, text: impl Display) {
        let _ = write!(Escaper(&mut self.out), "{text}");
    }

    /// Markup that is already well-formed.
    pub fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The text, with whatever is still open closed.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn start(&mut self, tag: &str, attributes: Attributes<'_>) {
        let _ = write!(self.out, "<{tag}");
        for (name, value) in attributes {
            let _ = write!(self.out, " {name}=\"");
            let _ = write!(Escaper(&mut self.out), "{value}");
            self.out.push('"');
        }
    }
}

/// Elements followed by a line break, so that the file can be read and compared line by line.
const BLOCKS: &[&str] = &[
    "head", "style", "title", "header", "section", "figure", "svg", "tr", "table", "p", "h1", "h2",
    "h3", "dl", "div",
];

struct Escaper<'a>(&'a mut String);

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\n' | '\t' => self.0.push(c),
                // Control characters and non-characters have no place in XML; a text may come from
                // a file name.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    self.0.push('\u{fffd}')
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// A coordinate with at most one decimal, as short as it can be written.
#[derive(Clone, Copy, Debug)]
pub struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.clamp(-1e6, 1e6) * 10.0).round() as i64; // NaN becomes 0
        let (sign, tenths) = if tenths < 0 { ("-", -tenths) } else { ("", tenths) };
        match tenths % 10 {
            0 => write!(f, "{sign}{}", tenths / 10),
            tenth => write!(f, "{sign}{}.{tenth}", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_attributes_are_escaped() {
        let mut m = Markup::new();
        m.element("td", &[("title", &"a\"<b>&")], "x < y & \"z\"\u{1}\u{0}");
        assert_eq!(
            m.finish(),
            "<td title=\"a&quot;&lt;b&gt;&amp;\">x &lt; y &amp; &quot;z&quot;\u{fffd}\u{fffd}</td>"
        );
    }

    #[test]
    fn finish_closes_what_is_open() {
        let mut m = Markup::new();
        m.open("ul", &[]);
        m.open("li", &[]);
        m.leaf("br", &[]);
        assert_eq!(m.finish(), "<ul><li><br/></li></ul>");
    }

    #[test]
    fn coordinates_are_short() {
        let px = |v: f64| Px(v).to_string();
        assert_eq!(px(12.0), "12");
        assert_eq!(px(-0.25), "-0.3");
        assert_eq!(px(0.04), "0");
        assert_eq!(px(-0.04), "0");
        assert_eq!(px(f64::NAN), "0");
        assert_eq!(px(f64::INFINITY), "1000000");
    }
}
