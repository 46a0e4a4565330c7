//! The two passes in plain loops, which the compiler makes what it can of.

use super::taps::{BITS, HALF, Taps};

/// Resizes one row of pixels of `C` channels, appending to `out`.
pub(super) fn across<const C: usize>(taps: &Taps, row: &[u8], out: &mut Vec<u8>) {
    let pixels = row.as_chunks::<C>().0;
    for (start, weights) in taps.outputs() {
        out.extend(pixel(&pixels[start..start + weights.len()], weights));
    }
}

/// The weighted mean of pixels.
pub(super) fn pixel<const C: usize>(pixels: &[[u8; C]], weights: &[i32]) -> [u8; C] {
    let mut sums = [HALF; C];
    for (pixel, weight) in pixels.iter().zip(weights) {
        for c in 0..C {
            sums[c] += i32::from(pixel[c]) * weight;
        }
    }
    sums.map(to_byte)
}

/// The weighted mean of rows that lie one after another, byte by byte, appended to `out`.
pub(super) fn down(rows: &[u8], weights: &[i32], out: &mut Vec<u8>) {
    const BLOCK: usize = 64; // sums that stay in registers and the nearest cache
    let columns = rows.len() / weights.len();
    for first in (0..columns).step_by(BLOCK) {
        let count = BLOCK.min(columns - first);
        let mut sums = [HALF; BLOCK];
        for (row, weight) in rows.chunks_exact(columns).zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(&row[first..first + count]) {
                *sum += i32::from(v) * weight;
            }
        }
        out.extend(sums[..count].iter().map(|&sum| to_byte(sum)));
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
