//! A strict reader of well-formed markup, for checking what the report writes.

/// An element with the texts of everything in it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) tag: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.0 == name).map(|a| a.1.as_str())
    }
}

/// HTML elements that have no content; every other one must be closed by its own tag.
const VOID: [&str; 4] = ["meta", "link", "img", "br"];
/// SVG elements that may be written `<x/>`.
const LEAF: [&str; 5] = ["line", "rect", "path", "circle", "image"];

/// All elements in order of their closing, or what is wrong.
pub(crate) fn parse(markup: &str) -> Result<Vec<Element>, String> {
    let mut rest = markup.strip_prefix("<!DOCTYPE html>\n").unwrap_or(markup);
    let (mut open, mut done): (Vec<Element>, Vec<Element>) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let at = rest.find('<').unwrap_or(rest.len());
        let text = unescape(&rest[..at])?;
        match open.last_mut() {
            Some(element) => element.text += &text,
            None if text.trim().is_empty() => {}
            None => return Err(format!("text outside of everything: {text}")),
        }
        rest = &rest[at..];
        let Some(inside) = rest.strip_prefix('<') else {
            break;
        };
        let end = closing(inside)?;
        let (tag, after) = (&inside[..end], &inside[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop().ok_or_else(|| format!("</{name}> closes nothing"))?;
            if element.tag != name {
                return Err(format!("</{name}> closes <{}>", element.tag));
            }
            if let Some(outer) = open.last_mut() {
                outer.text += &element.text;
            }
            done.push(element);
            continue;
        }
        let (tag, leaf) = tag.strip_suffix('/').map_or((tag, false), |t| (t, true));
        let element = element(tag)?;
        let may = |list: &[&str]| list.contains(&element.tag.as_str());
        if leaf && !may(&VOID) && !may(&LEAF) || !leaf && may(&VOID) {
            return Err(format!("<{tag}> is closed in a way that HTML does not know"));
        }
        if leaf { done.push(element) } else { open.push(element) }
    }
    match open.pop() {
        Some(element) => Err(format!("<{}> is not closed", element.tag)),
        None => Ok(done),
    }
}

/// Where the tag ends: the first `>` outside of quotes.
fn closing(tag: &str) -> Result<usize, String> {
    let mut quoted = false;
    for (i, c) in tag.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' => return Err(format!("< inside of a tag: {}", &tag[..i])),
            '>' if !quoted => return Ok(i),
            _ => {}
        }
    }
    Err("a tag does not end".to_owned())
}

fn element(tag: &str) -> Result<Element, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let is_name =
        |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_name(name) {
        return Err(format!("<{name}> is not a tag"));
    }
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (key, value) = rest
            .split_once("=\"")
            .ok_or_else(|| format!("an attribute without value in <{tag}>"))?;
        let (value, after) =
            value.split_once('"').ok_or_else(|| format!("an open quote in <{tag}>"))?;
        if !is_name(key) || attributes.iter().any(|a| a.0 == key) {
            return Err(format!("attribute {key:?} of <{tag}>"));
        }
        attributes.push((key.to_owned(), unescape(value)?));
        rest = after.strip_prefix(' ').unwrap_or(after);
        if rest == after && !after.is_empty() {
            return Err(format!("attributes that touch in <{tag}>"));
        }
    }
    Ok(Element { tag: name.to_owned(), attributes, text: String::new() })
}

fn unescape(text: &str) -> Result<String, String> {
    if let Some(bad) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(format!("control character {bad:?}"));
    }
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) =
            part.split_once(';').ok_or_else(|| format!("a bare & before {part:?}"))?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            _ => return Err(format!("&{name}; is unknown")),
        });
        out += after;
    }
    Ok(out)
}

#[test]
fn the_reader_is_strict() {
    assert_eq!(parse("<p class=\"a\">x &lt; <b>y</b></p>").unwrap().last().unwrap().text, "x < y");
    for bad in [
        "<p>",
        "</p>",
        "<p></b>",
        "<p a></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p>&</p>",
        "<p>&nbsp;</p>",
        "<p/>",
        "x",
        "<p \"></p>",
        "<img>",
    ] {
        assert!(parse(bad).is_err(), "{bad} passed");
    }
}
