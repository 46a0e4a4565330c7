//! Max and average pools.
//!
//! ```text
//! x: [n, h, w, c]   y: [n, h_out, w_out, c], f32 or bf16
//! ```
//! A max pool's rim never wins. The first maximum of a window wins; NaN wins over numbers, as in
//! PyTorch. The winner is found again in the backward pass: reading x twice is cheaper than storing
//! and reading an index for every output.

mod average;
mod max;

use std::ops::Range;

use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::range;
use crate::{Cpu, Number};
use average::{AvgBackward, AvgForward};
use max::{MaxBackward, MaxForward};

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
        let Pool2dShape { n, h, w, c, kernel, stride, padding } = *self;
        if n == 0 || h == 0 || w == 0 || c == 0 || kernel == 0 || stride == 0 {
            return Err("images, sides, channels, window and stride must be at least 1".into());
        }
        if padding > kernel / 2 {
            return Err(format!("padding {padding} is more than half of window {kernel}"));
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
    fn window(&self, i: usize, j: usize) -> [Range<usize>; 2] {
        [self.side(i, self.h), self.side(j, self.w)]
    }

    /// The same along an axis of `len` pixels.
    #[inline(always)]
    fn side(&self, i: usize, len: usize) -> Range<usize> {
        let start = i * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel - self.padding).min(len)
    }

    /// The rows of output row `i` that the one before does not read; none if there is no such row.
    #[inline(always)]
    fn own_rows(&self, i: usize) -> Range<usize> {
        if i < self.h_out() { self.own_side(i, self.h) } else { 0..0 }
    }

    /// What the window before does not read of a side.
    #[inline(always)]
    fn own_side(&self, i: usize, len: usize) -> Range<usize> {
        let side = self.side(i, len);
        let before = if i == 0 { 0 } else { self.side(i - 1, len).end };
        side.start.max(before)..side.end
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
        cpu.run(MaxBackward {
            shape,
            x: &x[i * x_image..(i + 1) * x_image],
            dy: &dy[i * shape.y_image()..(i + 1) * shape.y_image()],
            dx,
            accumulate,
        });
    });
}

/// y = the mean of each window.
///
/// # Panics
/// If the shape has padding, or a length does not fit.
pub fn avg_forward<T: Number>(cpu: &Cpu, shape: &Pool2dShape, x: &[T], y: &mut [T]) {
    shape.assert("average pool", x.len(), y.len());
    assert_eq!(shape.padding, 0, "average pool: padding is not supported");
    each_image(cpu, shape, x, y, shape.x_image(), shape.y_image(), |x, y| {
        cpu.run(AvgForward { shape, x, y })
    });
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
    each_image(cpu, shape, dy, dx, shape.y_image(), shape.x_image(), |dy, dx| {
        if !accumulate {
            dx.fill(T::default());
        }
        cpu.run(AvgBackward { shape, dy, dx });
    });
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
        cpu.run(GlobalForward { x: &x[i * pixels * c..(i + 1) * pixels * c], y });
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
        cpu.run(GlobalBackward { dy: &dy[i * c..(i + 1) * c], dx, accumulate });
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
                dx.iter_mut().zip(self.dy).for_each(|(dx, g)| *dx = T::of(share * g));
            } else {
                dx.iter_mut().zip(self.dy).for_each(|(dx, g)| *dx = T::of(dx.get() + share * g));
            }
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
