//! Max and average pools.
//!
//! ```text
//! x: [n, h, w, c]   y: [n, h_out, w_out, c], f32 or bf16
//! ```
//! A max pool's rim never wins. The first maximum of a window wins; NaN wins over numbers, as in PyTorch. The winner is
//! found again in the backward pass: reading x twice is cheaper than storing and reading an index for every output.

use crate::cpu::Parts;
use crate::each::{Each, each};
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number};

/// Shape of a square pool over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2dShape {
    /// Images.
    pub n: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Rim on each side; at most half the window, and 0 for average pools.
    pub padding: usize,
}

impl Pool2dShape {
    /// Output height.
    pub fn h_out(&self) -> usize {
        (self.h + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }

    /// Output width.
    pub fn w_out(&self) -> usize {
        (self.w + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }

    /// Numbers in the input.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Numbers in the output.
    pub fn y_len(&self) -> usize {
        self.n * self.h_out() * self.w_out() * self.c
    }

    /// Whether the numbers make a pool.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self) -> Result<(), String> {
        let Pool2dShape {
            n,
            h,
            w,
            c,
            kernel,
            stride,
            padding,
        } = *self;
        if n == 0 || h == 0 || w == 0 || c == 0 || kernel == 0 || stride == 0 {
            return Err("images, sides, channels, window and stride must be at least 1".into());
        }
        if padding > kernel / 2 {
            return Err(format!(
                "padding {padding} is more than half of window {kernel}"
            ));
        }
        if kernel > h + 2 * padding || kernel > w + 2 * padding {
            return Err(format!(
                "window {kernel} is larger than the {h}x{w} input with padding {padding}"
            ));
        }
        Ok(())
    }

    fn assert(&self, what: &str, x: usize, y: usize) {
        if let Err(reason) = self.check() {
            panic!("{what}: {reason}");
        }
        assert!(
            x == self.x_len() && y == self.y_len(),
            "{what}: {self:?} does not fit {x} inputs and {y} outputs"
        );
    }

    fn x_image(&self) -> usize {
        self.h * self.w * self.c
    }

    fn y_image(&self) -> usize {
        self.h_out() * self.w_out() * self.c
    }

    /// The part of the window of output (i, j) inside the image: rows and columns.
    #[inline(always)]
    fn window(&self, i: usize, j: usize) -> [std::ops::Range<usize>; 2] {
        let side = |i: usize, len: usize| {
            let start = i * self.stride;
            start.saturating_sub(self.padding)..(start + self.kernel - self.padding).min(len)
        };
        [side(i, self.h), side(j, self.w)]
    }
}

/// y = the maximum of each window.
pub fn max_forward<T: Number>(cpu: &Cpu, shape: &Pool2dShape, x: &[T], y: &mut [T]) {
    shape.assert("max pool", x.len(), y.len());
    // Few images are cut into rows, so that all threads have some.
    let cuts = (4 * cpu.threads()).div_ceil(shape.n).min(shape.h_out());
    let rows = shape.h_out().div_ceil(cuts);
    let cuts = shape.h_out().div_ceil(rows);
    let row_len = shape.w_out() * shape.c;
    let y = Parts::new(y);
    cpu.parallel(shape.n * cuts, |task| {
        let (image, cut) = (task / cuts, task % cuts);
        let rows = range(shape.h_out(), rows, cut);
        let start = image * shape.y_image();
        // SAFETY: each task has its own rows.
        let y = unsafe { y.get(start + rows.start * row_len..start + rows.end * row_len) };
        cpu.run(MaxForward {
            shape,
            x: &x[image * shape.x_image()..][..shape.x_image()],
            first: rows.start,
            y,
        });
    });
}

/// dx (+)= dy at each window's winner.
pub fn max_backward<T: Number>(
    cpu: &Cpu,
    shape: &Pool2dShape,
    x: &[T],
    dy: &[T],
    dx: &mut [T],
    accumulate: bool,
) {
    shape.assert("max pool", x.len(), dy.len());
    assert_eq!(x.len(), dx.len(), "max pool: x and dx differ in length");
    let x_image = shape.x_image();
    let dx = Parts::new(dx);
    cpu.parallel(shape.n, |i| {
        // SAFETY: each task has its own image.
        let dx = unsafe { dx.get(i * x_image..(i + 1) * x_image) };
        if !accumulate {
            dx.fill(T::default());
        }
        let (x, dy) = (
            &x[i * x_image..(i + 1) * x_image],
            &dy[i * shape.y_image()..(i + 1) * shape.y_image()],
        );
        cpu.run(MaxBackward { shape, x, dy, dx });
    });
}

/// y = the mean of each window.
///
/// # Panics
/// If the shape has padding, or a length does not fit.
pub fn avg_forward<T: Number>(cpu: &Cpu, shape: &Pool2dShape, x: &[T], y: &mut [T]) {
    shape.assert("average pool", x.len(), y.len());
    assert_eq!(shape.padding, 0, "average pool: padding is not supported");
    each_image(
        cpu,
        shape,
        x,
        y,
        shape.x_image(),
        shape.y_image(),
        |x, y| cpu.run(AvgForward { shape, x, y }),
    );
}

/// dx (+)= dy / kernel² at each pixel of the window.
///
/// # Panics
/// If the shape has padding, or a length does not fit.
pub fn avg_backward<T: Number>(
    cpu: &Cpu,
    shape: &Pool2dShape,
    dy: &[T],
    dx: &mut [T],
    accumulate: bool,
) {
    shape.assert("average pool", dx.len(), dy.len());
    assert_eq!(shape.padding, 0, "average pool: padding is not supported");
    each_image(
        cpu,
        shape,
        dy,
        dx,
        shape.y_image(),
        shape.x_image(),
        |dy, dx| {
            if !accumulate {
                dx.fill(T::default());
            }
            cpu.run(AvgBackward { shape, dy, dx });
        },
    );
}

/// y = the mean over all pixels; x: `[n][pixels][c]`, y: `[n][c]`.
pub fn global_avg_forward<T: Number>(
    cpu: &Cpu,
    n: usize,
    pixels: usize,
    c: usize,
    x: &[T],
    y: &mut [f32],
) {
    assert!(
        pixels > 0 && x.len() == n * pixels * c && y.len() == n * c,
        "global average pool: x or y has a wrong length"
    );
    let y = Parts::new(y);
    cpu.parallel(n, |i| {
        // SAFETY: each task has its own image.
        let y = unsafe { y.get(i * c..(i + 1) * c) };
        cpu.run(GlobalForward {
            x: &x[i * pixels * c..(i + 1) * pixels * c],
            y,
        });
    });
}

/// dx (+)= dy / pixels at every pixel.
pub fn global_avg_backward<T: Number>(
    cpu: &Cpu,
    n: usize,
    pixels: usize,
    c: usize,
    dy: &[f32],
    dx: &mut [T],
    accumulate: bool,
) {
    assert!(
        pixels > 0 && dx.len() == n * pixels * c && dy.len() == n * c,
        "global average pool: dx or dy has a wrong length"
    );
    let dx = Parts::new(dx);
    cpu.parallel(n, |i| {
        // SAFETY: each task has its own image.
        let dx = unsafe { dx.get(i * pixels * c..(i + 1) * pixels * c) };
        cpu.run(GlobalBackward {
            dy: &dy[i * c..(i + 1) * c],
            dx,
            accumulate,
        });
    });
}

/// Runs `f` on every image's part of `from` and `to`.
fn each_image<T: Number>(
    cpu: &Cpu,
    shape: &Pool2dShape,
    from: &[T],
    to: &mut [T],
    from_image: usize,
    to_image: usize,
    f: impl Fn(&[T], &mut [T]) + Sync,
) {
    let to = Parts::new(to);
    cpu.parallel(shape.n, |i| {
        // SAFETY: each task has its own image.
        let to = unsafe { to.get(i * to_image..(i + 1) * to_image) };
        f(&from[i * from_image..(i + 1) * from_image], to);
    });
}

/// Some rows of one image.
struct MaxForward<'a, T> {
    shape: &'a Pool2dShape,
    x: &'a [T],
    first: usize,
    y: &'a mut [T],
}

impl<T: Number> Task for MaxForward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MaxForward { shape, x, first, y } = self;
        let c = shape.c;
        for (pixel, y) in y.chunks_exact_mut(c).enumerate() {
            let (i, j) = (first + pixel / shape.w_out(), pixel % shape.w_out());
            let work = Maximum {
                window: Window::new(shape, x, i, j),
                y: y.as_mut_ptr(),
            };
            // SAFETY: y is a pixel, the window's are x's, all of c channels.
            unsafe { each(s, c, work) };
        }
    }
}

/// The pixels of x that an output reads: `rows` x `columns` of them from `x` on.
#[derive(Clone, Copy)]
struct Window<T> {
    x: *const T,
    rows: usize,
    columns: usize,
    /// Numbers from row to row, and from pixel to pixel.
    pitch: usize,
    c: usize,
}

impl<T> Window<T> {
    /// Of output (i, j) of one image.
    #[inline(always)]
    fn new(shape: &Pool2dShape, x: &[T], i: usize, j: usize) -> Window<T> {
        let [rows, columns] = shape.window(i, j);
        let pitch = shape.w * shape.c;
        let first = rows.start * pitch + columns.start * shape.c;
        let last = (rows.end - 1) * pitch + columns.end * shape.c;
        Window {
            x: x[first..last].as_ptr(),
            rows: rows.len(),
            columns: columns.len(),
            pitch,
            c: shape.c,
        }
    }

    /// Offsets of the pixels from `x` on.
    #[inline(always)]
    fn pixels(self) -> impl Iterator<Item = usize> {
        let row = move |i| (0..self.columns).map(move |j| i * self.pitch + j * self.c);
        (0..self.rows).flat_map(row)
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
                best = s.where_beats(x, best, x, best);
            }
            T::store(s, self.y.add(at), best);
        }
    }
}

struct MaxBackward<'a, T> {
    shape: &'a Pool2dShape,
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Number> Task for MaxBackward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MaxBackward { shape, x, dy, dx } = self;
        let c = shape.c;
        assert_eq!(x.len(), dx.len());
        for (pixel, dy) in dy.chunks_exact(c).enumerate() {
            let window = Window::new(shape, x, pixel / shape.w_out(), pixel % shape.w_out());
            // SAFETY: the window begins inside x.
            let first = unsafe { window.x.offset_from(x.as_ptr()) } as usize;
            let work = MaximumGradient {
                window,
                dy: dy.as_ptr(),
                dx: dx[first..].as_mut_ptr(),
            };
            // SAFETY: dy is a pixel, the window's are x's and dx's, which are of one length, all of c channels.
            unsafe { each(s, c, work) };
        }
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
                best = s.where_beats(x, best, x, best);
            }
            let dy = T::load(s, self.dy.add(at));
            for (i, pixel) in self.window.pixels().enumerate() {
                let dx = self.dx.add(pixel + at);
                // 1 where it is the winner, at most 0 elsewhere.
                let off = s.sub(winner, s.splat(i as f32));
                let wins = s.fma(off, s.sub(s.splat(0.0), off), s.splat(1.0));
                let sum = s.add(T::load(s, dx), s.where_positive(wins, dy));
                T::store(s, dx, sum);
            }
        }
    }
}

struct AvgForward<'a, T> {
    shape: &'a Pool2dShape,
    x: &'a [T],
    y: &'a mut [T],
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

struct AvgBackward<'a, T> {
    shape: &'a Pool2dShape,
    dy: &'a [T],
    dx: &'a mut [T],
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
                    let work = Share {
                        dy: dy.as_ptr(),
                        share,
                        dx: dx.as_mut_ptr(),
                    };
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
            T::store(s, dx, s.fma(s.splat(self.share), dy, T::load(s, dx)));
        }
    }
}

/// sums += x.
#[inline(always)]
fn add<T: Number>(sums: &mut [f32], x: &[T]) {
    let both = sums.iter_mut().zip(x);
    both.for_each(|(sum, x)| *sum += x.get());
}

struct GlobalForward<'a, T> {
    x: &'a [T],
    y: &'a mut [f32],
}

impl<T: Number> Task for GlobalForward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let c = self.y.len();
        let share = 1.0 / (self.x.len() / c.max(1)) as f32;
        self.y.fill(0.0);
        for x in self.x.chunks_exact(c.max(1)) {
            add(self.y, x);
        }
        self.y.iter_mut().for_each(|y| *y *= share);
    }
}

struct GlobalBackward<'a, T> {
    dy: &'a [f32],
    dx: &'a mut [T],
    accumulate: bool,
}

impl<T: Number> Task for GlobalBackward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let c = self.dy.len();
        let share = 1.0 / (self.dx.len() / c.max(1)) as f32;
        let keep = if self.accumulate { 1.0 } else { 0.0 };
        for dx in self.dx.chunks_exact_mut(c.max(1)) {
            if keep == 0.0 {
                dx.iter_mut()
                    .zip(self.dy)
                    .for_each(|(dx, g)| *dx = T::of(share * g));
            } else {
                dx.iter_mut()
                    .zip(self.dy)
                    .for_each(|(dx, g)| *dx = T::of(dx.get() + share * g));
            }
        }
    }
}
