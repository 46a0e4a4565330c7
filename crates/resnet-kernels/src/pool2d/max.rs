//! Maximum of a window. The winner of the forward pass is found again in the backward pass.

use std::ops::Range;

use super::{Pool2dShape, Window};
use crate::Number;
use crate::each::{Each, each};
use crate::memory::CACHE_LINE;
use crate::simd::{Simd, Task};

/// Some rows of one image.
pub(super) struct MaxForward<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) x: &'a [T],
    pub(super) first: usize,
    pub(super) y: &'a mut [T],
}

impl<T: Number> Task for MaxForward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MaxForward { shape, x, first, y } = self;
        let c = shape.c;
        for (i, y) in (first..).zip(y.chunks_exact_mut(shape.w_out() * c)) {
            let next = shape.own_rows(i + 1);
            for (j, y) in y.chunks_exact_mut(c).enumerate() {
                fetch(s, shape, x, next.clone(), j);
                let work = Maximum { window: Window::new(shape, x, i, j), y: y.as_mut_ptr() };
                // SAFETY: y is a pixel, the window's are x's, all of c channels.
                unsafe { each(s, c, work) };
            }
        }
    }
}

/// y = the maximum of a window.
struct Maximum<T> {
    window: Window<T>,
    y: *mut T,
}

impl<T: Number> Each for Maximum<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        let mut best = s.splat(f32::NEG_INFINITY);
        // SAFETY: the caller vouches for a vector at `at` of every pixel.
        unsafe {
            for pixel in self.window.pixels() {
                let x = T::load(s, self.window.x.add(pixel + at));
                best = s.greater(x, best);
            }
            T::store(s, self.y.add(at), best);
        }
    }
}

/// Asks for what the j-th windows read of these rows of a map beyond those before them.
#[inline(always)]
fn fetch<S: Simd, T>(s: S, shape: &Pool2dShape, map: &[T], rows: Range<usize>, j: usize) {
    let columns = shape.own_side(j, shape.w);
    for row in rows {
        let first = map.as_ptr().wrapping_add((row * shape.w + columns.start) * shape.c);
        for number in (0..columns.len() * shape.c).step_by(CACHE_LINE / size_of::<T>()) {
            s.prefetch_far(first.wrapping_add(number));
        }
    }
}

/// One image.
pub(super) struct MaxBackward<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) x: &'a [T],
    pub(super) dy: &'a [T],
    pub(super) dx: &'a mut [T],
    pub(super) accumulate: bool,
}

impl<T: Number> Task for MaxBackward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MaxBackward { shape, x, dy, dx, accumulate } = self;
        let (c, row) = (shape.c, shape.w * shape.c);
        assert_eq!(x.len(), dx.len());
        // Rows are cleared shortly before they are added to, while they are near.
        let mut cleared = if accumulate { shape.h } else { 0 };
        for (i, dy) in dy.chunks_exact(shape.w_out() * c).enumerate() {
            let [rows, _] = shape.window(i, 0);
            let end = cleared.max(rows.end);
            dx[cleared * row..end * row].fill(T::default());
            cleared = end;
            let next = shape.own_rows(i + 1);
            for (j, dy) in dy.chunks_exact(c).enumerate() {
                fetch(s, shape, x, next.clone(), j);
                fetch(s, shape, dx, next.clone(), j);
                let window = Window::new(shape, x, i, j);
                // SAFETY: the window begins inside x.
                let first = unsafe { window.x.offset_from(x.as_ptr()) } as usize;
                let work =
                    MaximumGradient { window, dy: dy.as_ptr(), dx: dx[first..].as_mut_ptr() };
                // SAFETY: dy is a pixel, the window's are x's and dx's, which are of one length,
                // all of c channels.
                unsafe { each(s, c, work) };
            }
        }
        dx[cleared * row..].fill(T::default());
    }
}

/// dx += dy at the first maximum of a window.
struct MaximumGradient<T> {
    window: Window<T>,
    dy: *const T,
    dx: *mut T,
}

impl<T: Number> Each for MaximumGradient<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        let (mut best, mut winner) = (s.splat(f32::NEG_INFINITY), s.splat(0.0));
        // SAFETY: the caller vouches for a vector at `at` of every pixel.
        unsafe {
            for (i, pixel) in self.window.pixels().enumerate() {
                let x = T::load(s, self.window.x.add(pixel + at));
                winner = s.where_beats(x, best, s.splat(i as f32), winner);
                best = s.greater(x, best);
            }
            let dy = T::load(s, self.dy.add(at));
            for (i, pixel) in self.window.pixels().enumerate() {
                let dx = self.dx.add(pixel + at);
                let share = s.where_equal(winner, s.splat(i as f32), dy);
                T::store(s, dx, s.add(T::load(s, dx), share));
            }
        }
    }
}
