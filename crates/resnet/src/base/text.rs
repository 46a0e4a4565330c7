//! Names that come from files: how they are shown and when they are the same.

use std::fmt::{self, Write};
use std::path::Path;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A path for people and tables. Bytes that are not UTF-8 are written as `\xff`, so that files
/// whose names differ in them alone can be told apart.
pub fn path(path: &Path) -> impl fmt::Display + '_ {
    Bytes(path.as_os_str().as_encoded_bytes())
}

/// The same of a name, or of a word that was typed.
pub fn name(name: &std::ffi::OsStr) -> impl fmt::Display + '_ {
    Bytes(name.as_encoded_bytes())
}

struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// A text on one line of a terminal: characters that would move the cursor, begin another line or
/// turn the direction of writing are shown as Rust writes them, `\n`, `\u{1b}`.
pub fn line(text: &str) -> impl fmt::Display + '_ {
    Line(text)
}

/// Whether a terminal, or a reader of plain text, would take a character for more than itself.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match acts(c) {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

/// The composed form of a name (NFC). macOS keeps file names decomposed, so that one `é` is a
/// letter there and another one two.
pub(crate) fn composed(name: &str) -> String {
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => name.to_owned(),
        _ => name.nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_text() {
        let shown = |text: &str| line(text).to_string();
        assert_eq!(shown("Ringelnatter, 7 Jahre: 中"), "Ringelnatter, 7 Jahre: 中");
        assert_eq!(shown("a\u{1b}[31m\nb\tc\u{7f}"), "a\\u{1b}[31m\\nb\\tc\\u{7f}");
        assert_eq!(shown("\u{9b}2J \u{202e}gpj\u{2028}"), "\\u{9b}2J \\u{202e}gpj\\u{2028}");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_can_be_told_apart() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let shown = |bytes| path(Path::new(OsStr::from_bytes(bytes))).to_string();
        assert_eq!(shown(b"a/caf\xe9.png"), "a/caf\\xe9.png");
        assert_eq!(shown(b"a/caf\xe8.png"), "a/caf\\xe8.png");
        assert_eq!(shown("a/café.png".as_bytes()), "a/café.png");
    }

    #[test]
    fn one_letter_or_two_are_one_name() {
        assert_eq!(composed("cafe\u{301}"), "café");
        assert_eq!(composed("café"), "café");
        assert_ne!(composed("cafe"), "café");
    }
}
