//! Both passes with AVX2, for three channels: products of pairs of 16 bits, added to sums of 32.
//!
//! A weight is w1 2^11 + w0, each of 16 bits. The first pass takes one pixel of two rows at once, a
//! row in each half of a vector; the second pairs the bytes of two rows.

use std::arch::x86_64::*;

use super::taps::{BITS, HALF, Taps};
use super::{Rows, plain};

/// Bits of the lower part of a weight.
const LOW: i32 = 11;
/// Bytes of rows that the second pass takes at once.
const BLOCK: usize = 32;

/// Proof of AVX2, and memory that is used again.
#[derive(Debug)]
pub(super) struct Pairs {
    across: Vec<Four>,
    /// Of each output pixel, where its fours end.
    ends: Vec<usize>,
    down: Vec<Two>,
    /// The rows between the passes.
    between: Vec<u8>,
}

/// The weights of four inputs, by pairs: upper parts, then lower.
#[derive(Clone, Copy, Debug)]
struct Four([Two; 2]);

/// The weights of two inputs, the second in the upper half of a word.
#[derive(Clone, Copy, Debug)]
struct Two {
    high: i32,
    low: i32,
}

impl Two {
    /// Of the first two weights; what is missing counts nothing.
    fn of(weights: &[i32]) -> Two {
        let [a, b] = [0, 1].map(|i| weights.get(i).copied().unwrap_or(0));
        let part = |weight: i32| (weight >> LOW, weight & ((1 << LOW) - 1));
        let ((a1, a0), (b1, b0)) = (part(a), part(b));
        Two { high: a1 | b1 << 16, low: a0 | b0 << 16 }
    }
}

impl Pairs {
    pub(super) fn probe() -> Option<Pairs> {
        let (across, ends, down, between) = Default::default();
        is_x86_feature_detected!("avx2").then_some(Pairs { across, ends, down, between })
    }

    /// Memory for rows.
    pub(super) fn between(&mut self) -> &mut Vec<u8> {
        &mut self.between
    }

    pub(super) fn run(&mut self, across: &Taps, down: &Taps, read: Rows<'_>, out: &mut Vec<u8>) {
        self.across.clear();
        self.ends.clear();
        for (_, weights) in across.outputs() {
            let fours = weights.chunks(4);
            self.across.extend(
                fours.map(|four| Four([Two::of(four), Two::of(four.get(2..).unwrap_or(&[]))])),
            );
            self.ends.push(self.across.len());
        }
        let columns = across.starts.len() * 3;
        // Rows are written some bytes too far, and read by blocks.
        let stride = (columns + 4).next_multiple_of(BLOCK);
        self.between.resize(read.count.next_multiple_of(2) * stride, 0);
        let fours = Fours { weights: &self.across, ends: &self.ends, taps: across };
        for (pair, to) in self.between.chunks_exact_mut(2 * stride).enumerate() {
            let (first, second) = (2 * pair, (2 * pair + 1).min(read.count - 1));
            let rows = [first, second].map(|row| &read.bytes[row * read.stride..]);
            // SAFETY: a `Pairs` exists only where `probe` found AVX2.
            unsafe { fours.run(rows, to) };
        }
        out.resize(down.starts.len() * columns, 0);
        for ((start, weights), row) in down.outputs().zip(out.chunks_exact_mut(columns)) {
            self.down.clear();
            self.down.extend(weights.chunks(2).map(Two::of));
            let rows = &self.between[start * stride..][..weights.len() * stride];
            // SAFETY: as above.
            unsafe { mean_of_rows(rows, stride, &self.down, row) };
        }
    }
}

/// The first pass.
struct Fours<'a> {
    weights: &'a [Four],
    ends: &'a [usize],
    taps: &'a Taps,
}

impl Fours<'_> {
    /// Resizes two rows, each with what follows it, into two rows that lie one after the other.
    #[target_feature(enable = "avx2")]
    fn run(&self, rows: [&[u8]; 2], to: &mut [u8]) {
        let count = self.ends.len();
        let (above, below) = to.split_at_mut(to.len() / 2);
        assert!(above.len() >= count * 3 + 4);
        // Pixels by four, whose bytes stand together after packing.
        let squeeze = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
        ));
        for first in (0..count).step_by(4) {
            // Of what is behind the last pixel, nothing is used.
            let mut pixels = [_mm256_setzero_si256(); 4];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                *pixel = self.pixel(rows, (first + i).min(count - 1));
            }
            let packed = _mm256_packus_epi16(
                _mm256_packus_epi32(pixels[0], pixels[1]),
                _mm256_packus_epi32(pixels[2], pixels[3]),
            );
            let bytes = _mm256_shuffle_epi8(packed, squeeze);
            let mut twelve = [[0u8; 16]; 2];
            let kept = 3 * (count - first).min(4);
            // SAFETY: two arrays of 16 bytes.
            unsafe { _mm256_storeu_si256(twelve.as_mut_ptr().cast(), bytes) };
            if kept == 12 {
                above[first * 3..][..16].copy_from_slice(&twelve[0]);
                below[first * 3..][..16].copy_from_slice(&twelve[1]);
            } else {
                above[first * 3..][..kept].copy_from_slice(&twelve[0][..kept]);
                below[first * 3..][..kept].copy_from_slice(&twelve[1][..kept]);
            }
        }
    }

    /// Red, green, blue and a nought of one output pixel of two rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pixel(&self, rows: [&[u8]; 2], output: usize) -> __m256i {
        let begin = output.checked_sub(1).map_or(0, |before| self.ends[before]);
        let fours = &self.weights[begin..self.ends[output]];
        let start = self.taps.starts[output] * 3;
        // Sixteen bytes are read for each four pixels.
        let end = start + 12 * fours.len() + 4;
        if rows[0].len() < end || rows[1].len() < end {
            return self.last_pixel(rows, output);
        }
        let pair = |at: i8| {
            let [r, g, b] = [at, at + 1, at + 2];
            _mm256_broadcastsi128_si256(_mm_setr_epi8(
                r,
                -1,
                r + 3,
                -1,
                g,
                -1,
                g + 3,
                -1,
                b,
                -1,
                b + 3,
                -1,
                -1,
                -1,
                -1,
                -1,
            ))
        };
        let pairs = [pair(0), pair(6)];
        let (mut high, mut low) = (_mm256_setzero_si256(), _mm256_set1_epi32(HALF));
        for (i, four) in fours.iter().enumerate() {
            let from = start + 12 * i;
            // SAFETY: both rows have 16 bytes there, as was checked.
            let bytes = unsafe {
                let [a, b] = rows.map(|row| _mm_loadu_si128(row.as_ptr().add(from).cast()));
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b)
            };
            for (two, pair) in four.0.iter().zip(pairs) {
                let inputs = _mm256_shuffle_epi8(bytes, pair);
                let upper = _mm256_set1_epi32(two.high);
                high = _mm256_add_epi32(high, _mm256_madd_epi16(inputs, upper));
                let lower = _mm256_set1_epi32(two.low);
                low = _mm256_add_epi32(low, _mm256_madd_epi16(inputs, lower));
            }
        }
        total(high, low)
    }

    /// The same at the end of the picture.
    #[target_feature(enable = "avx2")]
    fn last_pixel(&self, rows: [&[u8]; 2], output: usize) -> __m256i {
        let (start, weights) = (self.taps.starts[output], self.taps.weights(output));
        let [a, b] = rows.map(|row| {
            let pixels = &row.as_chunks::<3>().0[start..start + weights.len()];
            plain::pixel(pixels, weights).map(i32::from)
        });
        _mm256_setr_epi32(a[0], a[1], a[2], 0, b[0], b[1], b[2], 0)
    }
}

/// Sums of products by the parts of weights as numbers without a fraction.
#[inline]
#[target_feature(enable = "avx2")]
fn total(high: __m256i, low: __m256i) -> __m256i {
    _mm256_srli_epi32::<{ BITS as i32 }>(_mm256_add_epi32(_mm256_slli_epi32::<LOW>(high), low))
}

/// The weighted mean of rows that lie one after another, `stride` bytes each.
#[target_feature(enable = "avx2")]
fn mean_of_rows(rows: &[u8], stride: usize, weights: &[Two], out: &mut [u8]) {
    assert!(out.len() <= stride && stride.is_multiple_of(BLOCK));
    assert!(
        rows.len().is_multiple_of(stride) && (rows.len() / stride).div_ceil(2) == weights.len()
    );
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        // Sums of columns 0..4 and 8..12, 4..8 and 12..16, and the same of the upper half.
        let mut high = [_mm256_setzero_si256(); 4];
        let mut low = [_mm256_set1_epi32(HALF); 4];
        for (rows, two) in rows.chunks(2 * stride).zip(weights) {
            let above = &rows[block * BLOCK..][..BLOCK];
            // The weight of a row that is missing is 0.
            let below = rows
                .get(stride + block * BLOCK..)
                .and_then(|row| row.get(..BLOCK))
                .unwrap_or(above);
            let [upper, lower] = [two.high, two.low].map(|w| _mm256_set1_epi32(w));
            for half in 0..2 {
                // SAFETY: both are 32 bytes.
                let [a, b] = [above, below].map(|row| unsafe {
                    _mm256_cvtepu8_epi16(_mm_loadu_si128(row.as_ptr().add(16 * half).cast()))
                });
                for (i, inputs) in [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
                    .into_iter()
                    .enumerate()
                {
                    let i = 2 * half + i;
                    high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(inputs, upper));
                    low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(inputs, lower));
                }
            }
        }
        let sums: [__m256i; 4] = std::array::from_fn(|i| total(high[i], low[i]));
        // Packing works within halves.
        let packed = _mm256_packus_epi16(
            _mm256_packus_epi32(sums[0], sums[1]),
            _mm256_packus_epi32(sums[2], sums[3]),
        );
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        let mut all = [0; BLOCK];
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes) };
        out.copy_from_slice(&all[..out.len()]);
    }
}
