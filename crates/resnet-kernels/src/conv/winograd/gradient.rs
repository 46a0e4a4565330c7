//! Weight gradient: P[c_in][c_out] = Σ over tiles of V[tile][c_in] · W[tile][c_out] at each of the 36 points, V = Bᵀ x B and
//! W = A dy Aᵀ; then dw = Gᵀ P G.
//!
//! Tiles are cut into chunks by shape alone; each chunk's P is kept apart and they are added in order, so the number of
//! threads changes nothing. Where P is large there are few chunks, and the output channels are split instead.

use std::ops::Range;

use super::correlate::input;
use super::lines::{Input, OutputGradient, WeightGradient, plane};
use super::products::Words;
use super::{IN, Map, OUT, POINTS, Tiling, even, for_reading, pitch, points, stride};
use crate::conv::tile::{WIDE, heights, outer, panels};
use crate::conv::{Conv2dShape, bias, scratch};
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number};

/// Most chunks: balances some eight threads.
const CHUNKS: usize = 16;
/// Fewest tiles in a chunk, so that adding the chunks up costs little.
const CHUNK: usize = 128;
/// Most numbers in all chunks' P together (64 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 24;
/// Most tiles in a block: so often a number of P, once read, is added to.
const BLOCK: usize = 64;
/// Output channels in a part at least: V is made again for each part.
const PART: usize = 64;

#[derive(Clone, Copy)]
struct Plan<'a> {
    shape: &'a Conv2dShape,
    tiling: Tiling,
    /// Tiles in a block, blocks in a chunk, and chunks.
    block: usize,
    blocks: usize,
    chunks: usize,
    /// Output channels in a part, and parts.
    part: usize,
    split: usize,
}

impl<'a> Plan<'a> {
    fn new(cpu: &Cpu, shape: &'a Conv2dShape) -> Plan<'a> {
        let (c_in, c_out) = (shape.c_in, shape.c_out);
        let tiling = Tiling::new(shape.n, shape.h_out(), shape.w_out(), OUT);
        let chunks = (PARTIAL / (POINTS * c_in * c_out))
            .min(tiling.count() / CHUNK)
            .clamp(1, CHUNKS);
        // The split changes no bit, so it may depend on the threads.
        let split = (4 * cpu.threads())
            .div_ceil(chunks)
            .min(c_out.div_ceil(PART));
        let part = c_out.div_ceil(PART).div_ceil(split) * PART;
        let chunk = tiling.count().div_ceil(chunks);
        let block = even(chunk, BLOCK, 1);
        let blocks = chunk.div_ceil(block);
        Plan {
            shape,
            tiling,
            block,
            blocks,
            chunks: tiling.count().div_ceil(block * blocks),
            part,
            split,
        }
    }

    /// Numbers in a chunk's P.
    fn len(&self) -> usize {
        POINTS * self.shape.c_in * self.shape.c_out
    }

    /// Lengths of a thread's parts of scratch: V, W, zeros, offsets.
    fn parts(&self) -> [usize; 4] {
        let (c_in, c_out) = (self.shape.c_in, self.shape.c_out);
        [
            POINTS * stride(self.block, c_in),
            POINTS * stride(self.block, self.part.min(c_out)),
            c_in.max(c_out),
            self.block,
        ]
    }
}

/// Numbers of scratch.
pub(super) fn scratch_len(cpu: &Cpu, shape: &Conv2dShape) -> usize {
    let plan = Plan::new(cpu, shape);
    let own = plan.chunks * plan.len() + scratch::len(&plan.parts()) * cpu.threads();
    own.max(bias::scratch_len(shape))
}

/// dw = the gradient of w, db = that of the bias.
pub(in crate::conv) fn backward_weight<T: Number>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    if let Some(db) = db {
        bias::backward(cpu, dy, db, scratch);
    }
    let plan = Plan::new(cpu, shape);
    let (partial, scratch) = scratch.split_at_mut(plan.chunks * plan.len());
    {
        let each = scratch::len(&plan.parts());
        let (partial, scratch) = (Parts::new(partial), Parts::new(scratch));
        cpu.parallel_workers(plan.chunks * plan.split, |worker, task| {
            // SAFETY: no two running tasks have the same worker index.
            let scratch = unsafe { scratch.get(worker * each..(worker + 1) * each) };
            let chunk = task / plan.split;
            let channels = range(shape.c_out, plan.part, task % plan.split);
            if !channels.is_empty() {
                let p = partial.start_of(chunk * plan.len()..(chunk + 1) * plan.len());
                cpu.run(Gradient {
                    plan: &plan,
                    chunk,
                    channels,
                    x,
                    dy,
                    p,
                    scratch,
                });
            }
        });
    }
    let (partial, dw) = (&*partial, Parts::new(dw));
    cpu.parallel(shape.c_in, |k| {
        cpu.run(Finish {
            plan: &plan,
            k,
            partial,
            dw: dw.start_of(0..9 * shape.c_in * shape.c_out),
        });
    });
}

/// One chunk's P for some output channels.
struct Gradient<'a, T> {
    plan: &'a Plan<'a>,
    chunk: usize,
    channels: Range<usize>,
    x: &'a [T],
    dy: &'a [T],
    /// All of the chunk's P.
    p: *mut f32,
    scratch: &'a mut [f32],
}

impl<T: Number> Task for Gradient<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient {
            plan,
            chunk,
            channels,
            x,
            dy,
            p,
            scratch,
        } = self;
        let shape = plan.shape;
        let (c_in, c_out, width) = (shape.c_in, shape.c_out, channels.len());
        let [v, w, zeros, offsets] = scratch::split(scratch, plan.parts());
        zeros.fill(0.0);
        let zeros = T::view(zeros, c_in.max(c_out));
        let offsets = scratch::as_u32(offsets);
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = (i * pitch(c_in)) as u32;
        }
        let x = Map {
            values: x,
            h: shape.h,
            w: shape.w,
            channels: c_in,
        };
        let dy = Map {
            values: dy,
            h: shape.h_out(),
            w: shape.w_out(),
            channels: c_out,
        };
        assert!(
            v.len() >= POINTS * stride(plan.block, c_in)
                && w.len() >= POINTS * stride(plan.block, width)
        );
        let v = points::<IN>(v.as_mut_ptr(), stride(plan.block, c_in));
        let w = points::<IN>(w.as_mut_ptr(), stride(plan.block, width));
        let p = points::<IN>(p.wrapping_add(channels.start), c_in * c_out);
        let all = plan.tiling.count();
        let first = chunk * plan.blocks * plan.block;
        for block in 0..plan.blocks {
            let start = first + block * plan.block;
            let tiles = start.min(all)..(start + plan.block).min(all);
            if tiles.is_empty() {
                break;
            }
            let offsets = &offsets[..tiles.len()];
            // SAFETY: by the assertion V and W hold a row for each of at most `block` tiles; P holds c_in rows of c_out numbers at
            // each point, of which this task alone touches its channels, and which the first block fills.
            unsafe {
                input::<S, T, Words, Input, IN>(
                    s,
                    x,
                    plan.tiling,
                    shape.padding,
                    tiles.clone(),
                    &v,
                    pitch(c_in),
                    zeros,
                );
                output_gradient(s, dy, plan.tiling, tiles, channels.clone(), &w, zeros);
                for i in 0..IN {
                    for j in 0..IN {
                        let product = Product {
                            v: v[i][j],
                            c_in,
                            offsets,
                            w: w[i][j],
                            width,
                            p: p[i][j],
                            c_out,
                            add: block > 0,
                        };
                        product.run(s);
                    }
                }
            }
        }
    }
}

/// W = A dy Aᵀ of the tiles, a row of `channels` each, at each of the points `w`.
///
/// # Safety
/// Each point is valid for writing `tiles.len()` rows of `channels.len()` numbers, `pitch(channels.len())` apart.
#[inline(always)]
unsafe fn output_gradient<S: Simd, T: Number>(
    s: S,
    dy: Map<T>,
    tiling: Tiling,
    tiles: Range<usize>,
    channels: Range<usize>,
    w: &[[*mut f32; IN]; IN],
    zeros: &[T],
) {
    assert!(zeros.len() >= dy.channels && channels.end <= dy.channels);
    let pitch = pitch(channels.len());
    for (row, tile) in tiles.enumerate() {
        let (image, i, j) = tiling.place(tile);
        let from = dy.square::<OUT>(image, i as isize, j as isize, zeros.as_ptr());
        for at in (0..channels.len()).step_by(S::LANES) {
            // SAFETY: every pixel, or the zeros in its place, holds all channels; the caller vouches for the points.
            unsafe {
                let plane = plane::<S, T, OutputGradient, OUT, IN>(s, &from, channels.start + at);
                for i in 0..IN {
                    for j in 0..IN {
                        s.store(w[i][j].add(row * pitch + at), plane[i][j]);
                    }
                }
            }
        }
    }
}

/// P (+)= Vᵀ W at one point.
struct Product<'a> {
    v: *const f32,
    c_in: usize,
    /// Of each tile's row of V.
    offsets: &'a [u32],
    w: *const f32,
    width: usize,
    p: *mut f32,
    c_out: usize,
    add: bool,
}

impl Product<'_> {
    /// # Safety
    /// V holds c_in and W `width` numbers for each tile, P `width` numbers in each of c_in rows (initialised if `add`), c_out
    /// apart.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, s: S) {
        for (n, lanes) in panels::<S>(0..self.width) {
            // Channels are a multiple of 16, of which sixes leave nothing, four or eight.
            for (k, height) in heights(self.c_in) {
                // SAFETY: as the caller vouches; the heights add up to c_in, the panels to `width`.
                unsafe {
                    match (lanes > S::LANES, height == WIDE) {
                        (true, true) => self.tile::<S, WIDE, 2>(s, k, n),
                        (true, false) => self.tile::<S, 4, 2>(s, k, n),
                        (false, true) => self.tile::<S, WIDE, 1>(s, k, n),
                        (false, false) => self.tile::<S, 4, 1>(s, k, n),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Product::run`], rows k..k + MR and NV vectors from column n on being inside.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, s: S, k: usize, n: usize) {
        let mut x = [self.v; MR];
        let mut p = [self.p; MR];
        for r in 0..MR {
            x[r] = self.v.wrapping_add(k + r);
            p[r] = self.p.wrapping_add((k + r) * self.c_out + n);
        }
        let w = self.w.wrapping_add(n);
        // SAFETY: as the caller vouches.
        unsafe { outer::<S, MR, NV>(s, &x, self.offsets, w, pitch(self.width), self.add, &p) };
    }
}

/// dw = Gᵀ P G, P being the sum of the chunks, for one input channel.
struct Finish<'a> {
    plan: &'a Plan<'a>,
    k: usize,
    partial: &'a [f32],
    dw: *mut f32,
}

impl Task for Finish<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Finish {
            plan,
            k,
            partial,
            dw,
        } = self;
        let (c_in, c_out) = (plan.shape.c_in, plan.shape.c_out);
        assert!(k < c_in && partial.len() >= plan.chunks * plan.len());
        let mut sums = [0f32; POINTS * super::LANES];
        let from = for_reading(&points::<IN>(sums.as_mut_ptr(), super::LANES));
        for at in (0..c_out).step_by(S::LANES) {
            // SAFETY: `partial` holds `chunks` times c_in x c_out numbers at 36 points, `sums` a vector at each; dw holds nine taps
            // of c_in x c_out numbers, of which this task alone writes row k.
            unsafe {
                for (e, point) in from.iter().flatten().enumerate() {
                    let from = partial.as_ptr().add((e * c_in + k) * c_out + at);
                    let mut sum = s.load(from);
                    for chunk in 1..plan.chunks {
                        sum = s.add(sum, s.load(from.add(chunk * plan.len())));
                    }
                    s.store(point.cast_mut(), sum);
                }
                let plane = plane::<S, f32, WeightGradient, IN, 3>(s, &from, 0);
                for i in 0..3 {
                    for j in 0..3 {
                        s.store(dw.add(((i * 3 + j) * c_in + k) * c_out + at), plane[i][j]);
                    }
                }
            }
        }
    }
}
