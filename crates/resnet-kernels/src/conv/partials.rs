//! Sums that chunks have each kept apart, added up in the chunks' order.

use crate::Cpu;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};

/// dw = the sum of the partial ones.
pub(super) fn add_partials(cpu: &Cpu, partial: &[f32], dw: &mut [f32]) {
    let len = dw.len();
    let dw = Parts::new(dw);
    cpu.parallel(chunks(len, CHUNK), |i| {
        let part = range(len, CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let dw = unsafe { dw.get(part.clone()) };
        cpu.run(AddPartials { partial, len, start: part.start, dw });
    });
}

struct AddPartials<'a> {
    partial: &'a [f32],
    len: usize,
    start: usize,
    dw: &'a mut [f32],
}

impl Task for AddPartials<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        add_up(self.partial, self.len, self.start, self.dw);
    }
}

/// `sums` = the sum over chunks of `len` numbers of those from `start` on.
///
/// # Panics
/// If a chunk ends before.
#[inline(always)]
pub(super) fn add_up(partial: &[f32], len: usize, start: usize, sums: &mut [f32]) {
    for (i, chunk) in partial.chunks_exact(len).enumerate() {
        let chunk = &chunk[start..][..sums.len()];
        if i == 0 {
            sums.copy_from_slice(chunk);
        } else {
            sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
        }
    }
}
