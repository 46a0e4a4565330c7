//! The elementwise passes. A task works on slabs of columns, whose factors stay in the first-level
//! cache. Products are rounded before they are added to, so that vectors and the numbers after the
//! last one give the same bits: a pixel's do not depend on where it stands in a batch.

use super::Mask;
use super::factors::{Factors, Slopes};
use crate::each::{Each, each};
use crate::elementwise::relu;
use crate::simd::{Simd, Task};
use crate::{Number, Residual, ResidualGrad};

/// Columns of a slab at most: memory is read in pieces of this many numbers.
const SLAB: usize = 512;

/// Bytes from which on a map will have left the last-level cache (32 MiB for several maps, and
/// cores) before it is read again.
const FAR: usize = 16 << 20;

/// Whether the tasks of a map of so many numbers write it past the caches.
pub(super) fn streams<T>(len: usize) -> bool {
    len * size_of::<T>() >= FAR
}

/// One part of the forward pass.
pub(super) struct Forward<'a, T> {
    pub(super) x: &'a [T],
    pub(super) channels: usize,
    pub(super) factors: Factors<'a>,
    pub(super) residual: Option<Residual<'a, T>>,
    pub(super) relu: bool,
    pub(super) y: &'a mut [T],
    /// Whether y goes past the caches.
    pub(super) streams: bool,
}

impl<T: Number> Task for Forward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.channels;
        let (full, narrow) = match self.residual {
            Some(r) if r.channels == channels => (r.values, None),
            other => (&[][..], other),
        };
        // A narrow residual is added, and the ReLU applied, in a second walk over the part, which
        // is still cached.
        let relu_now = self.relu && narrow.is_none();
        let streams = self.streams && narrow.is_none();
        let width = self.factors.width;
        for start in (0..width).step_by(SLAB) {
            let columns = SLAB.min(width - start);
            let slab = start..start + columns;
            let factor = |all: &[f32]| all[slab.clone()].as_ptr();
            let mean = factor(self.factors.mean);
            let (scale, offset) = (factor(self.factors.scale), factor(self.factors.offset));
            let mut row = start;
            while row < self.x.len() {
                let part = row..(row + columns).min(self.x.len());
                let n = part.len();
                let (x, y) = (&self.x[part.clone()], &mut self.y[part.clone()]);
                let work = Normal {
                    x: x.as_ptr(),
                    y: y.as_mut_ptr(),
                    mean,
                    scale,
                    offset,
                    residual: (!full.is_empty()).then(|| full[part].as_ptr()),
                    relu: relu_now,
                    streams,
                };
                // SAFETY: x, y and the residual were cut to `n` numbers, at most a slab's, of which
                // the factors have as many.
                unsafe { each(s, n, work) };
                row += width;
            }
        }
        if streams {
            s.streamed();
        }
        let Some(r) = narrow else { return };
        if r.channels > 0 {
            let pixels = self.y.chunks_exact_mut(channels);
            for (y, values) in pixels.zip(r.values.chunks_exact(r.channels)) {
                let work = Sum { y: y[r.offset..][..r.channels].as_mut_ptr(), a: values.as_ptr() };
                // SAFETY: both hold the residual's channels.
                unsafe { each(s, r.channels, work) };
            }
        }
        if self.relu {
            self.y.iter_mut().for_each(|y| *y = T::of(relu(y.get())));
        }
    }
}

/// What a norm makes of x - mean: the same bits in both passes.
#[inline(always)]
pub(super) fn normal<S: Simd>(s: S, centred: S::V, scale: S::V, offset: S::V) -> S::V {
    s.add(s.fma(centred, scale, s.splat(0.0)), offset)
}

/// y = (x - mean) scale + offset, plus the residual, and its ReLU.
struct Normal<T> {
    x: *const T,
    y: *mut T,
    mean: *const f32,
    scale: *const f32,
    offset: *const f32,
    residual: Option<*const T>,
    relu: bool,
    streams: bool,
}

impl<T: Number> Each for Normal<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let factor = |all: *const f32| s.load(all.add(at));
            let centred = s.sub(T::load(s, self.x.add(at)), factor(self.mean));
            let mut y = normal(s, centred, factor(self.scale), factor(self.offset));
            if let Some(residual) = self.residual {
                y = s.add(y, T::load(s, residual.add(at)));
            }
            if self.relu {
                y = s.relu(y);
            }
            write(s, self.y.add(at), y, self.streams);
        }
    }
}

/// Writes a vector, past the caches if `streams`.
///
/// # Safety
/// `to` is valid for writing `LANES` numbers; if `streams`, as [`Simd::stream`] asks.
#[inline(always)]
unsafe fn write<S: Simd, T: Number>(s: S, to: *mut T, v: S::V, streams: bool) {
    // SAFETY: as the caller vouches.
    unsafe {
        match streams {
            true => T::stream(s, to, v),
            false => T::store(s, to, v),
        }
    }
}

/// One part of the backward pass. `d_residual` with no channels means none is wanted.
pub(super) struct Backward<'a, T> {
    pub(super) dy: &'a [T],
    pub(super) x: &'a [T],
    pub(super) mask: Mask<'a, T>,
    pub(super) channels: usize,
    pub(super) factors: Factors<'a>,
    pub(super) slopes: Slopes<'a>,
    pub(super) dx: &'a mut [T],
    pub(super) dx_accumulate: bool,
    pub(super) d_residual: ResidualGrad<'a, T>,
    /// Whether what is not added to goes past the caches.
    pub(super) streams: bool,
}

impl<T: Number> Task for Backward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { dy, x, mask, channels, dx, dx_accumulate, d_residual: d, streams, .. } =
            self;
        let full = d.channels == channels;
        let (factors, slopes) = (self.factors, self.slopes);
        let width = factors.width;
        for start in (0..width).step_by(SLAB) {
            let columns = SLAB.min(width - start);
            let slab = start..start + columns;
            let factor = |all: &[f32]| all[slab.clone()].as_ptr();
            let [mean, scale, offset, mean_g, slope] =
                [factors.mean, factors.scale, factors.offset, slopes.mean_g, slopes.slope]
                    .map(factor);
            let mut row = start;
            while row < x.len() {
                let part = row..(row + columns).min(x.len());
                let n = part.len();
                let (dy, x, dx) = (&dy[part.clone()], &x[part.clone()], &mut dx[part.clone()]);
                let work = Gradient {
                    dy: dy.as_ptr(),
                    x: x.as_ptr(),
                    mask: match mask {
                        Mask::None => Kept::All,
                        Mask::Output(y) => Kept::Output(y[part.clone()].as_ptr()),
                        Mask::Again(_) => Kept::Again(offset),
                    },
                    scale,
                    mean,
                    mean_g,
                    slope,
                    dx: dx.as_mut_ptr(),
                    dx_accumulate,
                    d_residual: full.then(|| d.values[part].as_mut_ptr()),
                    d_accumulate: d.accumulate,
                    streams,
                };
                // SAFETY: all maps were cut to `n` numbers, at most a slab's, of which the factors
                // have as many.
                unsafe { each(s, n, work) };
                row += width;
            }
        }
        if streams {
            s.streamed();
        }
        if full || d.channels == 0 {
            return;
        }
        for (i, d_values) in d.values.chunks_exact_mut(d.channels).enumerate() {
            let at = i * channels + d.offset..i * channels + d.offset + d.channels;
            let work = Narrow {
                dy: dy[at.clone()].as_ptr(),
                y: mask.output().map(|y| y[at].as_ptr()),
                d_residual: d_values.as_mut_ptr(),
                accumulate: d.accumulate,
            };
            // SAFETY: all hold the residual's channels.
            unsafe { each(s, d.channels, work) };
        }
    }
}

/// y += a.
struct Sum<T> {
    y: *mut T,
    a: *const T,
}

impl<T: Number> Each for Sum<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let sum = s.add(T::load(s, self.y.add(at)), T::load(s, self.a.add(at)));
            T::store(s, self.y.add(at), sum);
        }
    }
}

/// d_residual (+)= dy where y > 0.
struct Narrow<T> {
    dy: *const T,
    y: Option<*const T>,
    d_residual: *mut T,
    accumulate: bool,
}

impl<T: Number> Each for Narrow<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let mut g = T::load(s, self.dy.add(at));
            if let Some(y) = self.y {
                g = s.where_positive(T::load(s, y.add(at)), g);
            }
            if self.accumulate {
                g = s.add(g, T::load(s, self.d_residual.add(at)));
            }
            T::store(s, self.d_residual.add(at), g);
        }
    }
}

/// A [`Mask`] within a slab.
#[derive(Clone, Copy)]
enum Kept<T> {
    All,
    Output(*const T),
    /// The slab's offsets.
    Again(*const f32),
}

/// g = dy where y > 0; dx (+)= scale (g - mean_g + (x - mean) slope), d_residual (+)= g.
struct Gradient<T> {
    dy: *const T,
    x: *const T,
    mask: Kept<T>,
    scale: *const f32,
    mean: *const f32,
    mean_g: *const f32,
    slope: *const f32,
    dx: *mut T,
    dx_accumulate: bool,
    d_residual: Option<*mut T>,
    d_accumulate: bool,
    streams: bool,
}

impl<T: Number> Each for Gradient<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let factor = |all: *const f32| s.load(all.add(at));
            let old = |map: *mut T, add: bool| match add {
                true => T::load(s, map.add(at)),
                false => s.splat(0.0),
            };
            let dy = T::load(s, self.dy.add(at));
            let centred = s.sub(T::load(s, self.x.add(at)), factor(self.mean));
            let g = match self.mask {
                Kept::All => dy,
                Kept::Output(y) => s.where_positive(T::load(s, y.add(at)), dy),
                Kept::Again(offset) => {
                    let y = normal(s, centred, factor(self.scale), factor(offset));
                    s.where_positive(y, dy)
                }
            };
            let own = s.fma(centred, factor(self.slope), s.splat(0.0));
            let own = s.add(s.sub(g, factor(self.mean_g)), own);
            let dx = s.fma(factor(self.scale), own, s.splat(0.0));
            let dx = s.add(dx, old(self.dx, self.dx_accumulate));
            let streams = self.streams && !self.dx_accumulate;
            write(s, self.dx.add(at), dx, streams);
            if let Some(d) = self.d_residual {
                let sum = s.add(g, old(d, self.d_accumulate));
                write(s, d.add(at), sum, self.streams && !self.d_accumulate);
            }
        }
    }
}
