//! Weights laid out for a pass, in scratch.
//!
//! A few weights are laid out by each thread for itself: that takes less time than to read from another core's caches what another
//! thread has laid out.

use crate::cpu::Parts;
use crate::{Cpu, Scratch};

/// Most words of all copies together (256 KiB): with many threads, more would take longer than it saves.
const COPIES: usize = 64 << 10;

/// Copies of `len` words of weights.
fn copies(cpu: &Cpu, len: usize) -> usize {
    if len * cpu.threads() <= COPIES {
        cpu.threads()
    } else {
        1
    }
}

/// Words that [`by_threads`] takes of what threads share.
pub(super) fn len(cpu: &Cpu, len: usize) -> usize {
    copies(cpu, len) * len
}

/// The copies of weights of `len` words, each as `pack` lays it out.
pub(super) fn by_threads<'a>(
    cpu: &Cpu,
    len: usize,
    scratch: &mut Scratch<'a>,
    pack: impl Fn(&mut [f32]) + Sync,
) -> &'a [f32] {
    let copies = copies(cpu, len);
    let packed = scratch.take(copies * len);
    if copies == 1 {
        pack(packed);
    } else {
        let parts = Parts::new(&mut *packed);
        cpu.parallel(copies, |copy| {
            // SAFETY: the copies are disjoint, and each is one task's.
            pack(unsafe { parts.get(copy * len..(copy + 1) * len) });
        });
    }
    packed
}

/// The copy of weights of `len` words that a thread reads.
pub(super) fn of(packed: &[f32], len: usize, worker: usize) -> &[f32] {
    let copies = packed.len() / len.max(1);
    let copy = if copies == 1 { 0 } else { worker };
    &packed[copy * len..][..len]
}
