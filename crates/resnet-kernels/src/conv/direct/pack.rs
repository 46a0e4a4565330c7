//! Panels: matrices copied so that a tile reads them front to back.

use crate::Number;
use crate::simd::Simd;

/// Fills `panel` = [row][lanes] with `count` numbers of each row of `from`, `stride` apart; zero in
/// the other lanes.
///
/// # Panics
/// If `from` is too short for the rows that `panel` holds.
#[inline(always)]
pub(super) fn rows<S: Simd, T: Number>(
    s: S,
    from: &[T],
    stride: usize,
    count: usize,
    lanes: usize,
    panel: &mut [f32],
) {
    let rows = panel.len() / lanes;
    if rows == 0 {
        return;
    }
    assert!(count <= lanes && (rows - 1) * stride + count <= from.len());
    if count < lanes || !lanes.is_multiple_of(S::LANES) {
        for (i, to) in panel.chunks_exact_mut(lanes).enumerate() {
            let from = &from[i * stride..][..count];
            to.fill(0.0);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from.get());
        }
        return;
    }
    for i in 0..rows {
        for at in (0..lanes).step_by(S::LANES) {
            // SAFETY: row i of `panel` and, by the assertion, of `from` holds `lanes` numbers, `at`
            // is a vector's start.
            unsafe {
                let v = T::load(s, from.as_ptr().add(i * stride + at));
                s.store(panel.as_mut_ptr().add(i * lanes + at), v);
            }
        }
    }
}

/// Side of the blocks that [`Simd::transpose`] takes.
const SIDE: usize = 8;

/// Fills `panel` = [k][lanes], k < `len`, with the transpose of the rows of `from` (`count` rows of
/// `len` numbers, `stride` apart), zero in the other lanes.
///
/// # Panics
/// If `from` is too short.
#[inline(always)]
pub(super) fn transposed<S: Simd>(
    s: S,
    from: &[f32],
    stride: usize,
    len: usize,
    count: usize,
    lanes: usize,
    panel: &mut [f32],
) {
    let panel = &mut panel[..len * lanes];
    assert!(count <= lanes && len <= stride);
    if len == 0 || count == 0 {
        return;
    }
    assert!((count - 1) * stride + len <= from.len());
    if count < lanes {
        panel.fill(0.0);
    }
    let (even_rows, even_len) = (count / SIDE * SIDE, len / SIDE * SIDE);
    for j in (0..even_rows).step_by(SIDE) {
        for k in (0..even_len).step_by(SIDE) {
            // SAFETY: rows j..j + SIDE of `from` hold k..k + SIDE by the assertion, rows k..k +
            // SIDE of `panel` hold j..j + SIDE since j + SIDE <= lanes; one slice is borrowed
            // mutably, so they do not overlap.
            unsafe {
                let (from, to) =
                    (from.as_ptr().add(j * stride + k), panel.as_mut_ptr().add(k * lanes + j));
                s.transpose(from, stride, to, lanes);
            }
        }
    }
    for j in 0..count {
        let begin = if j < even_rows { even_len } else { 0 };
        for k in begin..len {
            panel[k * lanes + j] = from[j * stride + k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;

    #[test]
    fn panels_hold_the_matrix_and_zeros() {
        let from: Vec<f32> = (0..40 * 25).map(|i| i as f32).collect();
        for (len, count, lanes) in
            [(25, 16, 16), (24, 8, 8), (7, 5, 8), (17, 13, 16), (1, 1, 8), (25, 32, 32)]
        {
            let mut panel = vec![f32::NAN; len * lanes];
            transposed(Scalar, &from, 25, len, count, lanes, &mut panel);
            let expected = |k: usize, j: usize| if j < count { from[j * 25 + k] } else { 0.0 };
            for k in 0..len {
                (0..lanes).for_each(|j| {
                    assert_eq!(panel[k * lanes + j], expected(k, j), "{len} {count} {lanes}")
                });
            }
            let count = count.min(25);
            rows(Scalar, &from, 25, count, lanes, &mut panel);
            for k in 0..len {
                let row = |j: usize| if j < count { from[k * 25 + j] } else { 0.0 };
                (0..lanes).for_each(|j| {
                    assert_eq!(panel[k * lanes + j], row(j), "{len} {count} {lanes}")
                });
            }
        }
    }
}
