//! What a task will read of its maps after the block at hand, to be fetched while that is multiplied: the products wait for no memory.

use crate::Bf16;
use crate::conv::axis::{Axis, Block};
use crate::simd::Simd;

/// Numbers in a cache line.
const LINE: usize = 32;

/// A block's rows of a map, from its first input row on: `row` numbers each.
pub(super) fn rows<'a>(map: &'a [Bf16], axis: &Axis, block: &Block, row: usize) -> &'a [Bf16] {
    let (inside, first) = axis.inside(block.row, axis.span(block.rows));
    let start = block.image * axis.len + first;
    let end = (block.image + block.images - 1) * axis.len + first + inside.len();
    &map[start * row..end * row]
}

/// Parts of maps that are handed out in pieces, one for each product.
pub(super) struct Ahead<'a, const N: usize> {
    rest: [&'a [Bf16]; N],
    /// Numbers in a piece.
    share: usize,
}

impl<'a, const N: usize> Ahead<'a, N> {
    /// Parts to be fetched in `calls` pieces.
    pub(super) fn new(rest: [&'a [Bf16]; N], calls: usize) -> Ahead<'a, N> {
        let all: usize = rest.iter().map(|part| part.len()).sum();
        Ahead {
            rest,
            share: all.div_ceil(calls.max(1)).next_multiple_of(LINE),
        }
    }

    /// Where the next piece begins, and the cache lines of it.
    #[inline(always)]
    pub(super) fn next(&mut self) -> (*const Bf16, usize) {
        for part in &mut self.rest {
            if !part.is_empty() {
                let (piece, rest) = part.split_at(self.share.min(part.len()));
                *part = rest;
                return (piece.as_ptr(), piece.len().div_ceil(LINE));
            }
        }
        (std::ptr::null(), 0)
    }

    /// Asks for the next piece.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&mut self, s: S) {
        let (piece, lines) = self.next();
        for line in 0..lines {
            s.prefetch_far(piece.wrapping_add(line * LINE));
        }
    }
}
