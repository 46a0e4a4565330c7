//! 3x3 convolutions with step 1 by Winograd's algorithm F(4x4, 3x3) (Lavin & Gray 2016, "Fast
//! algorithms for convolutional neural networks"): 36 products for a tile of 16 outputs where the
//! sum as written takes 144. Maps of too few such tiles have F(2x2, 3x3) forward: 16 products for 4
//! outputs where the sum takes 36, and weights that grow by less than half as much.
//!
//! ```text
//! y  = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A            x a tile of 6x6 inputs, y its 4x4 outputs, ⊙ number by number
//! dw = Gᵀ [ Σ (Bᵀ x B) ⊙ (A dy Aᵀ) ] G          the same, transposed
//! ```
//!
//! Over channels each of the points, 36 of F(4x4, 3x3), is a matrix product, [tiles x c_in] · [c_in
//! x c_out], or over tiles for dw:
//!
//! ```text
//!   x ──Bᵀ·B──▶ V[36][tiles][c_in] ─┐
//!   w ──G·Gᵀ──▶ U[36][c_in][c_out] ─┴─ 36 products ──▶ M[36][tiles][c_out] ──Aᵀ·A──▶ y
//! ```
//!
//! A task does all three stages for a block of tiles: as many as keep V and M in the second-level
//! cache, but no fewer than make the reading of U worth it, so that with many channels V and M go
//! through the third level. Neither is made for a whole layer. The input gradient is the same
//! correlation, of dy with the weights turned by half a turn. The points 0, ±1, ±2, ∞ of F(4x4,
//! 3x3) make the result three to ten times less exact than the plain sum in f32, and a number that
//! is not finite spoils all outputs of the tiles that read it.
//!
//! With AVX-512 BF16 V, W and U are rounded to bf16, and F(2x2, 3x3) does all passes (`paired`).
//! Its transforms add four numbers of a map, or nine weights a quarter each, so that rounding costs
//! about twice what a result's own rounding does; those of F(4x4, 3x3) would cost too much.

mod correlate;
mod gradient;
mod lines;
#[cfg(target_arch = "x86_64")]
mod paired;
mod products;
mod weights;

use super::Conv2dShape;
use crate::{Cpu, Number, ScratchLen};

pub(super) use correlate::{backward_input, forward, forward_scratch_len, pack, packed_len};
pub(super) use gradient::backward_weight;
pub(super) use lines::{Algorithm, F};
#[cfg(target_arch = "x86_64")]
pub(super) use paired::Paired;
pub(super) use products::{Plain, Products};

/// Sides of a tile of outputs and of inputs in F(4x4, 3x3).
pub(super) const OUT: usize = 4;
pub(super) const IN: usize = 6;
/// The same sides in F(2x2, 3x3).
pub(super) const SMALL_OUT: usize = 2;
pub(super) const SMALL_IN: usize = 4;
/// Channels come in vectors of the widest instruction set.
const LANES: usize = 16;
/// Tiles below which transforming the weights costs more than is saved.
const FEWEST: usize = 12;

/// Whether the algorithm applies with tiles of 4x4 and is worth its transforms.
pub(super) fn accepts(shape: &Conv2dShape) -> bool {
    applies(shape, OUT)
}

/// The same with tiles of 2x2.
pub(super) fn accepts_small(shape: &Conv2dShape) -> bool {
    applies(shape, SMALL_OUT)
}

/// The same with tiles of 2x2 and products of pairs.
#[cfg(target_arch = "x86_64")]
pub(super) fn accepts_pairs(shape: &Conv2dShape) -> bool {
    const EVEN: usize = 32;
    accepts_small(shape) && shape.c_in.is_multiple_of(EVEN) && shape.c_out.is_multiple_of(EVEN)
}

fn applies(shape: &Conv2dShape, out: usize) -> bool {
    shape.kernel == 3
        && shape.stride == 1
        && shape.groups == 1
        && shape.padding <= 2
        && shape.c_in.is_multiple_of(LANES)
        && shape.c_out.is_multiple_of(LANES)
        && Tiling::new(shape.n, shape.h_out(), shape.w_out(), out).count() >= FEWEST
}

/// Words of scratch for all passes.
pub(super) fn scratch_len<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> ScratchLen
where
    F: Algorithm<O, I>,
{
    let correlations = correlate::scratch_len::<P, O, I>(cpu, shape);
    correlations.max(gradient::scratch_len::<P, O, I>(cpu, shape))
}

/// A map cut into square tiles, those at the end reaching beyond it.
#[derive(Clone, Copy, Debug)]
struct Tiling {
    /// Side of a tile.
    out: usize,
    n: usize,
    rows: usize,
    columns: usize,
}

impl Tiling {
    fn new(n: usize, h: usize, w: usize, out: usize) -> Tiling {
        Tiling { out, n, rows: h.div_ceil(out), columns: w.div_ceil(out) }
    }

    fn count(&self) -> usize {
        self.n * self.rows * self.columns
    }

    /// Image, row and column of the tile's first output.
    #[inline(always)]
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, tile) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        (image, tile / self.columns * self.out, tile % self.columns * self.out)
    }
}

/// A map [n][h][w][channels] to gather squares from.
#[derive(Clone, Copy)]
struct Map<'a, T> {
    values: &'a [T],
    h: usize,
    w: usize,
    channels: usize,
}

impl<T: Number> Map<'_, T> {
    /// Where the pixels of a square of side `N` are whose first pixel is (`row`, `column`); `zeros`
    /// for those outside.
    ///
    /// # Panics
    /// If the image is not in the map.
    #[inline(always)]
    fn square<const N: usize>(
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
fn pitch(columns: usize) -> usize {
    if columns < 4 * LANES { columns } else { (columns.div_ceil(LANES) | 1) * LANES }
}

/// Numbers from one point's matrix of `rows` x `columns` to the next point's: an odd number of
/// cache lines, so that all the streams of a transform do not fall into the same sets of a cache.
fn stride(rows: usize, columns: usize) -> usize {
    ((rows * pitch(columns)).div_ceil(LANES) | 1) * LANES
}

/// Starts of the points' matrices.
#[inline(always)]
fn points<const I: usize>(start: *mut f32, stride: usize) -> [[*mut f32; I]; I] {
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
fn for_reading<const I: usize>(points: &[[*mut f32; I]; I]) -> [[*const f32; I]; I] {
    points.map(|line| line.map(<*mut f32>::cast_const))
}

/// `count` in parts of at most `most`, as even as multiples of `unit` allow.
fn even(count: usize, most: usize, unit: usize) -> usize {
    count.div_ceil(count.div_ceil(most).max(1)).next_multiple_of(unit)
}
