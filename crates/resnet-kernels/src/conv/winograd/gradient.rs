//! Weight gradient: P[c_in][c_out] = Σ over tiles of V[tile][c_in] · W[tile][c_out] at each of the
//! points, V = Bᵀ x B and W = A dy Aᵀ; then dw = Gᵀ P G.
//!
//! Tiles are cut into chunks by shape alone; each chunk's P is kept apart and they are added in
//! order, so the number of threads changes nothing. Where P is large there are few chunks, and the
//! output channels are split instead.

use std::marker::PhantomData;
use std::ops::Range;

use super::correlate::input;
use super::lines::{Algorithm, F, Line, plane};
use super::products::{Arrange, PointGradient, Products};
use super::tiles::{Map, Tiling, even, for_reading, pitch, points, stride};
use crate::conv::bias;
use crate::conv::partials::add_up;
use crate::conv::shape::Conv2dShape;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number, Scratch, ScratchLen, scratch};

/// Most chunks: balances some eight threads.
const CHUNKS: usize = 16;
/// Most points of an algorithm.
const MOST: usize = 36;
/// Columns of P that are added up together: rows of 512 bytes.
const STRIP: usize = 128;
/// Most numbers in all chunks' P together (64 MiB), unless one alone is larger.
const PARTIAL: usize = 1 << 24;
/// Output channels in a part at least: V is made again for each part.
const PART: usize = 64;

#[derive(Clone, Copy)]
struct Plan<'a, P, const O: usize, const I: usize> {
    products: PhantomData<P>,
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

impl<'a, P: Products, const O: usize, const I: usize> Plan<'a, P, O, I> {
    const POINTS: usize = I * I;

    fn new(cpu: &Cpu, shape: &'a Conv2dShape) -> Plan<'a, P, O, I> {
        let (c_in, c_out) = (shape.c_in, shape.c_out);
        let tiling = Tiling::new(shape.n, shape.h_out(), shape.w_out(), O);
        let chunks = (PARTIAL / (Self::POINTS * c_in * c_out))
            .min(tiling.count() / P::CHUNK)
            .clamp(1, CHUNKS);
        // The split changes no bit, so it may depend on the threads.
        let split = (4 * cpu.threads()).div_ceil(chunks).min(c_out.div_ceil(PART));
        let part = c_out.div_ceil(PART).div_ceil(split) * PART;
        let chunk = tiling.count().div_ceil(chunks);
        let block = even(chunk, P::BLOCK, P::IN_WORD);
        let blocks = chunk.div_ceil(block);
        Plan {
            products: PhantomData,
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
        Self::POINTS * self.shape.c_in * self.shape.c_out
    }

    /// Words from one point's matrix of `channels` to the next point's.
    fn stride(&self, channels: usize) -> usize {
        stride(self.block.div_ceil(P::IN_WORD), channels)
    }

    /// Lengths of a thread's parts of scratch: V, W, zeros.
    fn parts(&self) -> [usize; 3] {
        let (c_in, c_out) = (self.shape.c_in, self.shape.c_out);
        [
            Self::POINTS * self.stride(c_in),
            Self::POINTS * self.stride(self.part.min(c_out)),
            c_in.max(c_out),
        ]
    }
}

/// Numbers of scratch.
pub(super) fn scratch_len<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> ScratchLen {
    let plan = Plan::<P, O, I>::new(cpu, shape);
    let shared = (plan.chunks * plan.len()).max(bias::scratch_len(shape));
    ScratchLen::of(shared, &plan.parts())
}

/// dw = the gradient of w, db = that of the bias.
pub(in crate::conv) fn backward_weight<T: Number, P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[T],
    dy: &[T],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    mut scratch: Scratch,
) where
    F: Algorithm<O, I>,
{
    if let Some(db) = db {
        bias::backward(cpu, dy, db, scratch.again().shared());
    }
    let plan = Plan::<P, O, I>::new(cpu, shape);
    let products = P::new(cpu);
    let partial = scratch.take(plan.chunks * plan.len());
    {
        let partial = Parts::new(partial);
        scratch::parallel(cpu, plan.chunks * plan.split, scratch, |own, task| {
            let chunk = task / plan.split;
            let channels = range(shape.c_out, plan.part, task % plan.split);
            if !channels.is_empty() {
                let p = partial.start_of(chunk * plan.len()..(chunk + 1) * plan.len());
                cpu.run(Gradient {
                    plan: &plan,
                    products,
                    chunk,
                    channels,
                    x,
                    dy,
                    p,
                    scratch: own.memory,
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
struct Gradient<'a, T, P, const O: usize, const I: usize> {
    plan: &'a Plan<'a, P, O, I>,
    products: P,
    chunk: usize,
    channels: Range<usize>,
    x: &'a [T],
    dy: &'a [T],
    /// All of the chunk's P.
    p: *mut f32,
    scratch: &'a mut [f32],
}

impl<T: Number, P: Products, const O: usize, const I: usize> Task for Gradient<'_, T, P, O, I>
where
    F: Algorithm<O, I>,
{
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { plan, products, chunk, channels, x, dy, p, scratch } = self;
        let shape = plan.shape;
        let (c_in, c_out, width) = (shape.c_in, shape.c_out, channels.len());
        let [v, w, zeros] = scratch::split(scratch, plan.parts());
        zeros.fill(0.0);
        let zeros = T::view(zeros, c_in.max(c_out));
        let x = Map { values: x, h: shape.h, w: shape.w, channels: c_in };
        let dy = Map { values: dy, h: shape.h_out(), w: shape.w_out(), channels: c_out };
        assert!(v.len() >= I * I * plan.stride(c_in) && w.len() >= I * I * plan.stride(width));
        let v = points::<I>(v.as_mut_ptr(), plan.stride(c_in));
        let w = points::<I>(w.as_mut_ptr(), plan.stride(width));
        let p = points::<I>(p.wrapping_add(channels.start), c_in * c_out);
        let all = plan.tiling.count();
        let first = chunk * plan.blocks * plan.block;
        for block in 0..plan.blocks {
            let start = first + block * plan.block;
            let tiles = start.min(all)..(start + plan.block).min(all);
            if tiles.is_empty() {
                break;
            }
            // SAFETY: by the assertion V and W hold a row for each of at most `block` tiles,
            // rounded up to whole words; P holds c_in rows of c_out numbers at each point, of which
            // this task alone touches its channels, and which the first block fills.
            unsafe {
                input::<S, T, P::Across, <F as Algorithm<O, I>>::Input, I>(
                    s,
                    x,
                    plan.tiling,
                    shape.padding,
                    tiles.clone(),
                    &v,
                    pitch(c_in),
                    zeros,
                );
                output_gradient::<S, T, P::Across, <F as Algorithm<O, I>>::OutputGradient, O, I>(
                    s,
                    dy,
                    plan.tiling,
                    tiles.clone(),
                    channels.clone(),
                    &w,
                    zeros,
                );
                if !tiles.len().is_multiple_of(P::IN_WORD) {
                    fill::<S, P::Across, I>(s, &v, tiles.len(), c_in);
                    fill::<S, P::Across, I>(s, &w, tiles.len(), width);
                }
                for i in 0..I {
                    for j in 0..I {
                        let point = PointGradient {
                            v: v[i][j],
                            rows: c_in,
                            w: w[i][j],
                            columns: width,
                            tiles: tiles.len(),
                            p: p[i][j],
                            stride: c_out,
                            add: block > 0,
                        };
                        products.outer(s, point);
                    }
                }
            }
        }
    }
}

/// Zeros in a row of every point.
///
/// # Safety
/// Each point is valid for writing `channels` numbers in this row, arranged as A does; in pairs,
/// the even row before it was put.
#[inline(always)]
unsafe fn fill<S: Simd, A: Arrange, const I: usize>(
    s: S,
    points: &[[*mut f32; I]; I],
    row: usize,
    channels: usize,
) {
    for &point in points.iter().flatten() {
        for at in (0..channels).step_by(S::LANES) {
            // SAFETY: as the caller vouches.
            unsafe { A::put(s, point, pitch(channels), row, at, s.splat(0.0)) };
        }
    }
}

/// W = A dy Aᵀ of the tiles, L being A, a row of `channels` each, at each of the points `w`.
///
/// # Safety
/// Each point is valid for writing `tiles.len()` rows of `channels.len()` numbers, arranged as
/// `Arrangement` does.
#[inline(always)]
unsafe fn output_gradient<
    S: Simd,
    T: Number,
    Arrangement: Arrange,
    L: Line<O, I>,
    const O: usize,
    const I: usize,
>(
    s: S,
    dy: Map<T>,
    tiling: Tiling,
    tiles: Range<usize>,
    channels: Range<usize>,
    w: &[[*mut f32; I]; I],
    zeros: &[T],
) {
    assert!(zeros.len() >= dy.channels && channels.end <= dy.channels);
    let pitch = pitch(channels.len());
    for (row, tile) in tiles.enumerate() {
        let (image, i, j) = tiling.place(tile);
        let from = dy.square::<O>(image, i as isize, j as isize, zeros.as_ptr());
        for at in (0..channels.len()).step_by(S::LANES) {
            // SAFETY: every pixel, or the zeros in its place, holds all channels; the caller
            // vouches for the points.
            unsafe {
                let plane = plane::<S, T, L, O, I>(s, &from, channels.start + at);
                for i in 0..I {
                    for j in 0..I {
                        Arrangement::put(s, w[i][j], pitch, row, at, plane[i][j]);
                    }
                }
            }
        }
    }
}

/// dw = Gᵀ P G, P being the sum of the chunks, for one input channel.
struct Finish<'a, P, const O: usize, const I: usize> {
    plan: &'a Plan<'a, P, O, I>,
    k: usize,
    partial: &'a [f32],
    dw: *mut f32,
}

impl<P: Products, const O: usize, const I: usize> Task for Finish<'_, P, O, I>
where
    F: Algorithm<O, I>,
{
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Finish { plan, k, partial, dw } = self;
        let (c_in, c_out) = (plan.shape.c_in, plan.shape.c_out);
        assert!(k < c_in && partial.len() == plan.chunks * plan.len());
        const { assert!(I * I <= MOST) };
        let mut sums = [[0f32; STRIP]; MOST];
        for strip in (0..c_out).step_by(STRIP) {
            let width = STRIP.min(c_out - strip);
            for (e, sums) in sums[..I * I].iter_mut().enumerate() {
                let start = (e * c_in + k) * c_out + strip;
                add_up(partial, plan.len(), start, &mut sums[..width]);
            }
            let from = for_reading(&points::<I>(sums.as_mut_ptr().cast(), STRIP));
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: `sums` holds `width` numbers at each point; dw holds nine taps of c_in x
                // c_out numbers, of which this task alone writes row k.
                unsafe {
                    let plane =
                        plane::<S, f32, <F as Algorithm<O, I>>::WeightGradient, I, 3>(s, &from, at);
                    for i in 0..3 {
                        for j in 0..3 {
                            let to = ((i * 3 + j) * c_in + k) * c_out + strip + at;
                            s.store(dw.add(to), plane[i][j]);
                        }
                    }
                }
            }
        }
    }
}
