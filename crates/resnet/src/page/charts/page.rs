//! The sheet a report stands on: heading, key numbers, sections, figures, tables, listings.

use super::markup::{Attributes, Markup};
use super::palette::{CHART_CSS, variables};

/// A page being written.
#[derive(Debug)]
pub struct Page {
    m: Markup,
    in_section: bool,
}

/// A key number.
#[derive(Clone, Debug, Default)]
pub struct Stat {
    /// What it is.
    pub name: String,
    /// The number with its unit.
    pub value: String,
    /// What it refers to: of how many, in which sense.
    pub note: String,
}

/// How serious a banner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Worth knowing.
    Plain,
    /// Something failed.
    Bad,
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number, aligned to the right.
    Number(String),
    /// A number with a short bar that shows the fraction.
    Share(String, f64),
    /// A text that names the row.
    Head(String),
}

impl Page {
    /// A page with a title; `kicker` is the small line above it and `lead` the one below.
    pub fn new(title: &str, kicker: &str, lead: &str) -> Page {
        let mut m = Markup::new();
        m.raw("<!DOCTYPE html>\n");
        m.open("html", &[("lang", &"en")]);
        m.open("head", &[]);
        m.leaf("meta", &[("charset", &"utf-8")]);
        m.leaf(
            "meta",
            &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")],
        );
        m.leaf("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
        m.leaf("link", &[("rel", &"icon"), ("href", &"data:,")]);
        m.element("title", &[], title);
        m.raw(&format!(
            "<style>\n{}{}{CHART_CSS}</style>\n",
            variables(),
            include_str!("page.css")
        ));
        m.close();
        m.open("body", &[]);
        m.open("main", &[]);
        m.open("header", &[]);
        m.element("p", &[("class", &"kicker")], kicker);
        m.element("h1", &[], title);
        if !lead.is_empty() {
            m.element("p", &[("class", &"lead")], lead);
        }
        m.close();
        Page { m, in_section: false }
    }

    /// A line about the whole: done, stopped, failed.
    pub fn banner(&mut self, tone: Tone, text: &str) {
        let class = match tone {
            Tone::Good => "banner good",
            Tone::Plain => "banner",
            Tone::Bad => "banner bad",
        };
        self.m.element("p", &[("class", &class)], text);
    }

    /// The key numbers, the most important first.
    pub fn stats(&mut self, stats: &[Stat]) {
        self.m.open("dl", &[("class", &"stats")]);
        for stat in stats {
            self.m.open("div", &[]);
            self.m.element("dt", &[], &stat.name);
            self.m.element("dd", &[("class", &"value")], &stat.value);
            if !stat.note.is_empty() {
                self.m.element("dd", &[("class", &"note")], &stat.note);
            }
            self.m.close();
        }
        self.m.close();
    }

    /// Starts a section and ends the one before. `id` is its anchor, `lead` says how to read it.
    pub fn section(&mut self, id: &str, heading: &str, lead: &str) {
        if self.in_section {
            self.m.close();
        }
        self.in_section = true;
        let named = format!("{id}-heading");
        self.m.open("section", &[("id", &id), ("aria-labelledby", &named)]);
        self.m.element("h2", &[("id", &named)], heading);
        if !lead.is_empty() {
            self.m.element("p", &[], lead);
        }
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.m.element("p", &[], text);
    }

    /// A small heading.
    pub fn heading(&mut self, text: &str) {
        self.m.element("h3", &[], text);
    }

    /// A figure drawn twice, for wide and for narrow windows; the window shows one.
    pub fn figure(&mut self, wide: &str, narrow: &str, caption: &str) {
        self.m.open("figure", &[("class", &"fit")]);
        self.m.open("div", &[("class", &"wide")]);
        self.m.raw(wide);
        self.m.close();
        self.m.open("div", &[("class", &"narrow")]);
        self.m.raw(narrow);
        self.m.close();
        self.caption(caption);
        self.m.close();
    }

    /// A figure that scrolls sideways in windows narrower than `least` pixels, and is drawn at most
    /// `most` pixels wide.
    pub fn scrolling_figure(
        &mut self,
        drawing: &str,
        (least, most): (f64, f64),
        label: &str,
        caption: &str,
    ) {
        self.m.open("figure", &[]);
        self.scroll(label);
        self.m.open(
            "div",
            &[(
                "style",
                &format_args!(
                    "min-width:{}px;max-width:{}px",
                    least.clamp(0.0, 4000.0).round(),
                    most.clamp(0.0, 4000.0).round()
                ),
            )],
        );
        self.m.raw(drawing);
        self.m.close();
        self.m.close();
        self.caption(caption);
        self.m.close();
    }

    fn caption(&mut self, caption: &str) {
        if !caption.is_empty() {
            self.m.element("figcaption", &[], caption);
        }
    }

    fn scroll(&mut self, label: &str) {
        // Focusable, so that it scrolls with the keyboard too.
        let attributes: Attributes<'_> = &[
            ("class", &"scroll"),
            ("tabindex", &"0"),
            ("role", &"region"),
            ("aria-label", &label),
        ];
        self.m.open("div", attributes);
    }

    /// A table. Columns whose first cell is a number have their headings at the right.
    pub fn table(&mut self, caption: &str, headings: &[&str], rows: &[Vec<Cell>]) {
        self.scroll(caption);
        self.m.open("table", &[]);
        self.m.element("caption", &[], caption);
        self.m.open("thead", &[]);
        self.m.open("tr", &[]);
        for (i, heading) in headings.iter().enumerate() {
            let number = matches!(
                rows.first().and_then(|r| r.get(i)),
                Some(Cell::Number(_) | Cell::Share(..))
            );
            let class = if number { "number" } else { "text" };
            self.m.element("th", &[("scope", &"col"), ("class", &class)], heading);
        }
        self.m.close();
        self.m.close();
        self.m.open("tbody", &[]);
        for row in rows {
            self.m.open("tr", &[]);
            for cell in row {
                self.cell(cell);
            }
            self.m.close();
        }
        self.m.close();
        self.m.close();
        self.m.close();
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Text(text) => self.m.element("td", &[], text),
            Cell::Number(text) => self.m.element("td", &[("class", &"number")], text),
            Cell::Share(text, fraction) => {
                self.m.open("td", &[("class", &"number")]);
                self.m.raw(&super::bars::cell_bar(*fraction));
                self.m.element("span", &[("class", &"share")], text);
                self.m.close();
            }
            Cell::Head(text) => self.m.element("th", &[("scope", &"row")], text),
        }
    }

    /// Starts a part that the reader opens; [`Page::end_details`] ends it.
    pub fn details(&mut self, summary: &str) {
        self.m.open("details", &[]);
        self.m.element("summary", &[], summary);
    }

    /// Ends the part started last.
    pub fn end_details(&mut self) {
        self.m.close();
    }

    /// Names and values, one a line.
    pub fn pairs(&mut self, pairs: &[(String, String)]) {
        self.m.open("dl", &[("class", &"pairs")]);
        for (name, value) in pairs {
            self.m.open("div", &[]);
            self.m.element("dt", &[], name);
            self.m.element("dd", &[], value);
            self.m.close();
        }
        self.m.close();
    }

    /// A text as it stands: a file, a command.
    pub fn listing(&mut self, text: &str) {
        self.m.open("pre", &[]);
        self.m.element("code", &[], text);
        self.m.close();
    }

    /// What a kind of report adds of its own.
    pub fn markup(&mut self) -> &mut Markup {
        &mut self.m
    }

    /// The finished page, with a last line.
    pub fn finish(mut self, footer: &str) -> String {
        if self.in_section {
            self.m.close();
        }
        self.m.element("footer", &[], footer);
        self.m.finish() + "\n"
    }
}
