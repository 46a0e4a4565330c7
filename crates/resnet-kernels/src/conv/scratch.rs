//! Parts of scratch memory, each on a cache line of its own.

/// Numbers in a cache line.
const LINE: usize = 16;

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

/// The same memory as 32-bit offsets.
pub(super) fn as_u32(scratch: &mut [f32]) -> &mut [u32] {
    // SAFETY: f32 and u32 have the same size and alignment, and every bit pattern is valid for both.
    unsafe { &mut *(std::ptr::from_mut(scratch) as *mut [u32]) }
}

#[cfg(test)]
mod tests {
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
