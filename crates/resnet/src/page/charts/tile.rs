//! Small pictures, and sheets of them.

use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};

use super::png;

/// Pixels of a cell of a sheet, and between two.
const CELL: u32 = 96;
const GAP: u32 = 4;

/// A small picture.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub pixels: Vec<u8>,
}

impl Tile {
    fn rgb(&self) -> Option<RgbImage> {
        let (w, h) = (u32::try_from(self.width).ok()?, u32::try_from(self.height).ok()?);
        let pixels = match self.channels {
            1 => self.pixels.iter().flat_map(|&v| [v; 3]).collect(),
            _ => self.pixels.clone(),
        };
        RgbImage::from_raw(w, h, pixels)
    }
}

/// Pictures side by side as one PNG, so many in a row; `None` of none.
pub fn sheet(tiles: &[Tile], columns: usize) -> Option<Vec<u8>> {
    let rows = tiles.len().div_ceil(columns) as u32;
    let side = |n: u32| n * (CELL + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(side(columns as u32), side(rows), Rgb([255; 3]));
    let mut any = false;
    for (i, tile) in tiles.iter().enumerate() {
        let Some(picture) = tile.rgb().filter(|picture| picture.width() * picture.height() > 0)
        else {
            continue;
        };
        any = true;
        let cell = fitted(&picture, CELL);
        let at = |n: usize, side: u32| i64::from(GAP + n as u32 * (CELL + GAP) + (CELL - side) / 2);
        let (column, row) = (i % columns, i / columns);
        overlay(&mut sheet, &cell, at(column, cell.width()), at(row, cell.height()));
    }
    any.then(|| png::encode(sheet.width(), sheet.height(), 3, sheet.as_raw()))?
}

/// A picture with its longer side so many pixels long.
fn fitted(picture: &RgbImage, side: u32) -> RgbImage {
    let longest = picture.width().max(picture.height());
    let scaled = |n: u32| (n * side / longest).max(1);
    let filter = if longest < side { FilterType::Nearest } else { FilterType::Triangle };
    resize(picture, scaled(picture.width()), scaled(picture.height()), filter)
}
