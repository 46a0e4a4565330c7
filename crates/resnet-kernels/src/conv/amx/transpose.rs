//! Maps as the weight gradient's tiles read them, where the reduction runs over pixels: pairs of neighbouring pixels side by side, and
//! of x the transpose of that.
//!
//! ```text
//!   pixels      x              pairs, 32 bits each          transposed: channel's pixels in a row
//!          ┌──────────┐        ┌──────────────────┐         ┌──────────────┐
//!     0    │ a b c d  │   →    │ aA   bB   cC  dD │    →    │ aA eE ...    │
//!     1    │ A B C D  │        │ eE   fF   gG  hH │         │ bB fF ...    │
//!     2    │ e f g h  │        │ ...              │         │ cC gG ...    │
//!     3    │ E F G H  │                                     │ dD hH ...    │
//! ```

use super::tile::{PANEL, STEP, padded, panels};
use crate::Bf16;
use crate::conv::outputs::NONE;
use crate::simd::Simd;
use std::ops::Range;

/// Pairs in a step.
const PAIRS: usize = STEP / 2;
/// Side of the blocks that [`Simd::transpose`] takes.
pub(super) const BLOCK: usize = 8;
/// Channels transposed together.
const CHANNELS: usize = 32;

/// Puts numbers of two pixels side by side.
#[inline(always)]
fn interleave(a: &[Bf16], b: &[Bf16], to: &mut [u32]) {
    #[inline(always)]
    fn pieces<const N: usize>(a: &[Bf16], b: &[Bf16], to: &mut [u32]) {
        let (a, b) = (a.as_chunks::<N>().0, b.as_chunks::<N>().0);
        for ((to, a), b) in to.as_chunks_mut::<N>().0.iter_mut().zip(a).zip(b) {
            for i in 0..N {
                to[i] = u32::from(a[i].to_bits()) | u32::from(b[i].to_bits()) << 16;
            }
        }
    }
    let whole = to.len() / 16 * 16;
    pieces::<16>(&a[..whole], &b[..whole], &mut to[..whole]);
    let (a, b, to) = (&a[whole..], &b[whole..], &mut to[whole..]);
    let whole = to.len() / BLOCK * BLOCK;
    pieces::<BLOCK>(&a[..whole], &b[..whole], &mut to[..whole]);
    pieces::<1>(&a[whole..], &b[whole..], &mut to[whole..]);
}

/// Fills `to`, rows of `pitch` words for each channel, their number rounded up to [`BLOCK`], with `cells` cells of x, `distance` numbers
/// apart, and zeros after them.
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
    let rows = channels.next_multiple_of(BLOCK);
    let cells = cells.min(2 * pitch);
    assert!(to.len() >= rows * pitch && pitch.is_multiple_of(PAIRS));
    const ZEROS: [Bf16; CHANNELS] = [Bf16::from_bits(0); CHANNELS];
    let mut pairs = [0u32; PAIRS * CHANNELS];
    let steps = cells.div_ceil(STEP);
    for step in 0..steps {
        for c in (0..rows).step_by(CHANNELS) {
            let width = CHANNELS.min(rows - c);
            // Numbers after the channels are read along where there are any; they go to rows that are not used.
            let cell = |i: usize| -> &[Bf16] {
                if i >= cells {
                    return &ZEROS;
                }
                let x = &x[i * distance + c..];
                &x[..width.min(x.len())]
            };
            for (i, pairs) in pairs.chunks_exact_mut(CHANNELS).enumerate() {
                let (a, b) = (cell(step * STEP + 2 * i), cell(step * STEP + 2 * i + 1));
                let count = width.min(a.len()).min(b.len());
                interleave(a, b, &mut pairs[..count]);
                for (j, pair) in pairs[count..width].iter_mut().enumerate() {
                    let number =
                        |x: &[Bf16]| x.get(count + j).map_or(0, |x| u32::from(x.to_bits()));
                    *pair = number(a) | number(b) << 16;
                }
            }
            for i in (0..PAIRS).step_by(BLOCK) {
                for j in (0..width).step_by(BLOCK) {
                    // SAFETY: rows i..i + BLOCK of `pairs` hold j..j + BLOCK, for `width` is a multiple of BLOCK; rows from c + j on of
                    // `to` hold this step's words by the assertion: there are no more steps than `pitch` has.
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

/// Fills `to` with panels [pair of positions][channel][2] of dy, read at the offset that `at` has for each position: zeros for [`NONE`].
///
/// # Panics
/// If a slice is too short.
#[inline(always)]
pub(super) fn pairs(dy: &[Bf16], at: &[u32], channels: Range<usize>, to: &mut [u32]) {
    const ZEROS: [Bf16; PANEL] = [Bf16::from_bits(0); PANEL];
    let count = at.len() / 2;
    for (i, at) in at.as_chunks::<2>().0.iter().enumerate() {
        for (n, used) in panels(channels.clone()) {
            let lanes = padded(used);
            let first = (n - channels.start) * count + i * lanes;
            let to = &mut to[first..][..lanes];
            let [a, b] = at.map(|at| match at {
                NONE => &ZEROS[..used],
                at => &dy[at as usize + n..][..used],
            });
            interleave(a, b, &mut to[..used]);
            to[used..].fill(0);
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
        for (distance, cells, channels) in [
            (12, 37, 12),
            (40, 33, 38),
            (16, 64, 16),
            (6, 5, 6),
            (70, 28, 67),
        ] {
            let (pitch, rows): (usize, usize) = (48, usize::next_multiple_of(channels, BLOCK));
            let mut to = vec![f32::NAN; rows * pitch];
            transpose(Scalar, &x, distance, cells, channels, &mut to, pitch);
            let to = crate::Number::view(&to, 2 * to.len());
            let to: &[Bf16] = to;
            for c in 0..channels {
                for i in 0..2 * pitch {
                    let expected = if i < cells {
                        x[i * distance + c].to_bits()
                    } else {
                        0
                    };
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
        pairs(&dy, &at, 3..53, &mut to);
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
