//! What an instruction set's vectors can do, and what they are asked to.

use crate::bf16::Bf16;

/// An instruction set's f32 vectors. A value of the type is the proof that the CPU has the
/// instruction set.
pub(crate) trait Simd: Copy + Send + Sync {
    /// `LANES` numbers.
    type V: Copy;
    /// Numbers in a vector.
    const LANES: usize;

    /// All lanes equal to `a`.
    fn splat(self, a: f32) -> Self::V;
    /// Reads `LANES` numbers.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` numbers; any alignment.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Writes `LANES` numbers.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers; any alignment.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Reads `LANES` numbers of 16 bits.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` numbers.
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::V;
    /// Reads `LANES` bytes as numbers.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` bytes.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Self::V {
        const { assert!(Self::LANES <= 16) };
        let mut numbers = [0.0; 16];
        // SAFETY: the caller vouches for the bytes; no vector has more than 16 numbers.
        unsafe {
            for (i, x) in numbers[..Self::LANES].iter_mut().enumerate() {
                *x = f32::from(*from.add(i));
            }
            self.load(numbers.as_ptr())
        }
    }
    /// Rounds as [`Bf16::of`](crate::Number::of) does, but that subnormal numbers may become zero,
    /// and writes `LANES` numbers of 16 bits.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers.
    unsafe fn store_bf16(self, to: *mut Bf16, v: Self::V);
    /// [`Simd::store`] past the caches, with AVX-512 and where `to` is aligned to what is stored:
    /// memory is written without being read.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers, which no one reads or writes again before this
    /// thread calls [`Simd::streamed`].
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: Self::V) {
        // SAFETY: as the caller vouches.
        unsafe { self.store(to, v) }
    }
    /// [`Simd::store_bf16`] in the same way.
    ///
    /// # Safety
    /// As for [`Simd::stream`].
    #[inline(always)]
    unsafe fn stream_bf16(self, to: *mut Bf16, v: Self::V) {
        // SAFETY: as the caller vouches.
        unsafe { self.store_bf16(to, v) }
    }
    /// Has all that this thread streamed be written before what it writes from now on.
    #[inline(always)]
    fn streamed(self) {}
    /// Writes `LANES` words, each two numbers of 16 bits side by side: `a`'s below `b`'s.
    ///
    /// # Safety
    /// `a` and `b` are valid for reading, `to` for writing `LANES` of theirs.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn pair_bf16(self, a: *const Bf16, b: *const Bf16, to: *mut u32) {
        for i in 0..Self::LANES {
            // SAFETY: as the caller vouches.
            unsafe {
                let (a, b) = (u32::from((*a.add(i)).to_bits()), (*b.add(i)).to_bits());
                *to.add(i) = a | u32::from(b) << 16;
            }
        }
    }
    /// The same with vectors, rounded as [`Simd::store_bf16`] does.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` words.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn store_pair_bf16(self, to: *mut u32, a: Self::V, b: Self::V) {
        let mut pair = [[Bf16::from_bits(0); 16]; 2];
        const { assert!(Self::LANES <= 16) };
        // SAFETY: `pair` has room for two vectors; the caller vouches for `to`.
        unsafe {
            self.store_bf16(pair[0].as_mut_ptr(), a);
            self.store_bf16(pair[1].as_mut_ptr(), b);
            self.pair_bf16(pair[0].as_ptr(), pair[1].as_ptr(), to);
        }
    }
    /// Asks for the cache line at `from`, which need not be valid, where that pays: with AVX-512.
    #[inline(always)]
    fn prefetch<T>(self, from: *const T) {
        let _ = from;
    }
    /// The same into the second-level cache.
    #[inline(always)]
    fn prefetch_far<T>(self, from: *const T) {
        let _ = from;
    }
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// max(y, floor) that keeps NaN in y.
    fn at_least(self, y: Self::V, floor: Self::V) -> Self::V;
    /// max(y, 0) that keeps NaN.
    #[inline(always)]
    fn relu(self, y: Self::V) -> Self::V {
        self.at_least(y, self.splat(0.0))
    }
    /// `g` in the lanes where `y > 0`, else 0.
    fn where_positive(self, y: Self::V, g: Self::V) -> Self::V;
    /// `g` in the lanes where `x == y`, else 0.
    fn where_equal(self, x: Self::V, y: Self::V, g: Self::V) -> Self::V;
    /// x where it is greater than y or NaN, else y: NaN of either is kept.
    fn greater(self, x: Self::V, y: Self::V) -> Self::V;
    /// `a` in the lanes where `x > y` or x is NaN, else `b`.
    fn where_beats(self, x: Self::V, y: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// Writes the transpose of an 8 x 8 matrix; rows are `from_stride` and `to_stride` apart.
    ///
    /// # Safety
    /// `from` is valid for reading, `to` for writing, the eight numbers of each of eight rows; they
    /// do not overlap.
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller vouches for row j, column i of `from` and row i, column j of
                // `to`.
                unsafe { *to.add(i * to_stride + j) = *from.add(j * from_stride + i) };
            }
        }
    }
}

/// Work that is compiled for every instruction set.
pub(crate) trait Task {
    /// Does the work. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Proof};
    use crate::{CACHE_LINE, Number};

    struct Probe<'a> {
        a: &'a [f32],
        out: &'a mut Vec<Vec<f32>>,
    }

    impl Task for Probe<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            // SAFETY: `a` holds 48 numbers and every store goes to a fresh vector of 16, the widest
            // LANES.
            unsafe {
                let (a, b, c) = (
                    s.load(self.a.as_ptr()),
                    s.load(self.a.as_ptr().add(16)),
                    s.load(self.a.as_ptr().add(32)),
                );
                for v in [
                    s.splat(2.5),
                    s.add(a, b),
                    s.sub(a, b),
                    s.mul(a, b),
                    s.fma(a, b, c),
                    s.where_positive(a, b),
                    s.relu(a),
                    s.at_least(a, c),
                    s.where_equal(a, b, c),
                    s.greater(a, b),
                    s.where_beats(a, b, c, a),
                ] {
                    let mut lanes = vec![0.0; 16];
                    s.store(lanes.as_mut_ptr(), v);
                    lanes.truncate(S::LANES);
                    self.out.push(lanes);
                }
            }
        }
    }

    /// Streams both kinds of numbers to the start and further on; says how many.
    struct Streams<'a> {
        from: &'a [f32],
        wide: &'a mut [f32],
        narrow: &'a mut [Bf16],
        lanes: &'a mut usize,
    }

    impl Task for Streams<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            *self.lanes = S::LANES;
            // The start and the middle of a cache line of 16 bits, and neither.
            for i in [0, 16, 33] {
                // SAFETY: all hold 33 numbers and a vector more.
                unsafe {
                    let v = s.load(self.from.as_ptr().add(i));
                    s.stream(self.wide.as_mut_ptr().add(i), v);
                    s.stream_bf16(self.narrow.as_mut_ptr().add(i), v);
                }
            }
            s.streamed();
        }
    }

    #[test]
    fn every_instruction_set_streams_what_it_stores() {
        const LEN: usize = 33 + 16;
        let from: Vec<f32> = (1..=LEN).map(|i| i as f32).collect();
        for isa in Isa::available() {
            let mut wide = [0.0; LEN + 16];
            let mut narrow = [Bf16::default(); LEN + 32];
            let (skip, skip_narrow) =
                (wide.as_ptr().align_offset(CACHE_LINE), narrow.as_ptr().align_offset(CACHE_LINE));
            let wide = &mut wide[skip..][..LEN];
            let narrow = &mut narrow[skip_narrow..][..LEN];
            let mut lanes = 0;
            Proof::probe(isa).unwrap().run(Streams {
                from: &from,
                wide: &mut *wide,
                narrow: &mut *narrow,
                lanes: &mut lanes,
            });
            for i in 0..LEN {
                let written = [0, 16, 33].map(|start| start..start + lanes);
                let written = written.iter().any(|range| range.contains(&i));
                let expected = if written { from[i] } else { 0.0 };
                assert_eq!([wide[i], narrow[i].get()], [expected; 2], "{isa} at {i}");
            }
        }
    }

    struct Transpose<'a> {
        from: &'a [f32],
        to: &'a mut [f32],
    }

    impl Task for Transpose<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            // SAFETY: eight rows of 11 and of 9 numbers.
            unsafe { s.transpose(self.from.as_ptr(), 11, self.to.as_mut_ptr(), 9) };
        }
    }

    #[test]
    fn every_instruction_set_transposes() {
        let from: Vec<f32> = (0..88).map(|i| i as f32).collect();
        for isa in Isa::available() {
            let mut to = vec![-1.0; 72];
            Proof::probe(isa).unwrap().run(Transpose { from: &from, to: &mut to });
            for (i, &x) in to.iter().enumerate() {
                let expected = if i % 9 == 8 { -1.0 } else { from[i % 9 * 11 + i / 9] };
                assert_eq!(x, expected, "{isa} element {i}");
            }
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same_lanes() {
        let mut a: Vec<f32> = (0..48).map(|i| ((i * 7) % 23) as f32 - 11.0).collect();
        a[0] = 0.0;
        a[1] = f32::NAN;
        a[16 + 2] = f32::NAN;
        a[16 + 3] = a[3];
        for isa in Isa::available() {
            let mut out = Vec::new();
            Proof::probe(isa).unwrap().run(Probe { a: &a, out: &mut out });
            for i in 0..out[0].len() {
                let (x, y, z) = (a[i], a[16 + i], a[32 + i]);
                let masked = if x > 0.0 { y } else { 0.0 };
                let expected = [
                    2.5,
                    x + y,
                    x - y,
                    x * y,
                    x * y + z,
                    masked,
                    crate::elementwise::relu(x),
                    if x < z { z } else { x },
                    if x == y { z } else { 0.0 },
                    if x > y || x.is_nan() { x } else { y },
                    if x > y || x.is_nan() { z } else { x },
                ];
                for (got, expected) in out.iter().zip(expected) {
                    let same = got[i] == expected || (got[i].is_nan() && expected.is_nan());
                    assert!(same, "{isa} lane {i}: {} instead of {expected}", got[i]);
                }
            }
        }
    }
}
