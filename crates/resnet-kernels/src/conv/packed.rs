//! Weights laid out for a pass, in scratch.
//!
//! Where there are few weights, each thread lays them out for itself, as a rule: that takes less
//! time than to read from another core's caches what another thread has laid out.

use crate::cpu::Parts;
use crate::{Cpu, Scratch};

/// Most words of all copies together (256 KiB): with many threads, more would take longer than it
/// saves.
const COPIES: usize = 64 << 10;

/// Copies of `len` words of weights.
fn copies(cpu: &Cpu, len: usize) -> usize {
    if len * cpu.threads() <= COPIES { cpu.threads() } else { 1 }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScratchLen;

    #[test]
    fn every_thread_finds_a_whole_copy() {
        for threads in [1, 3] {
            let cpu = Cpu::new(threads);
            for words in [0, 1, 500, COPIES / 3, COPIES / 3 + 1, COPIES + 1] {
                let needed = ScratchLen { shared: len(&cpu, words), own: 0 };
                assert!(needed.shared <= COPIES.max(words));
                let mut memory = vec![0.0; needed.total(&cpu)];
                let mut scratch = Scratch::new(&cpu, &mut memory, needed);
                let packed = by_threads(&cpu, words, &mut scratch, |copy| {
                    copy.iter_mut().enumerate().for_each(|(i, w)| *w = 1.0 + i as f32);
                });
                for worker in 0..threads {
                    let copy = of(packed, words, worker);
                    let whole = copy.iter().enumerate().all(|(i, &w)| w == 1.0 + i as f32);
                    assert!(copy.len() == words && whole);
                }
            }
        }
    }
}
