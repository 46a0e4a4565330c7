//! The text with its places filled.

use super::story::Story;

/// What Markdown and page are made of alike.
pub(super) const TEXT: &str = include_str!("story.md");
pub(super) const TITLE: &str = "Residual networks in ten minutes";

/// A part of the text.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    /// A heading.
    Heading(&'a str),
    /// A figure's name.
    Figure(&'a str),
    /// Paragraphs, lists and tables in Markdown.
    Text(String),
}

/// The text with every `{name}` that the story knows replaced.
pub(super) fn filled(text: &str, story: &Story) -> String {
    let mut filled = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{") {
            // A figure's place stays.
            filled.push_str("{{");
            rest = after;
            continue;
        }
        let Some(end) = rest.find('}') else { break };
        let name = &rest[1..end];
        let value = story.numbers.iter().find(|(known, _)| *known == name);
        filled.push_str(value.map_or(&rest[..=end], |v| v.1.as_str()));
        rest = &rest[end + 1..];
    }
    filled + rest
}

/// The parts of a filled text, in order.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut paragraphs = String::new();
    for line in text.lines() {
        let figure = line.strip_prefix("{{").and_then(|line| line.strip_suffix("}}"));
        let part = figure.map(Part::Figure).or(line.strip_prefix("## ").map(Part::Heading));
        match part {
            Some(part) => {
                if !paragraphs.trim().is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut paragraphs).trim().to_owned()));
                }
                paragraphs.clear();
                parts.push(part);
            }
            None => {
                paragraphs.push_str(line);
                paragraphs.push('\n');
            }
        }
    }
    if !paragraphs.trim().is_empty() {
        parts.push(Part::Text(paragraphs.trim().to_owned()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{Part, Story, filled, parts};

    #[test]
    fn places_are_filled_and_parts_kept_in_order() {
        let story =
            Story { numbers: vec![("a", "1".into())], figures: Vec::new(), command: String::new() };
        let text = filled("x {a} {b}\n\n## H\n\n{{f}}\n\ny\n", &story);
        assert_eq!(
            parts(&text),
            [
                Part::Text("x 1 {b}".into()),
                Part::Heading("H"),
                Part::Figure("f"),
                Part::Text("y".into())
            ]
        );
    }
}
