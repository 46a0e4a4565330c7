//! Convolutions over maps of bf16 whose products are of bf16 numbers, summed in f32, by whatever
//! `unit` this CPU has for it: tiles of AMX, or vectors of pairs.
//!
//! ```text
//!  forward and input gradient                                      weight gradient
//!
//!             b: weights, 32 output channels                                  b: dy, pairs of pixels x 32 channels
//!            ┌────┬────┐                                                     ┌────┬────┐
//!  a: x      │    │    │ 32 of                              a: x,            │    │    │ 32
//!            └────┴────┘ taps · channels                    transposed       └────┴────┘ pixels
//!  ┌────┐    ┌────┬────┐                                    ┌────┐           ┌────┬────┐
//!  │    │ →  │    │    │ 16 pixels                          │    │    →      │    │    │ 16 of taps · channels
//!  ├────┤    ├────┼────┤                                    ├────┤           ├────┼────┤
//!  │    │ →  │    │    │ 16 pixels                          │    │    →      │    │    │ 16 of taps · channels
//!  └────┘    └────┴────┘                                    └────┘           └────┴────┘
//!    32                                                       32
//! ```
//!
//! No matrix of patches is made: a tile's rows are a constant distance apart in the map (`layout`),
//! and a tap is another place to start from. The products are in `conv/unit`, the weights' form in
//! `pack`. In the weight gradient the reduction runs over pixels (`gradient`; compare Georganas et
//! al. 2018, "Anatomy of high-performance deep learning convolutions", section III).

mod ahead;
mod correlate;
mod gradient;
mod layout;
mod pack;
mod transpose;

use crate::conv::shape::Conv2dShape;
use crate::{Cpu, ScratchLen};

pub(super) use correlate::{backward_input, forward, pack, packed_len};
pub(super) use gradient::backward_weight;
use layout::WIDE;

/// Shapes whose tiles are full enough: several channels on both sides, or few that a kernel makes
/// many of.
pub(super) fn accepts(shape: &Conv2dShape) -> bool {
    // Offsets within a block are 32-bit and count bytes; a block may be one image with its rim, or
    // twice what it is cut to.
    let rim = 2 * shape.padding;
    let image = (shape.h + rim) * (shape.w + rim) * shape.c_in.max(shape.c_out);
    if image > u32::MAX as usize / 8 {
        return false;
    }
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    let run = shape.kernel * c_in;
    c_out >= WIDE && (c_in >= WIDE || shape.groups == 1 && shape.kernel >= 3 && run >= WIDE / 2)
}

/// Words of scratch for all passes, packed weights of the forward pass left out.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> ScratchLen {
    correlate::scratch_len(cpu, shape).max(gradient::scratch_len(cpu, shape))
}
