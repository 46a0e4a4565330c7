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
mod tiles;
mod weights;

use crate::conv::shape::Conv2dShape;
use crate::{Cpu, ScratchLen};
use tiles::{LANES, Tiling};

pub(super) use correlate::{backward_input, forward, forward_scratch_len, pack, packed_len};
pub(super) use gradient::backward_weight;
pub(super) use lines::{Algorithm, F};
#[cfg(target_arch = "x86_64")]
pub(super) use paired::Paired;
pub(super) use products::{Plain, Products};
pub(super) use tiles::{IN, OUT, SMALL_IN, SMALL_OUT};

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
