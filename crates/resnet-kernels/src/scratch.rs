//! Working memory that a caller lends to a kernel: what its threads share, and what each of them
//! has for itself.
//!
//! A thread's own memory begins at the same place in every kernel that is lent the same memory. So
//! the lines that a thread writes there are in its own caches already, and hardly ever in another
//! core's.
//!
//! ```text
//! ┌──────────────────────┬──────────┬──────────┬──
//! │ shared               │ thread 0 │ thread 1 │ ...
//! └──────────────────────┴──────────┴──────────┴──
//! ```

use crate::Cpu;
use crate::cpu::Parts;
use crate::memory::{LINE, line_start};

/// A note of a thread that has laid nothing out.
const NOTHING: u32 = u32::MAX;

/// Numbers of working memory, 32 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScratchLen {
    /// For all threads together.
    pub shared: usize,
    /// For each thread.
    pub own: usize,
}

impl ScratchLen {
    /// For a kernel whose threads share `shared` numbers, and need parts of these lengths each in
    /// [`parallel`].
    pub(crate) fn of(shared: usize, parts: &[usize]) -> ScratchLen {
        let lens = parts.iter().map(|len| len.next_multiple_of(LINE));
        ScratchLen { shared, own: LINE + lens.sum::<usize>() }
    }

    /// Enough for either.
    pub fn max(self, other: ScratchLen) -> ScratchLen {
        ScratchLen { shared: self.shared.max(other.shared), own: self.own.max(other.own) }
    }

    /// Numbers of memory for all threads of `cpu`, wherever it begins.
    pub fn total(self, cpu: &Cpu) -> usize {
        let [shared, own] = self.lines();
        LINE + shared + own * cpu.threads()
    }

    /// Shared and own numbers in whole cache lines.
    fn lines(self) -> [usize; 2] {
        [self.shared, self.own].map(|len| len.next_multiple_of(LINE))
    }
}

/// Working memory, lent for one call.
#[derive(Debug)]
pub struct Scratch<'a> {
    shared: &'a mut [f32],
    /// The threads' own, one after another.
    own: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    /// `memory`, cut up for the threads of `cpu`. Kernels that follow one another should be lent
    /// memory that is cut in the same way, `len` being enough for each of them.
    ///
    /// # Panics
    /// If `memory` is shorter than [`ScratchLen::total`].
    pub fn new(cpu: &Cpu, memory: &'a mut [f32], len: ScratchLen) -> Scratch<'a> {
        let total = len.total(cpu);
        assert!(
            memory.len() >= total,
            "scratch of {} numbers where {total} are needed",
            memory.len()
        );
        let [shared, own] = len.lines();
        let start = line_start(memory);
        let (shared, rest) = memory[start..].split_at_mut(shared);
        Scratch { shared, own: &mut rest[..own * cpu.threads()] }
    }

    /// The same memory for a call, to be used again after it.
    pub fn again(&mut self) -> Scratch<'_> {
        Scratch { shared: self.shared, own: self.own }
    }

    /// What the threads share.
    pub fn shared(self) -> &'a mut [f32] {
        self.shared
    }

    /// Takes `len` numbers from what the threads share.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (taken, rest) = std::mem::take(&mut self.shared).split_at_mut(len);
        self.shared = rest;
        taken
    }

    /// Whether it is as long as `len` for the threads of `cpu`.
    pub(crate) fn holds(&self, cpu: &Cpu, len: ScratchLen) -> bool {
        self.shared.len() >= len.shared && self.own.len() / cpu.threads() >= len.own
    }
}

/// Cuts a thread's memory into the parts that [`ScratchLen::of`] counted, each of whole cache
/// lines.
pub(crate) fn split<const N: usize>(own: &mut [f32], parts: [usize; N]) -> [&mut [f32]; N] {
    let mut rest = own;
    parts.map(|len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(LINE));
        rest = after;
        &mut part[..len]
    })
}

/// What a task has of its thread.
pub(crate) struct Own<'a> {
    /// The thread's index.
    pub(crate) worker: usize,
    laid_out: &'a mut [u32],
    /// As the thread's task before left it.
    pub(crate) memory: &'a mut [f32],
}

impl Own<'_> {
    /// Whether the thread finds `block` laid out by its task before: parts of a block's channels
    /// share that. From now on it counts as laid out.
    pub(crate) fn finds_laid_out(&mut self, block: usize) -> bool {
        // No block is NOTHING: a loop has no more tasks than that, nor blocks than tasks.
        let block = block as u32;
        std::mem::replace(&mut self.laid_out[0], block) == block
    }
}

/// Runs `f` for every task in `0..tasks`, on all threads, each with memory of its own.
pub(crate) fn parallel(cpu: &Cpu, tasks: usize, scratch: Scratch, f: impl Fn(Own, usize) + Sync) {
    let each = scratch.own.len() / cpu.threads();
    for own in scratch.own.chunks_exact_mut(each) {
        as_u32(own)[0] = NOTHING;
    }
    let scratch = Parts::new(scratch.own);
    cpu.parallel_workers(tasks, |worker, task| {
        // SAFETY: no two running tasks have the same worker index.
        let own = unsafe { scratch.get(worker * each..(worker + 1) * each) };
        let (note, memory) = own.split_at_mut(LINE);
        let own = Own { worker, laid_out: as_u32(note), memory };
        f(own, task);
    });
}

/// The same memory as 32-bit offsets.
pub(crate) fn as_u32(scratch: &mut [f32]) -> &mut [u32] {
    // SAFETY: f32 and u32 have the same size and alignment, and every bit pattern is valid for
    // both.
    unsafe { &mut *(std::ptr::from_mut(scratch) as *mut [u32]) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::CACHE_LINE;

    #[test]
    fn a_block_counts_as_laid_out_where_the_task_before_was_of_the_same() {
        for threads in [1, 2, 5] {
            let cpu = Cpu::new(threads);
            let parts = [3];
            let len = ScratchLen::of(0, &parts);
            let mut memory = vec![0f32; len.total(&cpu)];
            for pass in 0..2 {
                let laid_out = [const { AtomicUsize::new(0) }; 3];
                let scratch = Scratch::new(&cpu, &mut memory, len);
                parallel(&cpu, 3 * 40, scratch, |mut own, task| {
                    let block = task / 40;
                    let found = own.finds_laid_out(block);
                    let [part] = split(own.memory, parts);
                    // What an earlier pass left there must not count, so each has numbers of its
                    // own.
                    let before = part[0].to_bits();
                    let number = f32::from_bits(pass * 3 + block as u32 + 1);
                    assert_eq!(found, before == number.to_bits());
                    if !found {
                        laid_out[block].fetch_add(1, Ordering::Relaxed);
                        part.fill(number);
                    }
                    assert!(part.iter().all(|found| found.to_bits() == number.to_bits()));
                });
                for count in laid_out {
                    // A thread takes from each share once.
                    assert!((1..=threads * threads).contains(&count.into_inner()));
                }
            }
        }
    }

    #[test]
    fn parts_are_aligned_and_apart() {
        let lens = [5, 0, 16, 33];
        let cpu = Cpu::new(2);
        let needed = ScratchLen::of(21, &lens);
        let mut memory = vec![0f32; needed.total(&cpu) + 3];
        for shift in 0..3 {
            let mut scratch = Scratch::new(&cpu, &mut memory[shift..], needed);
            assert!(scratch.holds(&cpu, needed));
            let shared = scratch.take(21);
            shared.fill(-1.0);
            parallel(&cpu, 50, scratch.again(), |own, task| {
                let number = |i: usize| (task * lens.len() + i) as f32;
                let mut parts = split(own.memory, lens);
                for (i, part) in parts.iter_mut().enumerate() {
                    assert_eq!(part.len(), lens[i]);
                    assert!(part.is_empty() || part.as_ptr().addr().is_multiple_of(CACHE_LINE));
                    part.fill(number(i));
                }
                for (i, part) in parts.iter().enumerate() {
                    assert!(part.iter().all(|&x| x == number(i)));
                }
            });
            assert!(shared.iter().all(|&x| x == -1.0));
        }
    }
}
