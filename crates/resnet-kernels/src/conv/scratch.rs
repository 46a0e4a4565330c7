//! Parts of scratch memory, each on a cache line of its own, and the memory of each thread.

use crate::Cpu;
use crate::cpu::Parts;

/// Numbers in a cache line.
const LINE: usize = 16;
/// A note of a thread that has laid nothing out.
const NOTHING: u32 = u32::MAX;

/// Numbers that parts of these lengths need, whatever the alignment of the memory.
pub(super) fn len(parts: &[usize]) -> usize {
    LINE + parts
        .iter()
        .map(|len| len.next_multiple_of(LINE))
        .sum::<usize>()
}

/// Cuts memory of [`len`] numbers into the parts.
pub(super) fn split<const N: usize>(scratch: &mut [f32], parts: [usize; N]) -> [&mut [f32]; N] {
    // Alignment is a matter of speed alone, so an address that cannot be aligned is used as it is.
    let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let mut rest = &mut scratch[skip..];
    parts.map(|len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(LINE));
        rest = after;
        &mut part[..len]
    })
}

/// Numbers that [`parallel`] needs where each thread needs `own`.
pub(super) fn threads_len(cpu: &Cpu, own: usize) -> usize {
    (LINE + own) * cpu.threads()
}

/// What a task has of its thread.
pub(super) struct Own<'a> {
    laid_out: &'a mut [u32],
    /// As the thread's task before left it.
    pub(super) memory: &'a mut [f32],
}

impl Own<'_> {
    /// Whether the thread's task before laid out `block`: parts of a block's channels share that. If not, this task must, for from now on
    /// `block` counts as laid out.
    pub(super) fn claim(&mut self, block: usize) -> bool {
        let block = block as u32;
        std::mem::replace(&mut self.laid_out[0], block) == block && block != NOTHING
    }
}

/// Runs `f` for every task in `0..tasks`, on all threads, each with `own` numbers of memory.
///
/// # Panics
/// If `scratch` is shorter than [`threads_len`].
pub(super) fn parallel(
    cpu: &Cpu,
    tasks: usize,
    scratch: &mut [f32],
    own: usize,
    f: impl Fn(Own, usize) + Sync,
) {
    let each = LINE + own;
    for own in scratch.chunks_exact_mut(each).take(cpu.threads()) {
        as_u32(own)[0] = NOTHING;
    }
    let scratch = Parts::new(scratch);
    cpu.parallel_workers(tasks, |worker, task| {
        // SAFETY: no two running tasks have the same worker index.
        let own = unsafe { scratch.get(worker * each..(worker + 1) * each) };
        let (note, memory) = own.split_at_mut(LINE);
        let laid_out = as_u32(note);
        f(Own { laid_out, memory }, task);
    });
}

/// The same memory as 32-bit offsets.
pub(super) fn as_u32(scratch: &mut [f32]) -> &mut [u32] {
    // SAFETY: f32 and u32 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { &mut *(std::ptr::from_mut(scratch) as *mut [u32]) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_block_counts_as_laid_out_where_the_task_before_was_of_the_same() {
        for threads in [1, 2, 5] {
            let cpu = Cpu::new(threads);
            let parts = [3];
            let mut memory = vec![0f32; threads_len(&cpu, len(&parts))];
            for pass in 0..2 {
                let laid_out = [const { AtomicUsize::new(0) }; 3];
                parallel(&cpu, 3 * 40, &mut memory, len(&parts), |mut own, task| {
                    let block = task / 40;
                    let claimed = own.claim(block);
                    let [part] = split(own.memory, parts);
                    // What an earlier pass left there must not count, so each has numbers of its own.
                    let before = part[0].to_bits();
                    let number = f32::from_bits(pass * 3 + block as u32 + 1);
                    assert_eq!(claimed, before == number.to_bits());
                    if !claimed {
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
        let mut memory = vec![0f32; super::len(&lens) + 3];
        for shift in 0..3 {
            let parts = super::split(&mut memory[shift..], lens);
            for (i, part) in parts.into_iter().enumerate() {
                assert_eq!(part.len(), lens[i]);
                assert!(part.is_empty() || part.as_ptr().addr().is_multiple_of(64));
                part.fill(i as f32);
            }
        }
    }
}
