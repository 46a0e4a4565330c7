//! What a task will read of its maps after the block at hand, to be fetched while that is
//! multiplied.

use std::ops::Range;

use crate::Bf16;
use crate::conv::axis::{Axis, Block};
use crate::memory::CACHE_LINE;
use crate::simd::Simd;

/// Numbers in a cache line.
const LINE: usize = CACHE_LINE / size_of::<Bf16>();

/// A block's rows of a map, from its first input row on: `row` numbers each.
pub(super) fn rows(axis: &Axis, block: &Block, row: usize) -> Range<usize> {
    let (inside, first) = axis.inside(block.row, axis.span(block.rows));
    let start = block.image * axis.len + first;
    let end = (block.image + block.images - 1) * axis.len + first + inside.len();
    start * row..end * row
}

/// Parts of maps that are handed out in pieces, one for each product.
pub(super) struct Ahead<'a, const N: usize> {
    rest: [&'a [Bf16]; N],
    /// Numbers in a piece.
    share: usize,
}

impl<'a, const N: usize> Ahead<'a, N> {
    /// Parts to be fetched in `calls` pieces. No piece is of two parts: with fewer calls than
    /// parts, only the first ones are fetched.
    pub(super) fn new(rest: [&'a [Bf16]; N], calls: usize) -> Ahead<'a, N> {
        let all: usize = rest.iter().map(|part| part.len()).sum();
        // The last piece of each part may be short.
        let full = (calls + 1).saturating_sub(N).max(1);
        Ahead { rest, share: all.div_ceil(full).next_multiple_of(LINE) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_call_fetches_the_first_part() {
        let map = [Bf16::default(); 100];
        for (x, dy) in [(70, 100), (0, 70)] {
            let mut ahead = Ahead::new([&map[..x], &map[..dy]], 1);
            assert_eq!(ahead.next().1, 70usize.div_ceil(LINE));
        }
    }

    #[test]
    fn as_many_pieces_as_calls_are_all_parts() {
        let map = vec![Bf16::default(); 5000];
        for (x, dy) in [(0, 0), (1, 5000), (4096, 4096), (4999, 1), (0, 77)] {
            let parts = [&map[..x], &map[..dy]];
            for calls in 2..40 {
                let mut ahead = Ahead::new(parts, calls);
                let mut lines = 0;
                for _ in 0..calls {
                    lines += ahead.next().1;
                }
                assert_eq!(ahead.next(), (std::ptr::null(), 0), "{x}, {dy}, {calls}");
                assert_eq!(lines, x.div_ceil(LINE) + dy.div_ceil(LINE));
            }
        }
    }
}
