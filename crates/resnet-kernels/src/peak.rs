//! What this machine can do at best: multiply-adds in registers, and memory that is read and
//! written. A kernel is judged by how near it comes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::Cpu;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::{chunks, range};

/// Chains of multiply-adds that do not wait for each other: more than latency times units of any
/// CPU in use.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one measurement.
const LENGTH: usize = 2_000_000;
/// How long each limit is measured. The fastest repetition counts: others were disturbed, and at
/// first the system may keep two threads on one core.
const TIME: Duration = Duration::from_millis(600);
/// Numbers in each of the three arrays that memory is measured with: far beyond any cache.
const STREAM: usize = 16 << 20;
/// Numbers that a task streams.
const PIECE: usize = 1 << 16;

/// f32 operations (2 per multiply-add) in a second, on all threads, with the instruction set in
/// use.
pub fn flops(cpu: &Cpu) -> f64 {
    let lanes = std::sync::atomic::AtomicUsize::new(0);
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < TIME {
        let start = Instant::now();
        cpu.parallel(cpu.threads(), |_| {
            let mut width = 0;
            cpu.run(Multiply { width: &mut width });
            lanes.store(width, std::sync::atomic::Ordering::Relaxed);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (2 * CHAINS * LENGTH * lanes.into_inner() * cpu.threads()) as f64 / best
}

/// Operations on bf16 (2 per multiply-add) in a second, on all threads, whose operands lie in the
/// first-level cache; `None` where the instruction set in use multiplies f32 only.
pub fn bf16_flops(cpu: &Cpu) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if let Some(unit) = crate::conv::unit::Unit::find(cpu) {
        /// Some 30 to 150 ms.
        const BLOCKS: usize = 20_000;
        let (begin, mut best) = (Instant::now(), f64::INFINITY);
        let macs = std::sync::atomic::AtomicUsize::new(0);
        while begin.elapsed() < TIME {
            let start = Instant::now();
            cpu.parallel(cpu.threads(), |_| {
                let done = crate::conv::unit::multiply(unit, BLOCKS);
                macs.store(done, std::sync::atomic::Ordering::Relaxed);
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        return Some((2 * macs.into_inner() * cpu.threads()) as f64 / best);
    }
    let _ = cpu;
    None
}

struct Multiply<'a> {
    /// Set to the numbers in a vector.
    width: &'a mut usize,
}

impl Task for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.width = S::LANES;
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
        let mut sums = [s.splat(black_box(1.0)); CHAINS];
        for _ in 0..LENGTH {
            for sum in &mut sums {
                *sum = s.fma(*sum, a, b);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = s.add(total, *sum);
        }
        let mut out = [0f32; 16];
        // SAFETY: no vector is wider than 16 numbers.
        unsafe { s.store(out.as_mut_ptr(), total) };
        black_box(out);
    }
}

/// Bytes read and written in a second, on all threads: c = a + b over arrays that no cache holds. A
/// write counts once.
pub fn bandwidth(cpu: &Cpu) -> f64 {
    let (a, b) = (vec![1f32; STREAM], vec![2f32; STREAM]);
    let mut c = vec![0f32; STREAM];
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < TIME {
        let start = Instant::now();
        let parts = Parts::new(&mut c);
        cpu.parallel(chunks(STREAM, PIECE), |i| {
            let part = range(STREAM, PIECE, i);
            // SAFETY: tasks take different ranges.
            let c = unsafe { parts.get(part.clone()) };
            cpu.run(Sum { a: &a[part.clone()], b: &b[part], c });
        });
        best = best.min(start.elapsed().as_secs_f64());
        black_box(&mut c);
    }
    (3 * STREAM * size_of::<f32>()) as f64 / best
}

struct Sum<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
}

impl Task for Sum<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((c, a), b) in self.c.iter_mut().zip(self.a).zip(self.b) {
            *c = a + b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bandwidth, flops};
    use crate::{Cpu, Isa};

    #[test]
    fn limits_are_rates() {
        let cpu = Cpu::with_isa(Isa::Scalar, 2).unwrap();
        // Whatever the machine does beside: per second, not per operation.
        for limit in [flops(&cpu), bandwidth(&cpu)] {
            assert!(limit.is_finite() && limit > 1.0, "{limit}");
        }
    }
}
