//! Checks over whole tensors: is everything finite, what are mean and length, which channels are
//! never positive.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::Parts;
use crate::residual::pixels_per_task;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};
use crate::{Cpu, Number};

/// Whether no number is infinite or NaN.
pub fn all_finite<T: Number>(cpu: &Cpu, x: &[T]) -> bool {
    let finite = AtomicBool::new(true);
    cpu.parallel(chunks(x.len(), CHUNK), |i| {
        let mut found = true;
        cpu.run(Finite { x: &x[range(x.len(), CHUNK, i)], found: &mut found });
        if !found {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

struct Finite<'a, T> {
    x: &'a [T],
    found: &'a mut bool,
}

impl<T: Number> Task for Finite<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // All exponent bits set: infinite or NaN. Summing flags keeps the loop free of branches.
        let bad = |x: &T| u32::from(x.get().to_bits() & 0x7f80_0000 == 0x7f80_0000);
        *self.found = self.x.iter().map(bad).sum::<u32>() == 0;
    }
}

/// Pieces whose partial sums are kept; more would need memory that grows with `x`.
const SUMS: usize = 256;

/// Σ x², in f64, the same for any number of threads.
pub fn sum_of_squares<T: Number>(cpu: &Cpu, x: &[T]) -> f64 {
    sums(cpu, x).1
}

/// Σ x and Σ x², in f64, the same for any number of threads.
pub fn sums<T: Number>(cpu: &Cpu, x: &[T]) -> (f64, f64) {
    let size = x.len().div_ceil(SUMS).max(CHUNK);
    let mut sums = [[0f64; 2]; SUMS];
    let parts = Parts::new(&mut sums);
    cpu.parallel(chunks(x.len(), size), |i| {
        // SAFETY: tasks take different elements.
        let sums = unsafe { &mut parts.get(i..i + 1)[0] };
        cpu.run(Sums { x: &x[range(x.len(), size, i)], sums });
    });
    let both = sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    (both[0], both[1])
}

struct Sums<'a, T> {
    x: &'a [T],
    sums: &'a mut [f64; 2],
}

impl<T: Number> Task for Sums<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Eight sums let the compiler use vectors; their order is fixed.
        let (mut sums, mut squares) = ([0f64; 8], [0f64; 8]);
        let mut rows = self.x.chunks_exact(8);
        for row in &mut rows {
            for j in 0..8 {
                let x = f64::from(row[j].get());
                sums[j] += x;
                squares[j] += x * x;
            }
        }
        *self.sums = [sums.iter().sum(), squares.iter().sum()];
        for x in rows.remainder() {
            let x = f64::from(x.get());
            self.sums[0] += x;
            self.sums[1] += x * x;
        }
    }
}

/// Channels that are looked at together: their maxima are half of a first-level cache at most.
const BAND: usize = 2048;

/// The number of channels in which no number is positive; y: `[pixels][channels]`.
pub fn dead_channels<T: Number>(cpu: &Cpu, y: &[T], channels: usize) -> usize {
    assert!(
        channels > 0 && y.len().is_multiple_of(channels),
        "dead channels: y must be [pixels][{channels}]"
    );
    let (pixels, size) = (y.len() / channels, pixels_per_task(channels.min(BAND)));
    let mut dead = 0;
    for first in (0..channels).step_by(BAND) {
        let alive = [const { AtomicBool::new(false) }; BAND];
        let count = BAND.min(channels - first);
        cpu.parallel(chunks(pixels, size), |i| {
            let part = range(pixels, size, i);
            let y = &y[part.start * channels..part.end * channels];
            let mut most = [0f32; BAND];
            cpu.run(Most { y, channels, first, most: &mut most[..count] });
            for (alive, _) in alive.iter().zip(most).filter(|(_, most)| *most > 0.0) {
                alive.store(true, Ordering::Relaxed);
            }
        });
        dead +=
            alive.into_iter().take(count).filter(|alive| !alive.load(Ordering::Relaxed)).count();
    }
    dead
}

/// The largest positive numbers of channels from `first` on, zero where there is none.
struct Most<'a, T> {
    y: &'a [T],
    channels: usize,
    first: usize,
    most: &'a mut [f32],
}

impl<T: Number> Task for Most<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for pixel in self.y.chunks_exact(self.channels) {
            for (most, y) in self.most.iter_mut().zip(&pixel[self.first..]) {
                // NaN is larger than nothing.
                *most = if y.get() > *most { y.get() } else { *most };
            }
        }
    }
}
