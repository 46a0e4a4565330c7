//! The register tiles that multiply in f32. MR rows by NV vectors of accumulators stay in
//! registers; every step loads NV vectors, broadcasts MR numbers and does MR·NV fused
//! multiply-adds.

use std::ops::Range;

use crate::simd::Simd;

/// Rows of the tile that is two vectors wide: 12 accumulators hide the latency of two FMA units (2
/// x 4 or 5 cycles), and with two vectors and a broadcast they fit 16 registers, their six row
/// pointers the general registers.
pub(super) const WIDE: usize = 6;
/// Rows of the tile that is two vectors wide where there are 32 registers.
pub(super) const TALL: usize = 8;
/// Rows of the tile that is one vector wide.
pub(super) const NARROW: usize = 8;

/// The panels that output channels are cut into: first channel, and columns of two vectors or one.
#[inline(always)]
pub(super) fn panels<S: Simd>(channels: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let mut n = channels.start;
    std::iter::from_fn(move || {
        let left = channels.end.saturating_sub(n);
        let lanes = if left > S::LANES { 2 * S::LANES } else { S::LANES };
        n += lanes;
        (left > 0).then(|| (n - lanes, lanes))
    })
}

/// The tiles that rows of a weight gradient are cut into: first row, and six rows, or four where
/// fours come out even. The last six may reach beyond the rows.
#[inline(always)]
pub(super) fn heights(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut k = 0;
    std::iter::from_fn(move || {
        let left = rows.saturating_sub(k);
        let height = if left == 4 || left == 8 { 4 } else { WIDE };
        k += height;
        (left > 0).then(|| (k - height, height))
    })
}

/// Most columns of a panel: two of the widest vectors. Parts of output channels are multiples of
/// it.
pub(super) const LANES: usize = 32;

/// What each row of x is read as: `runs` runs of `len` numbers, `pitch` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub(super) runs: usize,
    pub(super) len: usize,
    pub(super) pitch: usize,
}

/// What is fetched while a tile is computed: from where on, and numbers for each step of the
/// reduction.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    from: *const f32,
    step: usize,
}

/// Tiles that bring what is needed next, at most: the more share it, the less one waits for memory.
const SHARES: usize = 4;

impl Ahead {
    /// The part that the `i`-th of `tiles` brings of the `depth` rows of `lanes` numbers that begin
    /// at `next`; `None` where others do.
    pub(super) fn share(
        next: *const f32,
        depth: usize,
        lanes: usize,
        i: usize,
        tiles: usize,
    ) -> Option<Ahead> {
        let shares = tiles.min(SHARES);
        (i < shares).then(|| Ahead {
            from: next.wrapping_add(depth * lanes * i / shares),
            step: lanes.div_ceil(shares),
        })
    }
}

/// y[r] (+)= Σ_k x[r][k] w[k], a row of w being NV vectors; y starts from `start`, or from itself
/// if that is null. What `ahead` says is brought into the caches meanwhile.
///
/// # Safety
/// Each `x[r]` is valid for reading the runs, `w` for runs·len·NV vectors, `start` is null or valid
/// for NV vectors, each `y[r]` is valid for writing (and, if `start` is null, holds) NV vectors.
/// Rows of y may be the same memory.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    x: &[*const f32; MR],
    k: Runs,
    w: *const f32,
    start: *const f32,
    y: &[*mut f32; MR],
    ahead: Option<Ahead>,
) {
    const IDLE: Ahead = Ahead { from: std::ptr::null(), step: 0 };
    // SAFETY: as the caller vouches.
    unsafe {
        match ahead {
            Some(ahead) => dot_fetching::<S, MR, NV, true>(s, x, k, w, start, y, ahead),
            None => dot_fetching::<S, MR, NV, false>(s, x, k, w, start, y, IDLE),
        }
    }
}

/// [`dot`], which fetches if `FETCH`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot_fetching<S: Simd, const MR: usize, const NV: usize, const FETCH: bool>(
    s: S,
    x: &[*const f32; MR],
    k: Runs,
    w: *const f32,
    start: *const f32,
    y: &[*mut f32; MR],
    mut ahead: Ahead,
) {
    let mut sums = [[s.splat(0.0); NV]; MR];
    // SAFETY: as the caller vouches; w advances by one row for every number of the runs.
    unsafe {
        for r in 0..MR {
            for v in 0..NV {
                let from = if start.is_null() { y[r].cast_const() } else { start };
                sums[r][v] = s.load(from.add(v * S::LANES));
            }
        }
        let (mut x, mut w) = (*x, w);
        for _ in 0..k.runs {
            for i in 0..k.len {
                let mut row = [s.splat(0.0); NV];
                for v in 0..NV {
                    row[v] = s.load(w.add(v * S::LANES));
                }
                if FETCH {
                    s.prefetch_far(ahead.from);
                    s.prefetch_far(ahead.from.wrapping_add(ahead.step / 2));
                    ahead.from = ahead.from.wrapping_add(ahead.step);
                }
                for r in 0..MR {
                    let a = s.splat(*x[r].add(i));
                    for v in 0..NV {
                        sums[r][v] = s.fma(a, row[v], sums[r][v]);
                    }
                }
                w = w.add(NV * S::LANES);
            }
            for r in 0..MR {
                x[r] = x[r].wrapping_add(k.pitch);
            }
        }
        for r in 0..MR {
            for v in 0..NV {
                s.store(y[r].add(v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// dw[r] (+)= Σ_p x[r][offsets[p]] dy[p], dy's rows of NV vectors being `pitch` apart; dw starts
/// from zero unless `add`.
///
/// # Safety
/// Each `x[r]` is valid for reading at every one of `offsets`, `dy` for as many rows; each `dw[r]`
/// is valid for writing (and, if `add`, holds) NV vectors. Rows of dw are the same memory only
/// where `add` is false.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    x: &[*const f32; MR],
    offsets: impl Iterator<Item = usize>,
    dy: *const f32,
    pitch: usize,
    add: bool,
    dw: &[*mut f32; MR],
) {
    let mut sums = [[s.splat(0.0); NV]; MR];
    // SAFETY: as the caller vouches.
    unsafe {
        let (x, mut dy) = (*x, dy);
        for offset in offsets {
            let mut row = [s.splat(0.0); NV];
            for v in 0..NV {
                row[v] = s.load(dy.add(v * S::LANES));
            }
            for r in 0..MR {
                let a = s.splat(*x[r].add(offset));
                for v in 0..NV {
                    sums[r][v] = s.fma(a, row[v], sums[r][v]);
                }
            }
            dy = dy.wrapping_add(pitch);
        }
        for r in 0..MR {
            for v in 0..NV {
                let to = dw[r].add(v * S::LANES);
                let sum = if add { s.add(s.load(to), sums[r][v]) } else { sums[r][v] };
                s.store(to, sum);
            }
        }
    }
}
