//! The story as a page.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::story::Story;
use super::text::{Part, TEXT, TITLE, filled, parts};
use crate::page::charts::page::Page;

/// The page, one HTML file that needs nothing else.
pub(super) fn render(story: &Story) -> String {
    let lead = "What goes wrong in deep networks, what is added to mend it, and what is gained.";
    let mut page = Page::new(TITLE, "Explanation", lead);
    page.markup().open("div", &[("class", &"story")]);
    let text = filled(TEXT, story);
    for (i, part) in parts(&text).iter().enumerate() {
        match part {
            Part::Heading(heading) => page.section(&format!("part-{i}"), heading, ""),
            Part::Text(text) => page.markup().raw(&markup(text)),
            Part::Figure(name) => {
                let shown = story.figures.iter().find(|shown| shown.figure.name == *name);
                let Some(shown) = shown else { continue };
                shown.figure.add_to(&mut page);
                let m = page.markup();
                m.open("p", &[("class", &"source")]);
                m.element("code", &[], &shown.command);
                m.close();
            }
        }
    }
    page.section("reproduce", "How to repeat it", "");
    page.listing(&story.command);
    page.finish(&format!("Written by resnet {}.", env!("CARGO_PKG_VERSION")))
}

/// Markdown as well-formed HTML. What looks like HTML in it is text.
fn markup(text: &str) -> String {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).flat_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => vec![Event::Text(text)],
        Event::Start(Tag::Table(alignment)) => {
            let scroll =
                "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"table\">";
            vec![Event::Html(CowStr::from(scroll)), Event::Start(Tag::Table(alignment))]
        }
        Event::End(TagEnd::Table) => {
            vec![Event::End(TagEnd::Table), Event::Html(CowStr::from("</div>\n"))]
        }
        other => vec![other],
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

#[cfg(test)]
mod tests {
    use super::markup;

    #[test]
    fn what_looks_like_markup_is_text() {
        let out = markup("a <b>c **d**\n\n| x | y |\n|---|---:|\n| 1 | 2 |");
        assert!(out.contains("a &lt;b&gt;c <strong>d</strong>"), "{out}");
        assert!(out.contains("aria-label=\"table\"><table>"), "{out}");
        assert!(out.trim_end().ends_with("</table>\n</div>"), "{out}");
    }
}
