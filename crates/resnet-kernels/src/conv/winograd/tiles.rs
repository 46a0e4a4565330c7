//! How maps are cut into tiles, and how the points' matrices lie in memory.

use crate::Number;

/// Sides of a tile of outputs and of inputs in F(4x4, 3x3).
pub(in crate::conv) const OUT: usize = 4;
pub(in crate::conv) const IN: usize = 6;
/// The same sides in F(2x2, 3x3).
pub(in crate::conv) const SMALL_OUT: usize = 2;
pub(in crate::conv) const SMALL_IN: usize = 4;
/// Channels come in vectors of the widest instruction set.
pub(super) const LANES: usize = 16;

/// A map cut into square tiles, those at the end reaching beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Side of a tile.
    pub(super) out: usize,
    pub(super) n: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Tiling {
    pub(super) fn new(n: usize, h: usize, w: usize, out: usize) -> Tiling {
        Tiling { out, n, rows: h.div_ceil(out), columns: w.div_ceil(out) }
    }

    pub(super) fn count(&self) -> usize {
        self.n * self.rows * self.columns
    }

    /// Image, row and column of the tile's first output.
    #[inline(always)]
    pub(super) fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, tile) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        (image, tile / self.columns * self.out, tile % self.columns * self.out)
    }
}

/// A map [n][h][w][channels] to gather squares from.
#[derive(Clone, Copy)]
pub(super) struct Map<'a, T> {
    pub(super) values: &'a [T],
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) channels: usize,
}

impl<T: Number> Map<'_, T> {
    /// Where the pixels of a square of side `N` are whose first pixel is (`row`, `column`); `zeros`
    /// for those outside.
    ///
    /// # Panics
    /// If the image is not in the map.
    #[inline(always)]
    pub(super) fn square<const N: usize>(
        &self,
        image: usize,
        row: isize,
        column: isize,
        zeros: *const T,
    ) -> [[*const T; N]; N] {
        let len = self.h * self.w * self.channels;
        let image = self.values[image * len..(image + 1) * len].as_ptr();
        let mut square = [[zeros; N]; N];
        for (i, line) in square.iter_mut().enumerate() {
            let row = (row + i as isize) as usize;
            for (j, pixel) in line.iter_mut().enumerate() {
                let column = (column + j as isize) as usize;
                // Negative ones have become huge.
                if row < self.h && column < self.w {
                    *pixel = image.wrapping_add((row * self.w + column) * self.channels);
                }
            }
        }
        square
    }
}

/// Numbers from one row of V, W or M to the next: many rows of 256 or more bytes are an odd number
/// of cache lines apart, so that a column of them does not fall into a few sets of a cache.
pub(super) fn pitch(columns: usize) -> usize {
    if columns < 4 * LANES { columns } else { (columns.div_ceil(LANES) | 1) * LANES }
}

/// Numbers from one point's matrix of `rows` x `columns` to the next point's: an odd number of
/// cache lines, so that all the streams of a transform do not fall into the same sets of a cache.
pub(super) fn stride(rows: usize, columns: usize) -> usize {
    ((rows * pitch(columns)).div_ceil(LANES) | 1) * LANES
}

/// Starts of the points' matrices.
#[inline(always)]
pub(super) fn points<const I: usize>(start: *mut f32, stride: usize) -> [[*mut f32; I]; I] {
    let mut points = [[start; I]; I];
    for (i, line) in points.iter_mut().enumerate() {
        for (j, point) in line.iter_mut().enumerate() {
            *point = start.wrapping_add((i * I + j) * stride);
        }
    }
    points
}

/// The same, for reading.
#[inline(always)]
pub(super) fn for_reading<const I: usize>(points: &[[*mut f32; I]; I]) -> [[*const f32; I]; I] {
    points.map(|line| line.map(<*mut f32>::cast_const))
}

/// `count` in parts of at most `most`, as even as multiples of `unit` allow.
pub(super) fn even(count: usize, most: usize, unit: usize) -> usize {
    count.div_ceil(count.div_ceil(most).max(1)).next_multiple_of(unit)
}
