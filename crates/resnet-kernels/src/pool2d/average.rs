//! Mean of a window.

use super::{Pool2dShape, Window};
use crate::Number;
use crate::each::{Each, each};
use crate::simd::{Simd, Task};

pub(super) struct AvgForward<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) x: &'a [T],
    pub(super) y: &'a mut [T],
}

impl<T: Number> Task for AvgForward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AvgForward { shape, x, y } = self;
        let (c, share) = (shape.c, 1.0 / (shape.kernel * shape.kernel) as f32);
        for (pixel, y) in y.chunks_exact_mut(c).enumerate() {
            let work = Mean {
                window: Window::new(shape, x, pixel / shape.w_out(), pixel % shape.w_out()),
                share,
                y: y.as_mut_ptr(),
            };
            // SAFETY: y is a pixel, the window's are x's, all of c channels.
            unsafe { each(s, c, work) };
        }
    }
}

/// y = the mean of a window.
struct Mean<T> {
    window: Window<T>,
    share: f32,
    y: *mut T,
}

impl<T: Number> Each for Mean<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        let mut sum = s.splat(0.0);
        // SAFETY: the caller vouches for a vector at `at` of every pixel.
        unsafe {
            for pixel in self.window.pixels() {
                sum = s.add(sum, T::load(s, self.window.x.add(pixel + at)));
            }
            let mean = s.fma(sum, s.splat(self.share), s.splat(0.0));
            T::store(s, self.y.add(at), mean);
        }
    }
}

pub(super) struct AvgBackward<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) dy: &'a [T],
    pub(super) dx: &'a mut [T],
}

impl<T: Number> Task for AvgBackward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AvgBackward { shape, dy, dx } = self;
        let (c, share) = (shape.c, 1.0 / (shape.kernel * shape.kernel) as f32);
        for (pixel, dy) in dy.chunks_exact(c).enumerate() {
            let [rows, columns] = shape.window(pixel / shape.w_out(), pixel % shape.w_out());
            for row in rows {
                for column in columns.clone() {
                    let dx = &mut dx[(row * shape.w + column) * c..][..c];
                    let work = Share { dy: dy.as_ptr(), share, dx: dx.as_mut_ptr() };
                    // SAFETY: both are pixels of c channels.
                    unsafe { each(s, c, work) };
                }
            }
        }
    }
}

/// dx += share dy.
struct Share<T> {
    dy: *const T,
    share: f32,
    dx: *mut T,
}

impl<T: Number> Each for Share<T> {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let (dy, dx) = (T::load(s, self.dy.add(at)), self.dx.add(at));
            // Rounded before it is added, so that vectors and single numbers give the same bits.
            let share = s.fma(s.splat(self.share), dy, s.splat(0.0));
            T::store(s, dx, s.add(T::load(s, dx), share));
        }
    }
}
