//! The legend of an overlay: what its colours stand for, and the class, drawn in pixels.

use font8x8::{BASIC_FONTS, BLOCK_FONTS, GREEK_FONTS, HIRAGANA_FONTS, LATIN_FONTS, UnicodeFonts};

use super::overlay::heat;

/// Side of a letter of the font in pixels.
const LETTER: usize = 8;
/// Least width of a picture with its legend, and the room around the legend's parts.
const LEAST: usize = 320;
const ROOM: usize = 8;
const INK: [u8; 3] = [20; 3];
const PAPER: [u8; 3] = [255; 3];

/// The picture, `columns` wide, with the legend of a map for `class` below it, and its new width:
/// that of the legend at least. `nothing`: the map is empty.
pub(super) fn below(
    picture: Vec<[u8; 3]>,
    columns: usize,
    class: &str,
    nothing: bool,
) -> (usize, Vec<[u8; 3]>) {
    let width = columns.max(LEAST);
    let mut all = Vec::new();
    for row in picture.chunks_exact(columns) {
        all.extend_from_slice(row);
        all.resize(all.len() + width - columns, PAPER);
    }
    let mut strip = Strip { width, pixels: Vec::new() };
    let line = 2 * LETTER;
    strip.pixels.resize(width * (2 * line + 3 * ROOM), PAPER);
    let about = format!("evidence for {class}");
    let scale = if about.chars().count() * line + 2 * ROOM <= width { 2 } else { 1 };
    strip.text(ROOM, ROOM, &fitted(&about, (width - 2 * ROOM) / (scale * LETTER)), scale);
    let top = line + 2 * ROOM;
    if nothing {
        strip.text(ROOM, top, "none found", 2);
    } else {
        let mut x = strip.text(ROOM, top, "little", 2) + ROOM;
        let bar = width - x - 2 * ROOM - 4 * line;
        for column in 0..bar {
            let colour = heat(column as f32 / (bar - 1) as f32).map(|c| c.round() as u8);
            (0..line).for_each(|y| strip.pixels[(top + y) * width + x + column] = colour);
        }
        x += bar + ROOM;
        strip.text(x, top, "much", 2);
    }
    all.extend(strip.pixels);
    (width, all)
}

/// The text, or its beginning and three dots.
fn fitted(text: &str, most: usize) -> String {
    match text.chars().count() <= most {
        true => text.into(),
        false => text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect(),
    }
}

struct Strip {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Strip {
    /// Draws a text from a corner on, and says where it ends.
    fn text(&mut self, mut x: usize, y: usize, text: &str, scale: usize) -> usize {
        for letter in text.chars().map(shape) {
            for (row, bits) in letter.into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    for i in 0..scale * scale {
                        let (dy, dx) = (i / scale, i % scale);
                        let at = (y + row * scale + dy) * self.width + x + column * scale + dx;
                        self.pixels[at] = INK;
                    }
                }
            }
            x += scale * LETTER;
        }
        x
    }
}

/// A letter, one byte a row, the lowest bit left; a box for one that the font lacks.
fn shape(letter: char) -> [u8; LETTER] {
    let found = BASIC_FONTS
        .get(letter)
        .or_else(|| LATIN_FONTS.get(letter))
        .or_else(|| GREEK_FONTS.get(letter))
        .or_else(|| HIRAGANA_FONTS.get(letter))
        .or_else(|| BLOCK_FONTS.get(letter));
    found.unwrap_or([0, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x7e, 0])
}
