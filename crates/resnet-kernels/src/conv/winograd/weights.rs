//! The weights' transform.

use std::marker::PhantomData;
use std::ops::Range;

use super::lines::{Algorithm, F, plane};
use super::products::{Arrange, Products};
use super::tiles::{LANES, points};
use crate::simd::{Simd, Task};

/// Side of the blocks that [`Simd::transpose`] takes, and rows of U that a task makes.
pub(super) const SIDE: usize = 8;

/// Some rows (input channels) of U = G w Gᵀ, stored as panels [point][panel][c_in][lanes].
pub(super) struct WeightTask<'a, P, const O: usize, const I: usize> {
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Whether w is read transposed and turned.
    pub(super) transposed: bool,
    pub(super) rows: Range<usize>,
    pub(super) w: &'a [f32],
    pub(super) u: *mut f32,
    pub(super) products: PhantomData<P>,
}

impl<P: Products, const O: usize, const I: usize> Task for WeightTask<'_, P, O, I>
where
    F: Algorithm<O, I>,
{
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightTask { c_in, c_out, transposed, rows, w, u, .. } = self;
        assert!(w.len() == 9 * c_in * c_out);
        let u = points::<I>(u, c_in / P::IN_WORD * c_out);
        let w = w.as_ptr();
        // Turned weights of eight rows and sixteen columns, where w has them transposed.
        let mut turned = [0f32; 9 * SIDE * LANES];
        for (panel, lanes) in P::panels::<S>(0..c_out) {
            for n in (panel..panel + lanes).step_by(S::LANES) {
                if transposed && (n - panel).is_multiple_of(LANES.min(lanes)) {
                    // SAFETY: w's length is asserted above; rows come in eights.
                    unsafe { turn(s, c_in, c_out, w, rows.start, n, &mut turned) };
                }
                for k in rows.clone() {
                    let mut taps = [[w; 3]; 3];
                    for (i, line) in taps.iter_mut().enumerate() {
                        for (j, tap) in line.iter_mut().enumerate() {
                            *tap = if transposed {
                                let at = ((i * 3 + j) * SIDE + k - rows.start) * LANES;
                                turned[at + n % LANES..].as_ptr()
                            } else {
                                w.wrapping_add(((i * 3 + j) * c_in + k) * c_out + n)
                            };
                        }
                    }
                    let first = panel * (c_in / P::IN_WORD);
                    // SAFETY: row k and columns n..n + LANES are inside w (whose length is asserted
                    // above) or `turned`; U holds c_in x c_out numbers at each point, of which this
                    // task alone writes its rows.
                    unsafe {
                        let plane =
                            plane::<S, f32, <F as Algorithm<O, I>>::Weight, 3, I>(s, &taps, 0);
                        for i in 0..I {
                            for j in 0..I {
                                P::Across::put(
                                    s,
                                    u[i][j].add(first),
                                    lanes,
                                    k,
                                    n - panel,
                                    plane[i][j],
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Fills `turned` = [tap][8][16] with the weights of rows from `k` and columns from n / 16 · 16 on:
/// w is [tap][column][row] here, and the taps run backwards.
///
/// # Safety
/// `w` is valid for reading nine taps of c_out x c_in numbers, n is a column's and k + 8 at most
/// the number of rows.
#[inline(always)]
unsafe fn turn<S: Simd>(
    s: S,
    c_in: usize,
    c_out: usize,
    w: *const f32,
    k: usize,
    n: usize,
    turned: &mut [f32; 9 * SIDE * LANES],
) {
    let n = n / LANES * LANES;
    for tap in 0..9 {
        for half in (0..LANES).step_by(SIDE) {
            let from = ((8 - tap) * c_out + n + half) * c_in + k;
            let to = &mut turned[tap * SIDE * LANES + half..];
            // SAFETY: w holds nine taps of c_out x c_in numbers; c_out is a multiple of 16, c_in of
            // 8, so that the eight rows from n + half and the eight numbers from k exist. `to`
            // holds eight rows of 16, less `half`.
            unsafe { s.transpose(w.add(from), c_in, to.as_mut_ptr(), LANES) };
        }
    }
}
