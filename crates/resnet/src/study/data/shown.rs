//! Pictures in a page, and sheets of them.

use crate::data::Image;
use crate::data::stats::Contact;
use crate::page::charts::page::Page;
use crate::page::charts::png::photo_uri;
use crate::page::charts::tile::{self, Tile};

/// Longest side of a picture in a page, in the page's pixels.
pub(super) const SIDE: u32 = 136;
/// The same as it is stored, for dense screens.
pub(super) const STORED: usize = 240;

/// A picture of a list with lines of text below it.
pub(super) fn picture(page: &mut Page, image: &Image, alt: &str, lines: &[&str]) {
    let m = page.markup();
    m.open("li", &[("title", &alt)]);
    if let Some((uri, width, height, class)) = stored(image) {
        let attributes: &[(&str, &dyn std::fmt::Display)] = &[
            ("class", &class),
            ("src", &uri),
            ("width", &width),
            ("height", &height),
            ("alt", &alt),
        ];
        m.leaf("img", attributes);
    }
    for line in lines.iter().filter(|line| !line.is_empty()) {
        m.element("span", &[], line);
    }
    m.close();
}

/// The original, with the part of it marked that an evaluation uses: top, left, height and width in
/// its own pixels.
pub(super) fn original(page: &mut Page, image: &Image, part: [f64; 4], alt: &str, lines: &[&str]) {
    let Some((uri, width, height, class)) = stored(image) else { return };
    let m = page.markup();
    m.open("li", &[("title", &alt)]);
    let view = format!("0 0 {} {}", image.width, image.height);
    m.open(
        "svg",
        &[
            ("class", &"marked"),
            ("viewBox", &view),
            ("width", &width),
            ("height", &height),
            ("role", &"img"),
            ("aria-label", &alt),
        ],
    );
    m.leaf(
        "image",
        &[("class", &class), ("href", &uri), ("width", &image.width), ("height", &image.height)],
    );
    // A line of one screen's pixel on both sides of the edge, which shows on any picture.
    let [top, left, rows, columns] = part.map(|side| format!("{side:.2}"));
    for class in ["outer", "inner"] {
        let class = format!("window {class}");
        m.leaf(
            "rect",
            &[("class", &class), ("x", &left), ("y", &top), ("width", &columns), ("height", &rows)],
        );
    }
    m.close();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        m.element("span", &[], line);
    }
    m.close();
}

/// The address of a picture, its size in the page, and its class: small ones keep their pixels.
fn stored(image: &Image) -> Option<(String, u32, u32, &'static str)> {
    let Image { width, height, channels, pixels } = image;
    if width.max(height) * 2 <= SIDE as usize {
        let (uri, w, h) = photo_uri(*width, *height, *channels, pixels, SIDE)?;
        return Some((uri, w, h, "pixels"));
    }
    let (uri, w, h) = photo_uri(*width, *height, *channels, pixels, STORED as u32)?;
    let shown = |side: u32| (side * SIDE / STORED as u32).max(1);
    Some((uri, shown(w), shown(h), "photo"))
}

/// A sheet of pictures as a PNG file, a row for each class; `None` where there are none.
pub fn sheet(contacts: &[Contact]) -> Option<Vec<u8>> {
    let columns = contacts.iter().map(|contact| contact.pictures.len()).max()?.max(1);
    let tile = |(_, image): &(String, Image)| Tile {
        width: image.width,
        height: image.height,
        channels: image.channels,
        pixels: image.pixels.clone(),
    };
    let row = |contact: &Contact| {
        let mut row: Vec<Tile> = contact.pictures.iter().map(tile).collect();
        row.resize(columns, Tile::default());
        row
    };
    tile::sheet(&contacts.iter().flat_map(row).collect::<Vec<_>>(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(class: &str, pictures: usize) -> Contact {
        let picture = |i| (format!("{class}/{i}"), Image::grey(2, 2, vec![0; 4]));
        let pictures: Vec<_> = (0..pictures).map(picture).collect();
        Contact { class: class.into(), images: pictures.len(), pictures }
    }

    #[test]
    fn a_sheet_has_a_row_for_each_class() {
        assert!(sheet(&[]).is_none() && sheet(&[contact("a", 0)]).is_none());
        let png = sheet(&[contact("a", 1), contact("b", 3)]).unwrap();
        let sheet = image::load_from_memory(&png).unwrap().into_luma8();
        // 96 pixels a cell and 4 between two.
        assert_eq!((sheet.width(), sheet.height()), (304, 204));
        let dark =
            |column: u32, row: u32| sheet.get_pixel(100 * column + 52, 100 * row + 52).0[0] < 128;
        assert!(dark(0, 0) && !dark(1, 0) && !dark(2, 0));
        assert!((0..3).all(|column| dark(column, 1)));
    }
}
