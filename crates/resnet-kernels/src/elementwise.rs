//! ReLU, addition and a change of storage as passes of their own; next to a batch norm the first
//! two are part of its pass. A narrower b is added to a sum that is stored already, which rounds
//! maps of bf16 once more.
//!
//! ```text
//! y = max(x, 0), NaN kept     dx = dy where y > 0
//! y = a + b, b perhaps narrower     da = dy, db = its channels of dy
//! ```

use crate::cpu::Parts;
use crate::residual::pixels_per_task;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};
use crate::{Cpu, Number, Residual, ResidualGrad};

/// y = x, or y += x, stored differently.
pub fn convert<A: Number, B: Number>(cpu: &Cpu, x: &[A], y: &mut [B], accumulate: bool) {
    assert_eq!(x.len(), y.len(), "convert: x and y differ in length");
    let y = Parts::new(y);
    cpu.parallel(chunks(x.len(), CHUNK), |i| {
        let part = range(x.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let y = unsafe { y.get(part.clone()) };
        cpu.run(Convert { x: &x[part], y, accumulate });
    });
}

struct Convert<'a, A, B> {
    x: &'a [A],
    y: &'a mut [B],
    accumulate: bool,
}

impl<A: Number, B: Number> Task for Convert<'_, A, B> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let both = self.y.iter_mut().zip(self.x);
        if self.accumulate {
            both.for_each(|(y, x)| *y = B::of(y.get() + x.get()));
        } else {
            both.for_each(|(y, x)| *y = B::of(x.get()));
        }
    }
}

/// y = max(x, 0).
pub fn relu_forward<T: Number>(cpu: &Cpu, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "relu: x and y differ in length");
    let y = Parts::new(y);
    cpu.parallel(chunks(x.len(), CHUNK), |i| {
        let part = range(x.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let y = unsafe { y.get(part.clone()) };
        cpu.run(Relu { x: &x[part], y });
    });
}

struct Relu<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Number> Task for Relu<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = T::of(relu(x.get()));
        }
    }
}

/// max(x, 0) that keeps NaN.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// dx (+)= dy where y > 0, else 0.
pub fn relu_backward<T: Number>(cpu: &Cpu, dy: &[T], y: &[T], dx: &mut [T], accumulate: bool) {
    assert!(dy.len() == y.len() && dx.len() == y.len(), "relu: dy, y and dx differ in length");
    spread(cpu, dy, Some(y), 1, 1, 0, dx, accumulate);
}

/// y = a + b, then max(y, 0) if `relu`; a and y: `[pixels][channels]`.
pub fn add_forward<T: Number>(
    cpu: &Cpu,
    a: &[T],
    b: Residual<T>,
    channels: usize,
    relu: bool,
    y: &mut [T],
) {
    assert!(
        a.len() == y.len() && channels > 0 && a.len().is_multiple_of(channels),
        "add: a and y must be [pixels][{channels}]"
    );
    let pixels = a.len() / channels;
    b.check("add", pixels, channels);
    let y = Parts::new(y);
    let size = pixels_per_task(channels);
    cpu.parallel(chunks(pixels, size), |i| {
        let part = range(pixels, size, i);
        let wide = part.start * channels..part.end * channels;
        // SAFETY: tasks take disjoint ranges of pixels.
        let y = unsafe { y.get(wide.clone()) };
        let b = Residual { values: &b.values[part.start * b.channels..part.end * b.channels], ..b };
        cpu.run(Add { a: &a[wide], b, channels, relu, y });
    });
}

struct Add<'a, T> {
    a: &'a [T],
    b: Residual<'a, T>,
    channels: usize,
    relu: bool,
    y: &'a mut [T],
}

impl<T: Number> Task for Add<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Add { a, b, channels, relu: has_relu, y } = self;
        let floor = if has_relu { 0.0 } else { f32::NEG_INFINITY };
        if b.channels == channels {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b.values) {
                let sum = a.get() + b.get();
                *y = T::of(if sum < floor { floor } else { sum });
            }
            return;
        }
        for ((y, a), r) in y
            .chunks_exact_mut(channels)
            .zip(a.chunks_exact(channels))
            .zip(b.values.chunks(b.channels.max(1)))
        {
            y.copy_from_slice(a);
            for (y, r) in y[b.offset..b.offset + b.channels].iter_mut().zip(r) {
                *y = T::of(y.get() + r.get());
            }
            for y in y.iter_mut() {
                let sum = y.get();
                *y = T::of(if sum < floor { floor } else { sum });
            }
        }
    }
}

/// da (+)= g, db (+)= its channels of g, where g = dy, or dy where y > 0 if the sum went through a
/// ReLU.
///
/// dy, y, da: `[pixels][channels]`; `da` comes with whether it is added to.
pub fn add_backward<T: Number>(
    cpu: &Cpu,
    dy: &[T],
    y: Option<&[T]>,
    channels: usize,
    da: Option<(&mut [T], bool)>,
    db: Option<ResidualGrad<T>>,
) {
    assert!(
        channels > 0 && dy.len().is_multiple_of(channels),
        "add: dy must be [pixels][{channels}]"
    );
    assert!(y.is_none_or(|y| y.len() == dy.len()), "add: y and dy differ in length");
    if let Some((da, accumulate)) = da {
        assert_eq!(da.len(), dy.len(), "add: da and dy differ in length");
        spread(cpu, dy, y, 1, 1, 0, da, accumulate);
    }
    if let Some(db) = db {
        db.check("add", dy.len() / channels, channels);
        // With all channels the rows are one run.
        let (wide, narrow) = if db.channels == channels { (1, 1) } else { (channels, db.channels) };
        spread(cpu, dy, y, wide, narrow, db.offset, db.values, db.accumulate);
    }
}

/// d[pixel][c] (+)= g[pixel][offset + c] for c < narrow, g = dy where y > 0 (or everywhere); dy and
/// y have `wide` channels.
fn spread<T: Number>(
    cpu: &Cpu,
    dy: &[T],
    y: Option<&[T]>,
    wide: usize,
    narrow: usize,
    offset: usize,
    d: &mut [T],
    accumulate: bool,
) {
    let pixels = dy.len() / wide;
    let d = Parts::new(d);
    let size = pixels_per_task(wide);
    cpu.parallel(chunks(pixels, size), |i| {
        let part = range(pixels, size, i);
        let rows = part.start * wide..part.end * wide;
        // SAFETY: tasks take disjoint ranges of pixels.
        let d = unsafe { d.get(part.start * narrow..part.end * narrow) };
        cpu.run(Spread {
            dy: &dy[rows.clone()],
            y: y.map(|y| &y[rows]),
            wide,
            narrow,
            offset,
            d,
            accumulate,
        });
    });
}

struct Spread<'a, T> {
    dy: &'a [T],
    y: Option<&'a [T]>,
    wide: usize,
    narrow: usize,
    offset: usize,
    d: &'a mut [T],
    accumulate: bool,
}

impl<T: Number> Task for Spread<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Spread { dy, y, wide, narrow, offset, d, accumulate } = self;
        // Equal widths: one row holds everything.
        let (wide, narrow) =
            if wide == narrow { (dy.len().max(1), d.len()) } else { (wide, narrow) };
        if narrow == 0 {
            return;
        }
        for (i, d) in d.chunks_exact_mut(narrow).enumerate() {
            let start = i * wide + offset;
            let dy = &dy[start..start + narrow];
            match (y, accumulate) {
                (None, false) => d.copy_from_slice(dy),
                (None, true) => {
                    let both = d.iter_mut().zip(dy);
                    both.for_each(|(d, g)| *d = T::of(d.get() + g.get()));
                }
                (Some(y), false) => {
                    for ((d, &g), &y) in d.iter_mut().zip(dy).zip(&y[start..start + narrow]) {
                        *d = if y.get() > 0.0 { g } else { T::default() };
                    }
                }
                (Some(y), true) => {
                    for ((d, &g), &y) in d.iter_mut().zip(dy).zip(&y[start..start + narrow]) {
                        let g = if y.get() > 0.0 { g.get() } else { 0.0 };
                        *d = T::of(d.get() + g);
                    }
                }
            }
        }
    }
}
