//! The numbers that maps are stored as. Arithmetic is f32 whatever the storage.

use crate::bf16::Bf16;
use crate::simd::Simd;

/// What a map can be stored as; nothing outside this crate can be one.
#[expect(private_bounds, reason = "sealed: the bounds are what kernels need of it")]
pub trait Number: Stored + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// Its name in reports.
    const NAME: &'static str;

    /// The nearest such number.
    fn of(x: f32) -> Self;

    /// Its value.
    fn get(self) -> f32;

    /// Words of 32 bits that `len` numbers take.
    fn words(len: usize) -> usize;

    /// The first `len` numbers in memory of 32-bit words.
    ///
    /// # Panics
    /// If there are fewer than [`Number::words`] of them.
    fn view(words: &[f32], len: usize) -> &[Self];

    /// The same, to be written.
    ///
    /// # Panics
    /// As [`Number::view`].
    fn view_mut(words: &mut [f32], len: usize) -> &mut [Self];
}

/// Vectors of a [`Number`].
pub(crate) trait Stored: Sized {
    /// Reads `LANES` numbers.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V;

    /// Writes `LANES` numbers.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers.
    unsafe fn store<S: Simd>(s: S, to: *mut Self, v: S::V);

    /// Writes `LANES` numbers past the caches where that pays: see [`Simd::stream`].
    ///
    /// # Safety
    /// As there.
    unsafe fn stream<S: Simd>(s: S, to: *mut Self, v: S::V);

    /// The same numbers as f32, where they are stored so.
    fn in_place(values: &[Self]) -> Option<&[f32]>;

    /// Outputs as the f32 sums that they hold until they are finished; `None` where sums need
    /// memory of their own.
    fn as_sums(y: *mut Self) -> Option<*mut f32>;

    /// Whether outputs hold their sums.
    fn holds_sums() -> bool {
        Self::as_sums(std::ptr::null_mut()).is_some()
    }
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: as the caller vouches.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.store(to, v) }
    }

    #[inline(always)]
    unsafe fn stream<S: Simd>(s: S, to: *mut f32, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.stream(to, v) }
    }

    #[inline(always)]
    fn in_place(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }

    #[inline(always)]
    fn as_sums(y: *mut f32) -> Option<*mut f32> {
        Some(y)
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Bf16) -> S::V {
        // SAFETY: as the caller vouches.
        unsafe { s.load_bf16(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Bf16, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.store_bf16(to, v) }
    }

    #[inline(always)]
    unsafe fn stream<S: Simd>(s: S, to: *mut Bf16, v: S::V) {
        // SAFETY: as the caller vouches.
        unsafe { s.stream_bf16(to, v) }
    }

    #[inline(always)]
    fn in_place(_: &[Bf16]) -> Option<&[f32]> {
        None
    }

    #[inline(always)]
    fn as_sums(_: *mut Bf16) -> Option<*mut f32> {
        None
    }
}

impl Number for f32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    fn words(len: usize) -> usize {
        len
    }

    fn view(words: &[f32], len: usize) -> &[f32] {
        &words[..len]
    }

    fn view_mut(words: &mut [f32], len: usize) -> &mut [f32] {
        &mut words[..len]
    }
}

impl Number for Bf16 {
    const NAME: &'static str = "bf16";

    #[inline(always)]
    fn of(x: f32) -> Bf16 {
        Bf16::nearest(x)
    }

    #[inline(always)]
    fn get(self) -> f32 {
        self.value()
    }

    fn words(len: usize) -> usize {
        len.div_ceil(2)
    }

    fn view(words: &[f32], len: usize) -> &[Bf16] {
        assert!(Bf16::words(len) <= words.len());
        // SAFETY: two numbers fit a word, whose alignment is enough; every bit pattern is valid for
        // both.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), len) }
    }

    fn view_mut(words: &mut [f32], len: usize) -> &mut [Bf16] {
        assert!(Bf16::words(len) <= words.len());
        // SAFETY: as in `view`; the words are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Proof};
    use crate::simd::Task;

    /// Narrows a vector and widens it again.
    struct Round<'a> {
        from: &'a [f32],
        narrow: &'a mut [Bf16],
        wide: &'a mut [f32],
    }

    impl Task for Round<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for at in (0..self.from.len()).step_by(S::LANES) {
                // SAFETY: the test's slices have one length, a multiple of the widest vector.
                unsafe {
                    let to = self.narrow.as_mut_ptr().add(at);
                    s.store_bf16(to, s.load(self.from.as_ptr().add(at)));
                    s.store(self.wide.as_mut_ptr().add(at), s.load_bf16(to));
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_rounds_to_nearest_even_and_keeps_nan_and_infinity() {
        let mut from = vec![
            1.0,
            1.0 + 1.0 / 256.0, // halfway between 1 and the next: to the even one
            1.0 + 3.0 / 256.0, // halfway, to the even one above
            1.0039063,         // a little more than half
            -1.0 - 1.0 / 256.0,
            f32::MAX, // rounds to infinity
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::from_bits(0x7f80_0001), // a NaN whose upper half alone would be infinity
            0.0,
            -0.0,
            1e-40, // a subnormal
            3.389_531_4e38,
            -2.5,
            7.0,
        ];
        let mut bits = 1u32;
        from.extend((0..4096).map(|_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(bits)
        }));
        for isa in Isa::available() {
            let mut narrow = vec![Bf16::default(); from.len()];
            let mut wide = vec![0.0; from.len()];
            Proof::probe(isa).unwrap().run(Round {
                from: &from,
                narrow: &mut narrow,
                wide: &mut wide,
            });
            for (i, &x) in from.iter().enumerate() {
                let expected = Bf16::of(x);
                // Instructions that round may take subnormal numbers for zero.
                if x.is_subnormal() && narrow[i].get() == 0.0 {
                    continue;
                }
                assert_eq!(narrow[i].to_bits(), expected.to_bits(), "{isa}: {x:e}");
                let same = wide[i].to_bits() == expected.get().to_bits();
                assert!(same || (wide[i].is_nan() && x.is_nan()), "{isa}: {x:e}");
            }
        }
        for (x, bits) in
            [(1.0 + 1.0 / 256.0, 0x3f80), (1.0 + 3.0 / 256.0, 0x3f82), (f32::MAX, 0x7f80)]
        {
            assert_eq!(Bf16::of(x).to_bits(), bits, "{x}");
        }
        assert!(Bf16::of(f32::from_bits(0x7f80_0001)).get().is_nan());
    }

    #[test]
    fn views_share_the_memory_of_words() {
        let mut words = [0f32; 3];
        Bf16::view_mut(&mut words, 5)[3] = Bf16::of(2.5);
        assert_eq!(Bf16::view(&words, 5)[3].get(), 2.5);
        assert_eq!((Bf16::words(5), f32::words(5)), (3, 5));
        assert_eq!(f32::view(&words, 2).len(), 2);
    }
}
