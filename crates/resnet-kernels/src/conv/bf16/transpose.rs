//! Maps as the weight gradient's tiles read them, where the reduction runs over pixels: pairs of
//! neighbouring pixels side by side, and of x the transpose of that.
//!
//! ```text
//!   pixels      x              pairs, 32 bits each          transposed: channel's pixels in a row
//!          ┌──────────┐        ┌──────────────────┐         ┌──────────────┐
//!     0    │ a b c d  │   →    │ aA   bB   cC  dD │    →    │ aA eE ...    │
//!     1    │ A B C D  │        │ eE   fF   gG  hH │         │ bB fF ...    │
//!     2    │ e f g h  │        │ ...              │         │ cC gG ...    │
//!     3    │ E F G H  │                                     │ dD hH ...    │
//! ```

use crate::Bf16;
use crate::conv::outputs::NONE;
use crate::conv::unit::{PANEL, STEP, padded};
use crate::each::{Each, each};
use crate::simd::Simd;
use std::ops::Range;

/// Pairs in a step.
const PAIRS: usize = STEP / 2;
/// Side of the blocks that [`Simd::transpose`] takes.
pub(super) const BLOCK: usize = 8;
/// Rows that a map's channels are rounded up to.
pub(super) const ROWS: usize = 16;
/// Channels transposed together.
const CHANNELS: usize = 32;

/// Puts numbers of two pixels side by side.
///
/// # Panics
/// If `a` or `b` is shorter than `to`.
#[inline(always)]
pub(super) fn interleave<S: Simd>(s: S, a: &[Bf16], b: &[Bf16], to: &mut [u32]) {
    let count = to.len();
    assert!(a.len() >= count && b.len() >= count);
    let work = Pair { a: a.as_ptr(), b: b.as_ptr(), to: to.as_mut_ptr() };
    // SAFETY: all hold `count` numbers, by the assertion.
    unsafe { each(s, count, work) };
}

struct Pair {
    a: *const Bf16,
    b: *const Bf16,
    to: *mut u32,
}

impl Each for Pair {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe { s.pair_bf16(self.a.add(at), self.b.add(at), self.to.add(at)) };
    }
}

/// Fills `to`, rows of `pitch` words for each channel, their number rounded up to [`ROWS`], with
/// `cells` cells of x, `distance` numbers apart, and zeros after them.
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub(super) fn transpose<S: Simd>(
    s: S,
    x: &[Bf16],
    distance: usize,
    cells: usize,
    channels: usize,
    to: &mut [f32],
    pitch: usize,
) {
    const { assert!(ROWS.is_multiple_of(S::LANES) && CHANNELS.is_multiple_of(ROWS)) };
    let rows = channels.next_multiple_of(ROWS);
    let cells = cells.min(2 * pitch);
    assert!(to.len() >= rows * pitch && pitch.is_multiple_of(PAIRS));
    let mut pairs = [0u32; PAIRS * CHANNELS];
    let steps = cells.div_ceil(STEP);
    for step in 0..steps {
        for c in (0..rows).step_by(CHANNELS) {
            let width = CHANNELS.min(rows - c);
            let first = step * STEP * distance + c;
            let last = (step + 1) * STEP - 1;
            if last < cells && last * distance + c + width <= x.len() {
                for i in 0..PAIRS {
                    for j in (0..width).step_by(S::LANES) {
                        // SAFETY: the last of the step's cells holds `width` numbers from c on, by
                        // the condition; so does each row of `pairs`.
                        unsafe {
                            let a = x.as_ptr().add(first + 2 * i * distance + j);
                            let to = pairs.as_mut_ptr().add(i * CHANNELS + j);
                            s.pair_bf16(a, a.add(distance), to);
                        }
                    }
                }
            } else {
                ends(x, distance, step * STEP..cells, c, width, &mut pairs);
            }
            for i in (0..PAIRS).step_by(BLOCK) {
                for j in (0..width).step_by(BLOCK) {
                    // SAFETY: rows i..i + BLOCK of `pairs` hold j..j + BLOCK, for `width` is a
                    // multiple of BLOCK; rows from c + j on of `to` hold this step's words by the
                    // assertion: there are no more steps than `pitch` has.
                    unsafe {
                        let from = pairs.as_ptr().add(i * CHANNELS + j).cast();
                        let to = to.as_mut_ptr().add((c + j) * pitch + step * PAIRS + i);
                        s.transpose(from, CHANNELS, to, pitch);
                    }
                }
            }
        }
    }
    for row in to.chunks_exact_mut(pitch).take(rows) {
        row[steps * PAIRS..].fill(0.0);
    }
}

/// The pairs of a step that not all cells of are there: `cells`, of which `width` numbers from `c`
/// on, are followed by zeros.
fn ends(
    x: &[Bf16],
    distance: usize,
    cells: Range<usize>,
    c: usize,
    width: usize,
    pairs: &mut [u32],
) {
    let number = |cell: usize, j: usize| {
        let there = x.get(cell * distance + c + j);
        let there = there.filter(|_| cell < cells.end);
        there.map_or(0, |x| u32::from(x.to_bits()))
    };
    for (i, pairs) in pairs.chunks_exact_mut(CHANNELS).enumerate() {
        let cell = cells.start + 2 * i;
        for (j, pair) in pairs[..width].iter_mut().enumerate() {
            *pair = number(cell, j) | number(cell + 1, j) << 16;
        }
    }
}

/// Fills `to` with panels [pair of positions][channel][2] of a map, read at the offset that `at`
/// has for each position: zeros for [`NONE`].
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub(super) fn pairs<S: Simd>(
    s: S,
    dy: &[Bf16],
    at: &[u32],
    channels: Range<usize>,
    to: &mut [u32],
) {
    const ZEROS: [Bf16; PANEL] = [Bf16::from_bits(0); PANEL];
    let count = at.len() / 2;
    let whole = channels.len() / PANEL;
    let rest = channels.start + whole * PANEL..channels.end;
    let lanes = padded(rest.len());
    let (to, last) = to.split_at_mut(whole * count * PANEL);
    for (i, &[a, b]) in at.as_chunks::<2>().0.iter().enumerate() {
        let row = |at: u32| match at {
            // All panels read the same zeros.
            NONE => (ZEROS.as_ptr(), 0),
            at => (dy[at as usize..][channels.clone()].as_ptr(), PANEL),
        };
        let ((a_row, a_step), (b_row, b_step)) = (row(a), row(b));
        for p in 0..whole {
            let to = &mut to[(p * count + i) * PANEL..][..PANEL];
            for j in (0..PANEL).step_by(S::LANES) {
                // SAFETY: a row holds all channels, of which this is a whole panel, or it is one
                // panel of zeros that is read every time.
                unsafe {
                    let (a, b) = (a_row.add(p * a_step + j), b_row.add(p * b_step + j));
                    s.pair_bf16(a, b, to.as_mut_ptr().add(j));
                }
            }
        }
        if !rest.is_empty() {
            let row = |at: u32| match at {
                NONE => &ZEROS[..rest.len()],
                at => &dy[at as usize..][rest.clone()],
            };
            let to = &mut last[i * lanes..][..lanes];
            interleave(s, row(a), row(b), &mut to[..rest.len()]);
            to[rest.len()..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;

    #[test]
    fn the_transpose_holds_every_cell_and_zeros_after_them() {
        let x: Vec<Bf16> = (0..2000).map(|i| Bf16::from_bits(i as u16 + 1)).collect();
        for (distance, cells, channels) in
            [(12, 37, 12), (40, 33, 38), (16, 64, 16), (6, 5, 6), (70, 28, 67)]
        {
            let (pitch, rows): (usize, usize) = (48, usize::next_multiple_of(channels, ROWS));
            let mut to = vec![f32::NAN; rows * pitch];
            transpose(Scalar, &x, distance, cells, channels, &mut to, pitch);
            let to = crate::Number::view(&to, 2 * to.len());
            let to: &[Bf16] = to;
            for c in 0..channels {
                for i in 0..2 * pitch {
                    let expected = if i < cells { x[i * distance + c].to_bits() } else { 0 };
                    assert_eq!(
                        to[c * 2 * pitch + i].to_bits(),
                        expected,
                        "{distance} {cells} {c} {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn pairs_hold_both_pixels_of_each_channel() {
        let dy: Vec<Bf16> = (0..1000).map(|i| Bf16::from_bits(i as u16 + 1)).collect();
        let at = [0, 100, NONE, 200, 300, NONE, NONE, NONE];
        let mut to = vec![u32::MAX; 4 * 64];
        pairs(Scalar, &dy, &at, 3..53, &mut to);
        let number = |p: usize, c: usize| match at[p] {
            NONE => 0,
            at => u32::from(dy[at as usize + c].to_bits()),
        };
        for pair in 0..4 {
            for c in 3..53 {
                let (first, lanes) = if c < 35 { (0, 32) } else { (4 * 32, 32) };
                let found = to[first + pair * lanes + (c - 3) % 32];
                let expected = number(2 * pair, c) | number(2 * pair + 1, c) << 16;
                assert_eq!(found, expected, "pair {pair}, channel {c}");
            }
        }
    }
}
