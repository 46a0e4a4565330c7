//! Convolutions of any shape as the formula says: products of small matrices over pointers into the
//! map.

mod block;
mod correlate;
mod gradient;
mod pack;
mod panels;
mod stage;

use super::Conv2dShape;
use crate::{Cpu, Number, ScratchLen};

pub(super) use correlate::{backward_input, forward, pack, packed_len};
pub(super) use gradient::backward_weight;

/// Numbers of scratch for all passes, packed weights of the forward pass left out.
pub(super) fn scratch_len<T: Number>(cpu: &Cpu, shape: &Conv2dShape) -> ScratchLen {
    correlate::scratch_len::<T>(cpu, shape).max(gradient::scratch_len::<T>(shape))
}
