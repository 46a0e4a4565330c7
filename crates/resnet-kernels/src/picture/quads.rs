//! Both passes with AVX-512 VNNI, which adds four products of an unsigned and a signed byte to each
//! of sixteen sums, and VBMI, which gathers bytes from anywhere in one or two vectors.
//!
//! Four rows are resized at once and stored as the four bytes of a word, so that the second pass
//! finds the inputs of four products side by side. A weight is w2 2^16 + w1 2^8 + w0, each in
//! -128..=127; sums may wrap on their way, their total does not.

use std::arch::x86_64::*;

use super::Rows;
use super::taps::{BITS, HALF, Taps};

/// Sums in a vector.
const LANES: usize = 16;

/// Proof of the instructions, and memory that is used again.
#[derive(Debug)]
pub(super) struct Quads {
    across: Across,
    down: Down,
    /// Sixteen words of four rows' bytes in each line; `stride` lines for four rows.
    between: Vec<Line>,
}

#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Line([u8; 64]);

const BLANK: Line = Line([0; 64]);

/// The first pass: outputs by blocks of a vector.
#[derive(Debug, Default)]
struct Across {
    blocks: Vec<Block>,
    groups: Vec<Group>,
    /// Bytes of a row.
    len: usize,
}

#[derive(Debug)]
struct Block {
    /// Its first byte of the output.
    out: usize,
    /// Its groups end here; they begin where those of the block before end.
    end: usize,
    /// Whether its inputs lie in two vectors.
    wide: bool,
}

/// Four inputs of each output of a block.
#[derive(Debug)]
#[repr(C)]
struct Group {
    /// Where they lie, from `base` on.
    index: Line,
    digits: [Line; 3],
    base: usize,
}

/// The second pass: of each output its first four rows, and the digits of four weights by groups of
/// rows.
#[derive(Debug, Default)]
struct Down {
    firsts: Vec<usize>,
    ends: Vec<usize>,
    digits: Vec<[i32; 3]>,
}

impl Quads {
    pub(super) fn probe() -> Option<Quads> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni");
        let (across, down, between) = Default::default();
        found.then_some(Quads { across, down, between })
    }

    pub(super) fn run<const C: usize>(
        &mut self,
        across: &Taps,
        down: &Taps,
        read: Rows<'_>,
        out: &mut Vec<u8>,
    ) {
        let columns = across.starts.len() * C;
        self.across.compute::<C>(across, read.len);
        self.down.compute(down);
        // Whole vectors are written from the last output on, and four of them are read at once.
        let stride = (columns + LANES - 1).div_ceil(4 * LANES) * 4;
        let quads = read.count.div_ceil(4);
        self.between.resize(quads * stride, BLANK);
        for (quad, to) in self.between.chunks_exact_mut(stride).enumerate() {
            // Below the last row there is none; its weights are 0.
            let rows = std::array::from_fn(|i| read.row((quad * 4 + i).min(read.count - 1)));
            // SAFETY: a `Quads` exists only where `probe` found the features.
            unsafe { self.across.run(rows, to) };
        }
        out.resize(self.down.firsts.len() * columns, 0);
        let mut from = 0;
        for (y, row) in out.chunks_exact_mut(columns).enumerate() {
            let digits = &self.down.digits[from..self.down.ends[y]];
            from = self.down.ends[y];
            let rows = &self.between[self.down.firsts[y] * stride..][..digits.len() * stride];
            // SAFETY: as above.
            unsafe { mean_of_rows(rows, stride, digits, row) };
        }
    }
}

/// A weight's digits, lowest first.
fn digits(weight: i32) -> [i8; 3] {
    let low = weight as i8;
    let rest = (weight - i32::from(low)) >> 8;
    let middle = rest as i8;
    [low, middle, ((rest - i32::from(middle)) >> 8) as i8]
}

impl Across {
    /// Blocks for pixels of `C` channels in rows of `len` bytes.
    fn compute<const C: usize>(&mut self, taps: &Taps, len: usize) {
        self.blocks.clear();
        self.groups.clear();
        self.len = len;
        let outputs = taps.starts.len() * C;
        let mut out = 0;
        while out < outputs {
            let start = |output: usize| taps.starts[output / C];
            let (mut least, mut most, mut lanes) = (start(out), start(out), 1);
            while lanes < LANES.min(outputs - out) {
                let next = start(out + lanes);
                if (most.max(next) - least.min(next) + 4) * C > 128 {
                    break;
                }
                (least, most, lanes) = (least.min(next), most.max(next), lanes + 1);
            }
            let wide = (most - least + 4) * C > 64;
            self.block::<C>(taps, out..out + lanes, least, wide);
            out += lanes;
        }
    }

    /// A block whose first input is `least`.
    fn block<const C: usize>(
        &mut self,
        taps: &Taps,
        outputs: std::ops::Range<usize>,
        least: usize,
        wide: bool,
    ) {
        let pixels = outputs.start / C..(outputs.end - 1) / C + 1;
        let count = pixels.clone().map(|pixel| taps.weights(pixel).len()).max().unwrap_or(0);
        let (first, out) = (self.groups.len(), outputs.start);
        // No vector reaches behind the row's end, if the row is as long as one.
        let latest = self.len.saturating_sub(if wide { 128 } else { 64 });
        let groups = (0..count.div_ceil(4)).map(|group| {
            let base = ((least + 4 * group) * C).min(latest);
            Group { index: BLANK, digits: [BLANK; 3], base }
        });
        self.groups.extend(groups);
        for pixel in pixels {
            let (start, weights) = (taps.starts[pixel], taps.weights(pixel));
            for (tap, &weight) in weights.iter().enumerate() {
                let group = &mut self.groups[first + tap / 4];
                let (digits, at) = (digits(weight), (start + tap) * C - group.base);
                for c in 0..C {
                    let Some(lane) =
                        (pixel * C + c).checked_sub(out).filter(|&lane| lane < outputs.len())
                    else {
                        continue;
                    };
                    let byte = lane * 4 + tap % 4;
                    group.index.0[byte] = (at + c) as u8;
                    (0..3).for_each(|i| group.digits[i].0[byte] = digits[i] as u8);
                }
            }
        }
        self.blocks.push(Block { out, end: self.groups.len(), wide });
    }

    /// Resizes four rows into words.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn run(&self, rows: [&[u8]; 4], to: &mut [Line]) {
        assert!(rows.iter().all(|row| row.len() == self.len));
        let words = to.len() * LANES;
        assert!(self.blocks.iter().all(|block| block.out + LANES <= words));
        let low = |bytes: usize| u64::MAX.checked_shr(64 - bytes.min(64) as u32).unwrap_or(0);
        let masks = [low(self.len), low(self.len.saturating_sub(64))];
        let to = to.as_mut_ptr().cast::<u8>();
        let (zero, half) = (_mm512_setzero_si512(), _mm512_set1_epi32(HALF));
        let mut first = 0;
        for block in &self.blocks {
            let mut sums = [[half, zero, zero]; 4];
            for group in &self.groups[first..block.end] {
                // SAFETY: lines are 64 bytes; of a row only bytes are read that the masks say it
                // has: `base` is 0, or so far from its end as the vectors are long.
                unsafe {
                    let load = |line: &Line| _mm512_load_si512(line.0.as_ptr().cast());
                    let index = load(&group.index);
                    let digits = [0, 1, 2].map(|i| load(&group.digits[i]));
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        let from = row.as_ptr().wrapping_add(group.base).cast::<i8>();
                        let near = _mm512_maskz_loadu_epi8(masks[0], from);
                        let bytes = match block.wide {
                            false => _mm512_permutexvar_epi8(index, near),
                            true => {
                                let from = from.wrapping_add(64);
                                let far = _mm512_maskz_loadu_epi8(masks[1], from);
                                _mm512_permutex2var_epi8(near, index, far)
                            }
                        };
                        for (sum, digits) in sums.iter_mut().zip(digits) {
                            *sum = _mm512_dpbusd_epi32(*sum, bytes, digits);
                        }
                    }
                }
            }
            first = block.end;
            let most = _mm512_set1_epi32(255);
            let [a, b, c, d] = sums.map(|sums| _mm512_min_epu32(total(sums), most));
            let ab = _mm512_or_si512(a, _mm512_slli_epi32::<8>(b));
            let cd = _mm512_or_si512(c, _mm512_slli_epi32::<8>(d));
            let words = _mm512_or_si512(ab, _mm512_slli_epi32::<16>(cd));
            // SAFETY: the block's sixteen words lie in `to`, as was checked.
            unsafe { _mm512_storeu_si512(to.add(block.out * 4).cast(), words) };
        }
    }
}

/// Sums of products by digits as numbers without a fraction.
#[inline]
#[target_feature(enable = "avx512f")]
fn total([low, middle, high]: [__m512i; 3]) -> __m512i {
    let upper = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), middle);
    let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(upper), low);
    _mm512_srli_epi32::<BITS>(sum)
}

impl Down {
    fn compute(&mut self, taps: &Taps) {
        self.firsts.clear();
        self.ends.clear();
        self.digits.clear();
        for (start, weights) in taps.outputs() {
            let before = start % 4;
            let first = self.digits.len();
            let groups = (before + weights.len()).div_ceil(4);
            self.digits.resize(first + groups, [0; 3]);
            for (i, &weight) in weights.iter().enumerate() {
                let (group, byte) = (first + (before + i) / 4, (before + i) % 4);
                for (sum, digit) in self.digits[group].iter_mut().zip(digits(weight)) {
                    *sum |= i32::from(digit as u8) << (8 * byte);
                }
            }
            self.firsts.push(start / 4);
            self.ends.push(self.digits.len());
        }
    }
}

/// The weighted mean of rows that stand in words by four, `stride` lines each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn mean_of_rows(rows: &[Line], stride: usize, digits: &[[i32; 3]], out: &mut [u8]) {
    assert!(
        rows.len() == digits.len() * stride
            && out.len() <= stride * LANES
            && stride.is_multiple_of(4)
    );
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let (zero, half) = (_mm512_setzero_si512(), _mm512_set1_epi32(HALF));
    for (block, out) in out.chunks_mut(4 * LANES).enumerate() {
        let mut sums = [[half, zero, zero]; 4];
        for (row, digits) in rows.chunks_exact(stride).zip(digits) {
            let digits = digits.map(|digit| _mm512_set1_epi32(digit));
            for (line, sums) in row[block * 4..][..4].iter().zip(&mut sums) {
                // SAFETY: a line is 64 bytes.
                let bytes = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
                for (sum, digits) in sums.iter_mut().zip(digits) {
                    *sum = _mm512_dpbusd_epi32(*sum, bytes, digits);
                }
            }
        }
        let [a, b, c, d] = sums.map(|sums| total(sums));
        // Packing works within quarters.
        let packed = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
        let bytes = _mm512_permutexvar_epi32(order, packed);
        let mask = u64::MAX >> (4 * LANES - out.len());
        // SAFETY: as many bytes are written as `out` has.
        unsafe { _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), mask, bytes) };
    }
}
