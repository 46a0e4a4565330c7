//! Cache lines, and large memory for plans and packed weights.

use crate::allocator::may_fail;

/// Bytes of a cache line.
pub const CACHE_LINE: usize = 64;
/// Numbers of f32 in a cache line.
pub const LINE: usize = CACHE_LINE / size_of::<f32>();

/// From this many bytes on, memory is worth asking for in huge pages.
const LARGE: usize = 4 << 20;

/// `len` zeros, or none where the system refuses the memory. Large memory comes in huge pages where
/// Linux has them: a process that only lives for one prediction would spend much of its time on
/// being given small ones.
pub fn zeros(len: usize) -> Option<Vec<f32>> {
    // Asked for first: `vec!` would abort the process.
    let mut probe: Vec<f32> = Vec::new();
    may_fail(|| probe.try_reserve_exact(len)).ok()?;
    drop(probe);
    let memory = vec![0.0; len];
    if size_of_val(&memory[..]) >= LARGE {
        ask_for_huge_pages(&memory);
    }
    Some(memory)
}

/// Numbers of `memory` before its first cache line, at most [`LINE`]. Alignment is a matter of
/// speed alone, so an address that cannot be aligned is used as it is.
pub fn line_start(memory: &[f32]) -> usize {
    memory.as_ptr().align_offset(CACHE_LINE).min(LINE)
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: &[f32]) {
    const PAGE: usize = 4096;
    let skip = memory.as_ptr().cast::<u8>().align_offset(PAGE);
    let len = size_of_val(memory).saturating_sub(skip) / PAGE * PAGE;
    let start = memory.as_ptr().cast::<u8>().wrapping_add(skip);
    // SAFETY: the pages lie in memory that this process owns; the advice changes no content. A
    // refusal changes nothing.
    unsafe { libc::madvise(start.cast_mut().cast(), len, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &[f32]) {}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_zero_and_too_much_is_refused() {
        for len in [0, 5, 3 << 20] {
            let memory = super::zeros(len).unwrap();
            assert!(memory.len() == len && memory.iter().all(|&x| x == 0.0));
        }
        assert_eq!(super::zeros(usize::MAX / 8), None);
    }

    #[test]
    fn a_line_starts_where_the_address_is_a_multiple() {
        let memory = [0.0; 3 * super::LINE];
        for shift in 0..super::LINE {
            let rest = &memory[shift..];
            let start = super::line_start(rest);
            let from_line = rest[start..].as_ptr().addr() % super::CACHE_LINE;
            assert!(start < super::LINE && from_line == 0);
        }
    }
}
