//! Forms with files, `multipart/form-data` (RFC 7578).

use hyper::body::Bytes;
use memchr::memmem::{self, Finder};

use super::MOST_PICTURES;
use crate::http::Refusal;

/// A part of a form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// The field's name.
    pub(crate) field: Option<String>,
    /// The file's name, where the part is a file.
    pub(crate) file: Option<String>,
    pub(crate) bytes: Bytes,
}

/// Most bytes of a part's headers, and of a boundary.
const MOST_HEADERS: usize = 8 << 10;
const MOST_BOUNDARY: usize = 70;

/// The parts of a form, which share the body's memory.
pub(crate) fn read(content_type: &str, body: &Bytes) -> Result<Vec<Part>, Refusal> {
    let boundary = parameter(content_type, "boundary")
        .filter(|text| (1..=MOST_BOUNDARY).contains(&text.len()))
        .ok_or_else(|| Refusal::malformed("the form's Content-Type has no boundary"))?;
    let delimiter = format!("\r\n--{boundary}");
    let finder = Finder::new(delimiter.as_bytes());
    let cut = || Refusal::malformed("the form is cut off: its last boundary is missing");
    // The first boundary needs no line before it.
    let mut at = match body.starts_with(&delimiter.as_bytes()[2..]) {
        true => delimiter.len() - 2,
        false => finder.find(body).ok_or_else(cut)? + delimiter.len(),
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let line = memmem::find(&rest[..rest.len().min(MOST_HEADERS)], b"\r\n").ok_or_else(cut)?;
        if !rest[..line].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(Refusal::malformed("something stands behind a boundary of the form"));
        }
        if parts.len() == MOST_PICTURES {
            return Err(Refusal::malformed(format!(
                "the form has more than {MOST_PICTURES} parts"
            )));
        }
        let (part, length) = read_part(body, at + line + 2, &finder)?;
        parts.push(part);
        at += line + 2 + length + delimiter.len();
    }
}

/// A part that begins with its headers, and its length up to the next boundary.
fn read_part(body: &Bytes, at: usize, finder: &Finder<'_>) -> Result<(Part, usize), Refusal> {
    let rest = &body[at..];
    let (headers, content) = match rest.starts_with(b"\r\n") {
        true => (&rest[..0], 2),
        false => {
            let end = memmem::find(&rest[..rest.len().min(MOST_HEADERS)], b"\r\n\r\n").ok_or_else(
                || Refusal::malformed("the headers of a part of the form do not end"),
            )?;
            (&rest[..end], end + 4)
        }
    };
    // The line before a boundary belongs to the boundary, also where the part is empty.
    let from = content - 2;
    let end = finder
        .find(&rest[from..])
        .ok_or_else(|| Refusal::malformed("the form is cut off: its last boundary is missing"))?
        + from;
    let headers = String::from_utf8_lossy(headers);
    let disposition = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let disposition = disposition.unwrap_or_default();
    let part = Part {
        field: parameter(disposition, "name"),
        file: parameter(disposition, "filename"),
        bytes: body.slice((at + content).min(at + end)..at + end),
    };
    Ok((part, end))
}

/// A parameter of a header, without its quotes.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = &header[header.find(';')?..];
    while let Some(more) = rest.strip_prefix(';') {
        let (name, value) = more.split_once('=')?;
        let value = value.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = after.trim_start();
    }
    None
}

/// A text up to its closing quote, and what follows that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<Vec<Part>, Refusal> {
        read("multipart/form-data; boundary=\"x y\"", &Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn parts_come_as_they_are() {
        let parts = form(
            "preamble\r\n--x y\r\nContent-Disposition: form-data; name=data; \
             filename=\"a \\\"b\\\".jpg\"\r\nContent-Type: image/jpeg\r\n\r\none\r\n--x\r\n\
             \r\n--x y  \r\ncontent-disposition:form-data;name=\"empty\"\r\n\r\n\r\n--x y\r\n\
             \r\nbare\r\n--x y--\r\nepilogue",
        )
        .unwrap();
        let part = |field: Option<&str>, file: Option<&str>, bytes: &'static str| Part {
            field: field.map(String::from),
            file: file.map(String::from),
            bytes: Bytes::from(bytes),
        };
        let expected = [
            part(Some("data"), Some("a \"b\".jpg"), "one\r\n--x\r\n"),
            part(Some("empty"), None, ""),
            part(None, None, "bare"),
        ];
        assert_eq!(parts, expected);
        assert_eq!(form("--x y--").unwrap(), []);
    }

    #[test]
    fn broken_forms_are_refused() {
        let cases = [
            "",
            "--x y",
            "--x y\r\n",
            "--x y\r\n\r\n",
            "--x y\r\n\r\ntext",
            "--x y\r\n\r\ntext\r\n--x y",
            "--x y\r\nA: b\r\ntext\r\n--x y--",
            "--x yz\r\n\r\n\r\n--x y--",
        ];
        for text in cases {
            assert_eq!(form(text).unwrap_err().status, 400, "{text:?}");
        }
        let many = "--x y\r\n\r\n\r\n".repeat(MOST_PICTURES + 1) + "--x y--";
        assert!(form(&many).is_err());
        let none = read("multipart/form-data", &Bytes::from("--x y--"));
        assert!(none.unwrap_err().message.contains("boundary"));
    }
}
