//! Checks over whole tensors: is everything finite, how long is the vector.

use crate::Cpu;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};

/// Whether no number is infinite or NaN.
pub fn all_finite(cpu: &Cpu, x: &[f32]) -> bool {
    let finite = std::sync::atomic::AtomicBool::new(true);
    cpu.parallel(chunks(x.len(), CHUNK), |i| {
        let mut found = true;
        cpu.run(Finite { x: &x[range(x.len(), CHUNK, i)], found: &mut found });
        if !found {
            finite.store(false, std::sync::atomic::Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

struct Finite<'a> {
    x: &'a [f32],
    found: &'a mut bool,
}

impl Task for Finite<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // All exponent bits set: infinite or NaN. Summing flags keeps the loop free of branches.
        let bad = |x: &f32| u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000);
        *self.found = self.x.iter().map(bad).sum::<u32>() == 0;
    }
}

/// Pieces whose partial sums are kept; more would need memory that grows with `x`.
const SUMS: usize = 256;

/// Σ x², in f64, the same for any number of threads.
pub fn sum_of_squares(cpu: &Cpu, x: &[f32]) -> f64 {
    let size = x.len().div_ceil(SUMS).max(CHUNK);
    let mut sums = [0f64; SUMS];
    let parts = Parts::new(&mut sums);
    cpu.parallel(chunks(x.len(), size), |i| {
        // SAFETY: tasks take different elements.
        let sum = unsafe { &mut parts.get(i..i + 1)[0] };
        cpu.run(Squares { x: &x[range(x.len(), size, i)], sum });
    });
    sums.iter().sum()
}

struct Squares<'a> {
    x: &'a [f32],
    sum: &'a mut f64,
}

impl Task for Squares<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Eight sums let the compiler use vectors; their order is fixed.
        let mut sums = [0f64; 8];
        let mut rows = self.x.chunks_exact(8);
        for row in &mut rows {
            for j in 0..8 {
                sums[j] += f64::from(row[j]) * f64::from(row[j]);
            }
        }
        let tail: f64 = rows.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        *self.sum = sums.iter().sum::<f64>() + tail;
    }
}
