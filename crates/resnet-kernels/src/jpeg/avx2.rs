//! AVX2: a row or column of 8 numbers of 32 bits is a vector.

use std::arch::x86_64::*;

use super::JpegStages;

/// The functions, where the CPU has AVX2. They are reached in no other way.
pub(super) fn probe() -> Option<JpegStages> {
    is_x86_feature_detected!("avx2").then_some(JpegStages { transform, transform_corner, colours })
}

fn transform(coefficients: &[i16; 64], steps: &[i16; 64], out: &mut [u8], stride: usize) -> bool {
    // SAFETY: only `probe` gives this function away, where the CPU has AVX2.
    unsafe { transform_block(coefficients, steps, out, stride) }
}

fn transform_corner(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) -> bool {
    // SAFETY: as in `transform`.
    unsafe { transform_corner_of_block(coefficients, steps, out, stride) }
}

fn colours(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    // SAFETY: as in `transform`.
    unsafe { colours_of_row(luma, blue, red, out) }
}

const FIRST: i32 = 512;
const SECOND: i32 = 65536 + 512 + (128 << 17);

/// The factors of inputs 1, 3, 5 and 7 in the odd parts of outputs 0 to 3.
const ODD: [[i16; 4]; 4] = [
    [5683, 4816, 3219, 1131],
    [4816, -1129, -5681, -3218],
    [3219, -5681, 1132, 4816],
    [1131, -3218, 4816, -5680],
];

/// Two factors, for products of pairs.
#[inline(always)]
fn pair(a: i16, b: i16) -> i32 {
    i32::from(a as u16) | i32::from(b) << 16
}

#[inline]
#[target_feature(enable = "avx2")]
fn row(values: &[i16; 64], index: usize) -> __m128i {
    let row: &[i16; 8] = &values.as_chunks().0[index];
    // SAFETY: 16 bytes are there, and need no alignment.
    unsafe { _mm_loadu_si128(row.as_ptr().cast()) }
}

/// A row of coefficients by their steps; `large` gets bits where a product has more than 16.
#[inline]
#[target_feature(enable = "avx2")]
fn products(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    index: usize,
    large: &mut __m128i,
) -> __m128i {
    let (c, s) = (row(coefficients, index), row(steps, index));
    let (low, high) = (_mm_mullo_epi16(c, s), _mm_mulhi_epi16(c, s));
    *large = _mm_or_si128(*large, _mm_xor_si128(high, _mm_srai_epi16::<15>(low)));
    low
}

/// Whether a number is the largest or the smallest of 16 bits, as one that was cut is.
#[inline]
#[target_feature(enable = "avx2")]
fn any_cut(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> bool {
    let most = _mm256_max_epi16(_mm256_max_epi16(a, b), _mm256_max_epi16(c, d));
    let least = _mm256_min_epi16(_mm256_min_epi16(a, b), _mm256_min_epi16(c, d));
    let most = _mm256_cmpeq_epi16(most, _mm256_set1_epi16(i16::MAX));
    let cut = _mm256_or_si256(most, _mm256_cmpeq_epi16(least, _mm256_set1_epi16(i16::MIN)));
    _mm256_testz_si256(cut, cut) == 0
}

/// A pass over pairs of inputs: 0 and 4, 2 and 6, 1 and 3, 5 and 7.
#[inline]
#[target_feature(enable = "avx2")]
fn pass<const SHIFT: i32>(pairs: [__m256i; 4], rounding: i32) -> [__m256i; 8] {
    let [x04, x26, x13, x57] = pairs;
    let by = |x, a, b| _mm256_madd_epi16(x, _mm256_set1_epi32(pair(a, b)));
    let rounding = _mm256_set1_epi32(rounding);
    let t0 = _mm256_add_epi32(by(x04, 4096, 4096), rounding);
    let t1 = _mm256_add_epi32(by(x04, 4096, -4096), rounding);
    let (t2, t3) = (by(x26, 2217, -5350), by(x26, 5352, 2217));
    let even = [
        _mm256_add_epi32(t0, t3),
        _mm256_add_epi32(t1, t2),
        _mm256_sub_epi32(t1, t2),
        _mm256_sub_epi32(t0, t3),
    ];
    let mut out = [rounding; 8];
    for index in 0..4 {
        let [f1, f3, f5, f7] = ODD[index];
        let odd = _mm256_add_epi32(by(x13, f1, f3), by(x57, f5, f7));
        out[index] = _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(even[index], odd));
        out[7 - index] = _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(even[index], odd));
    }
    out
}

/// Rows `a` and `b` side by side in pairs of columns 0 and 4, 2 and 6, 1 and 3, 5 and 7.
#[inline]
#[target_feature(enable = "avx2")]
fn paired(a: __m256i, b: __m256i) -> __m256i {
    // Packing works within halves: the two middle quarters change places.
    let rows = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
    let order = _mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    _mm256_shuffle_epi8(rows, _mm256_broadcastsi128_si256(order))
}

#[target_feature(enable = "avx2")]
fn transform_block(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) -> bool {
    let mut large = _mm_setzero_si128();
    let mut r = [large; 8];
    for index in 0..8 {
        r[index] = products(coefficients, steps, index, &mut large);
    }
    let join = |a, b| _mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b));
    let pairs = [join(r[0], r[4]), join(r[2], r[6]), join(r[1], r[3]), join(r[5], r[7])];
    let r = pass::<10>(pairs, FIRST);
    let q = [paired(r[0], r[4]), paired(r[1], r[5]), paired(r[2], r[6]), paired(r[3], r[7])];
    if _mm_testz_si128(large, large) == 0 || any_cut(q[0], q[1], q[2], q[3]) {
        return false;
    }
    let (a, b) = (_mm256_unpacklo_epi32(q[0], q[1]), _mm256_unpackhi_epi32(q[0], q[1]));
    let (c, d) = (_mm256_unpacklo_epi32(q[2], q[3]), _mm256_unpackhi_epi32(q[2], q[3]));
    let pairs = [
        _mm256_unpacklo_epi64(a, c),
        _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d),
        _mm256_unpackhi_epi64(b, d),
    ];
    write(pass::<17>(pairs, SECOND), out, stride);
    true
}

/// A pass over pairs of the only inputs: 0 and 2, 1 and 3.
#[inline]
#[target_feature(enable = "avx2")]
fn pass_of_four<const SHIFT: i32>(x02: __m256i, x13: __m256i, rounding: i32) -> [__m256i; 8] {
    let by = |x, a, b| _mm256_madd_epi16(x, _mm256_set1_epi32(pair(a, b)));
    let rounding = _mm256_set1_epi32(rounding);
    let mut out = [rounding; 8];
    for (index, factor) in [5352, 2217, -2217, -5352].into_iter().enumerate() {
        let even = _mm256_add_epi32(by(x02, 4096, factor), rounding);
        let odd = by(x13, ODD[index][0], ODD[index][1]);
        out[index] = _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(even, odd));
        out[7 - index] = _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(even, odd));
    }
    out
}

#[target_feature(enable = "avx2")]
fn transform_corner_of_block(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) -> bool {
    let mut large = _mm_setzero_si128();
    let mut r = [large; 4];
    for index in 0..4 {
        r[index] = products(coefficients, steps, index, &mut large);
    }
    // The other four columns, of zeros, are in the upper halves, and go.
    let wide = |a, b| _mm256_castsi128_si256(_mm_unpacklo_epi16(a, b));
    let r = pass_of_four::<10>(wide(r[0], r[2]), wide(r[1], r[3]), FIRST);
    let pack = |a, b| _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_castsi256_si128(b));
    // Rows 0, 1, 4 and 5, then the others, in pairs of columns 0 and 2, 1 and 3.
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
    ));
    let a = _mm256_shuffle_epi8(_mm256_set_m128i(pack(r[4], r[5]), pack(r[0], r[1])), order);
    let b = _mm256_shuffle_epi8(_mm256_set_m128i(pack(r[6], r[7]), pack(r[2], r[3])), order);
    if _mm_testz_si128(large, large) == 0 || any_cut(a, b, a, b) {
        return false;
    }
    let (a, b) = (_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
    let x02 = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
    let x13 = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
    write(pass_of_four::<17>(x02, x13, SECOND), out, stride);
    true
}

/// Writes 8 columns of samples, cut to bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn write(c: [__m256i; 8], out: &mut [u8], stride: usize) {
    // Four columns of rows 0 to 3 in one half, of rows 4 to 7 in the other, then row by row.
    let turned = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    ));
    let four = |a, b, c, d| {
        let bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        _mm256_shuffle_epi8(bytes, turned)
    };
    let (left, right) = (four(c[0], c[1], c[2], c[3]), four(c[4], c[5], c[6], c[7]));
    let rows = [_mm256_unpacklo_epi32(left, right), _mm256_unpackhi_epi32(left, right)];
    let upper = rows.map(|rows| _mm256_extracti128_si256::<1>(rows));
    let lower = rows.map(|rows| _mm256_castsi256_si128(rows));
    assert!(out.len() > 7 * stride, "8 rows of samples");
    for (rows, out) in lower.into_iter().chain(upper).zip(out.chunks_mut(2 * stride)) {
        out[..8].copy_from_slice(&_mm_cvtsi128_si64(rows).to_le_bytes());
        out[stride..stride + 8].copy_from_slice(&_mm_extract_epi64::<1>(rows).to_le_bytes());
    }
}

#[target_feature(enable = "avx2")]
fn colours_of_row(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let (ys, y_rest) = luma.as_chunks::<16>();
    let (cbs, cb_rest) = blue.as_chunks::<16>();
    let (crs, cr_rest) = red.as_chunks::<16>();
    let (pixels, rest) = out.as_chunks_mut::<48>();
    for (((y, cb), cr), out) in ys.iter().zip(cbs).zip(crs).zip(pixels) {
        colours_of_sixteen(y, cb, cr, out);
    }
    let mut last = [[0; 16]; 3];
    for (last, rest) in last.iter_mut().zip([y_rest, cb_rest, cr_rest]) {
        last[..rest.len()].copy_from_slice(rest);
    }
    let mut pixels = [0; 48];
    colours_of_sixteen(&last[0], &last[1], &last[2], &mut pixels);
    rest.copy_from_slice(&pixels[..rest.len()]);
}

#[inline]
#[target_feature(enable = "avx2")]
fn colours_of_sixteen(y: &[u8; 16], cb: &[u8; 16], cr: &[u8; 16], out: &mut [u8; 48]) {
    let load = |bytes: &[u8; 16]| {
        // SAFETY: 16 bytes are there, and need no alignment.
        _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    };
    let middle = _mm256_set1_epi16(128);
    let (y, cb, cr) =
        (load(y), _mm256_sub_epi16(load(cb), middle), _mm256_sub_epi16(load(cr), middle));
    let rounding = _mm256_set1_epi32(8191);
    let by = |x, a, b| _mm256_madd_epi16(x, _mm256_set1_epi32(pair(a, b)));
    let shifted = |low, high| {
        let low = _mm256_srai_epi32::<14>(_mm256_add_epi32(low, rounding));
        _mm256_packs_epi32(low, _mm256_srai_epi32::<14>(_mm256_add_epi32(high, rounding)))
    };
    let (r_low, r_high) = (_mm256_unpacklo_epi16(y, cr), _mm256_unpackhi_epi16(y, cr));
    let (b_low, b_high) = (_mm256_unpacklo_epi16(y, cb), _mm256_unpackhi_epi16(y, cb));
    let r = shifted(by(r_low, 16384, 22970), by(r_high, 16384, 22970));
    let b = shifted(by(b_low, 16384, 29032), by(b_high, 16384, 29032));
    let g = shifted(
        _mm256_add_epi32(by(r_low, 16384, -11700), by(b_low, 0, -5638)),
        _mm256_add_epi32(by(r_high, 16384, -11700), by(b_high, 0, -5638)),
    );
    // Of each half, 8 pixels: 16 bytes, then 8.
    let (rg, b) = (_mm256_packus_epi16(r, g), _mm256_packus_epi16(b, b));
    let pick = |v, order| _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
    let first = _mm256_or_si256(
        pick(rg, _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5)),
        pick(b, _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1)),
    );
    let second = _mm256_or_si256(
        pick(rg, _mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1)),
        pick(b, _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1)),
    );
    let halves = [
        (_mm256_castsi256_si128(first), _mm256_castsi256_si128(second)),
        (_mm256_extracti128_si256::<1>(first), _mm256_extracti128_si256::<1>(second)),
    ];
    for (out, (first, second)) in out.as_chunks_mut::<24>().0.iter_mut().zip(halves) {
        // SAFETY: the first 16 of 24 bytes are written; they need no alignment.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), first) };
        out[16..].copy_from_slice(&_mm_cvtsi128_si64(second).to_le_bytes());
    }
}
