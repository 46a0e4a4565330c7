//! Forward pass and input gradient.

use std::marker::PhantomData;
use std::ops::Range;

use super::lines::{Algorithm, F, Line, plane};
use super::products::{Arrange, Products};
use super::tiles::{Map, SMALL_IN, Tiling, even, for_reading, pitch, points, stride};
use super::weights::{SIDE, WeightTask};
use crate::conv::epilogue::Epilogue;
use crate::conv::packed;
use crate::conv::shape::Conv2dShape;
use crate::conv::tile::LANES;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number, Scratch, ScratchLen, scratch};

/// Words of V and M that a task aims for: three quarters of a 512 KiB second-level cache.
const BLOCK: usize = 96 << 10;
/// Fewest tiles in a block even so: so often a panel of U, once read, is used.
const FEWEST: usize = 48;
/// Tiles from the one in work to the one whose pixels are fetched from memory meanwhile, with large
/// tiles only.
const AHEAD: usize = 2;

/// A correlation of x [n][h][w][c_in] with 3x3 weights to y [n][h_out][w_out][c_out], by tiles of O
/// x O outputs from I x I inputs.
#[derive(Clone, Copy)]
struct Correlation<P, const O: usize, const I: usize> {
    products: PhantomData<P>,
    /// Whether this is the input gradient, so that weights are read transposed and turned.
    transposed: bool,
    h: usize,
    w: usize,
    c_in: usize,
    h_out: usize,
    w_out: usize,
    c_out: usize,
    padding: usize,
    tiling: Tiling,
    /// Tiles in a block, and parts of the output channels.
    block: usize,
    split: usize,
}

impl<P: Products, const O: usize, const I: usize> Correlation<P, O, I>
where
    F: Algorithm<O, I>,
{
    const POINTS: usize = I * I;

    fn new(cpu: &Cpu, shape: &Conv2dShape, transposed: bool) -> Correlation<P, O, I> {
        let (mut h, mut w, mut c_in) = (shape.h, shape.w, shape.c_in);
        let (mut h_out, mut w_out, mut c_out) = (shape.h_out(), shape.w_out(), shape.c_out);
        let mut padding = shape.padding;
        if transposed {
            (h, w, c_in, h_out, w_out, c_out) = (h_out, w_out, c_out, h, w, c_in);
            padding = 2 - padding;
        }
        let tiling = Tiling::new(shape.n, h_out, w_out, O);
        let wanted = 4 * cpu.threads();
        let fits = BLOCK / (Self::POINTS * (c_in / P::IN_WORD + c_out));
        let most = fits.min(tiling.count().div_ceil(wanted)).max(FEWEST);
        let block = even(tiling.count(), most, P::ROWS);
        let blocks = tiling.count().div_ceil(block);
        let split =
            if cpu.threads() == 1 { 1 } else { wanted.div_ceil(blocks).min(c_out.div_ceil(LANES)) };
        Correlation {
            products: PhantomData,
            transposed,
            h,
            w,
            c_in,
            h_out,
            w_out,
            c_out,
            padding,
            tiling,
            block,
            split,
        }
    }

    /// Output channels in a part.
    fn part(&self) -> usize {
        self.c_out.div_ceil(LANES).div_ceil(self.split) * LANES
    }

    /// Lengths of a thread's parts of scratch: V, M, zeros, and pixels of the last tiles that lie
    /// outside y.
    fn parts(&self) -> [usize; 4] {
        let width = self.part().min(self.c_out);
        [
            Self::POINTS * stride(self.block, self.c_in / P::IN_WORD),
            Self::POINTS * stride(self.block, width),
            self.c_in.max(LANES),
            width,
        ]
    }

    /// Words of one point's U.
    fn point_len(&self) -> usize {
        self.c_in / P::IN_WORD * self.c_out
    }

    /// Words of U.
    fn packed_len(&self) -> usize {
        Self::POINTS * self.point_len()
    }

    fn scratch_len(&self, shared: usize) -> ScratchLen {
        ScratchLen::of(shared, &self.parts())
    }

    /// U = G w Gᵀ.
    fn pack(&self, cpu: &Cpu, w: &[f32], u: &mut [f32]) {
        let u = Parts::new(u);
        cpu.parallel(self.c_in / SIDE, |task| {
            cpu.run(WeightTask::<P, O, I> {
                c_in: self.c_in,
                c_out: self.c_out,
                transposed: self.transposed,
                rows: task * SIDE..(task + 1) * SIDE,
                w,
                u: u.start_of(0..self.packed_len()),
                products: PhantomData,
            });
        });
    }

    fn run<T: Number>(
        &self,
        cpu: &Cpu,
        x: &[T],
        u: &[f32],
        epilogue: Epilogue<T>,
        y: &mut [T],
        accumulate: bool,
        scratch: Scratch,
    ) {
        let products = P::new(cpu);
        let len = y.len();
        let y = Parts::new(y);
        let tasks = self.tiling.count().div_ceil(self.block) * self.split;
        scratch::parallel(cpu, tasks, scratch, |mut own, task| {
            let channels = range(self.c_out, self.part(), task % self.split);
            if !channels.is_empty() {
                cpu.run(BlockTask {
                    c: self,
                    products,
                    tiles: range(self.tiling.count(), self.block, task / self.split),
                    channels,
                    x: Map { values: x, h: self.h, w: self.w, channels: self.c_in },
                    u: packed::of(u, self.packed_len(), own.worker),
                    epilogue,
                    y: y.start_of(0..len),
                    accumulate,
                    laid_out: own.finds_laid_out(task / self.split),
                    scratch: own.memory,
                });
            }
        });
    }
}

/// Numbers of scratch for both passes, U of the backward pass included.
pub(super) fn scratch_len<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> ScratchLen
where
    F: Algorithm<O, I>,
{
    let backward = Correlation::<P, O, I>::new(cpu, shape, true);
    let backward = backward.scratch_len(packed::len(cpu, backward.packed_len()));
    backward.max(forward_scratch_len::<P, O, I>(cpu, shape))
}

/// Numbers of scratch for [`forward`].
pub(in crate::conv) fn forward_scratch_len<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> ScratchLen
where
    F: Algorithm<O, I>,
{
    Correlation::<P, O, I>::new(cpu, shape, false).scratch_len(0)
}

/// Numbers of the weights packed for [`forward`].
pub(in crate::conv) fn packed_len<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> usize
where
    F: Algorithm<O, I>,
{
    Correlation::<P, O, I>::new(cpu, shape, false).packed_len()
}

/// Packs w for [`forward`].
pub(in crate::conv) fn pack<P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    w: &[f32],
    packed: &mut [f32],
) where
    F: Algorithm<O, I>,
{
    Correlation::<P, O, I>::new(cpu, shape, false).pack(cpu, w, packed);
}

/// y = x * w, and what `epilogue` makes of it.
pub(in crate::conv) fn forward<T: Number, P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    x: &[T],
    packed: &[f32],
    epilogue: Epilogue<T>,
    y: &mut [T],
    scratch: Scratch,
) where
    F: Algorithm<O, I>,
{
    Correlation::<P, O, I>::new(cpu, shape, false).run(cpu, x, packed, epilogue, y, false, scratch);
}

/// dx (+)= dy * wᵀ.
pub(in crate::conv) fn backward_input<T: Number, P: Products, const O: usize, const I: usize>(
    cpu: &Cpu,
    shape: &Conv2dShape,
    dy: &[T],
    w: &[f32],
    dx: &mut [T],
    accumulate: bool,
    mut scratch: Scratch,
) where
    F: Algorithm<O, I>,
{
    let c = Correlation::<P, O, I>::new(cpu, shape, true);
    let u = packed::by_threads(cpu, c.packed_len(), &mut scratch, |u| c.pack(cpu, w, u));
    c.run(cpu, dy, u, Epilogue::default(), dx, accumulate, scratch);
}

/// All three stages for some tiles and output channels.
struct BlockTask<'a, T, P, const O: usize, const I: usize> {
    c: &'a Correlation<P, O, I>,
    products: P,
    tiles: Range<usize>,
    channels: Range<usize>,
    x: Map<'a, T>,
    u: &'a [f32],
    epilogue: Epilogue<'a, T>,
    y: *mut T,
    accumulate: bool,
    /// Whether V is in scratch.
    laid_out: bool,
    scratch: &'a mut [f32],
}

impl<T: Number, P: Products, const O: usize, const I: usize> Task for BlockTask<'_, T, P, O, I>
where
    F: Algorithm<O, I>,
{
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let [v, m, zeros, outside] = scratch::split(scratch, self.c.parts());
        let width = self.channels.len();
        assert!(
            v.len() >= I * I * stride(self.tiles.len(), self.c.c_in / P::IN_WORD)
                && m.len() >= I * I * stride(self.tiles.len(), width)
                && outside.len() >= width
        );
        let v = points::<I>(v.as_mut_ptr(), stride(self.tiles.len(), self.c.c_in / P::IN_WORD));
        let m = points::<I>(m.as_mut_ptr(), stride(self.tiles.len(), width));
        // SAFETY: the points hold a row of c_in or `width` numbers for each tile, by the assertion;
        // V is this task's, or the same block's by the thread's task before.
        unsafe {
            if !self.laid_out {
                zeros.fill(0.0);
                input::<S, T, P::Along, <F as Algorithm<O, I>>::Input, I>(
                    s,
                    self.x,
                    self.c.tiling,
                    self.c.padding,
                    self.tiles.clone(),
                    &v,
                    pitch(self.c.c_in / P::IN_WORD),
                    T::view(zeros, self.c.c_in),
                );
            }
            self.multiply(s, &v, &m);
            self.output(s, &m, T::view_mut(outside, width));
        }
    }
}

/// V = Bᵀ x B of the tiles, L being Bᵀ, a row of channels each, at each of the points `v`.
///
/// # Safety
/// Each point is valid for writing `tiles.len()` rows of `x.channels` numbers, arranged as A does
/// in `pitch` words.
#[inline(always)]
pub(super) unsafe fn input<S: Simd, T: Number, A: Arrange, L: Line<I, I>, const I: usize>(
    s: S,
    x: Map<T>,
    tiling: Tiling,
    padding: usize,
    tiles: Range<usize>,
    v: &[[*mut f32; I]; I],
    pitch: usize,
    zeros: &[T],
) {
    assert!(zeros.len() >= x.channels);
    for (row, tile) in tiles.enumerate() {
        let (image, i, j) = tiling.place(tile);
        let first = |at: usize| at as isize - padding as isize;
        let from = x.square::<I>(image, first(i), first(j), zeros.as_ptr());
        for at in (0..x.channels).step_by(S::LANES) {
            if I > SMALL_IN {
                for line in &from {
                    for pixel in &line[I - tiling.out..] {
                        s.prefetch(pixel.wrapping_add(AHEAD * tiling.out * x.channels + at));
                    }
                }
            }
            // SAFETY: every pixel, or the zeros in its place, holds `channels` numbers, a multiple
            // of LANES; the caller vouches for the points.
            unsafe {
                let plane = plane::<S, T, L, I, I>(s, &from, at);
                for i in 0..I {
                    for j in 0..I {
                        A::put(s, v[i][j], pitch, row, at, plane[i][j]);
                    }
                }
            }
        }
    }
}

impl<T: Number, P: Products, const O: usize, const I: usize> BlockTask<'_, T, P, O, I>
where
    F: Algorithm<O, I>,
{
    /// M = V U at each point.
    ///
    /// # Safety
    /// Each point of `v` holds a row of c_in numbers for each tile, each of `m` has room for one of
    /// the task's channels.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, s: S, v: &[[*mut f32; I]; I], m: &[[*mut f32; I]; I]) {
        let len = self.c.point_len();
        for e in 0..I * I {
            let (v, m) = (v[e / I][e % I].cast_const(), m[e / I][e % I]);
            let u = &self.u[e * len..][..len];
            let (tiles, channels) = (self.tiles.len(), self.channels.clone());
            // SAFETY: as the caller vouches.
            unsafe { self.products.multiply(s, v, u, self.c.c_in, m, tiles, channels) };
        }
    }

    /// y (+)= Aᵀ M A, and what the epilogue makes of it.
    ///
    /// # Safety
    /// Each point of `m` holds a row of the task's channels for each tile; y is the whole output,
    /// of which this task alone touches its tiles and channels; `outside` has room for its
    /// channels.
    #[inline(always)]
    unsafe fn output<S: Simd>(&self, s: S, m: &[[*mut f32; I]; I], outside: &mut [T]) {
        let c = self.c;
        let m = for_reading(m);
        let (width, pitch) = (self.channels.len(), pitch(self.channels.len()));
        // What is written there is never used, but it may be read to be added to.
        outside.fill(T::default());
        for (row, tile) in self.tiles.clone().enumerate() {
            let (image, i0, j0) = c.tiling.place(tile);
            let mut to = [[outside.as_mut_ptr(); O]; O];
            // Where pixels are in y; for those outside, any that exists.
            let mut offsets = [[self.channels.start; O]; O];
            for (i, line) in to.iter_mut().enumerate() {
                for (j, pixel) in line.iter_mut().enumerate() {
                    if i0 + i < c.h_out && j0 + j < c.w_out {
                        let at = (image * c.h_out + i0 + i) * c.w_out + j0 + j;
                        offsets[i][j] = at * c.c_out + self.channels.start;
                        *pixel = self.y.wrapping_add(offsets[i][j]);
                    }
                }
            }
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: as the caller vouches; a tile's pixels inside the map are pixels of y.
                unsafe {
                    let plane = plane::<S, f32, <F as Algorithm<O, I>>::Output, I, O>(
                        s,
                        &m,
                        row * pitch + at,
                    );
                    let columns = self.epilogue.columns(s, self.channels.start + at);
                    for i in 0..O {
                        for j in 0..O {
                            let (to, first) = (to[i][j].add(at), offsets[i][j] + at);
                            let mut y = plane[i][j];
                            if self.accumulate {
                                y = s.add(y, T::load(s, to));
                            }
                            T::store(s, to, self.epilogue.apply(s, columns, y, first));
                        }
                    }
                }
            }
        }
    }
}
