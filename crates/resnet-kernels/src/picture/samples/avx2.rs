//! With AVX2: eight rows or columns of a transform at once, sixteen pixels of colours.

use std::arch::x86_64::*;

use super::Samples;

/// The functions, where the CPU has AVX2.
pub(super) fn samples() -> Option<Samples> {
    is_x86_feature_detected!("avx2").then_some(Samples {
        // SAFETY: the CPU has AVX2.
        transform: |c, s, out, stride| unsafe { transform::<false>(c, s, out, stride) },
        // SAFETY: the CPU has AVX2.
        transform_corner: |c, s, out, stride| unsafe { transform::<true>(c, s, out, stride) },
        // SAFETY: the CPU has AVX2.
        blend: |near, far, out| unsafe { blend(near, far, out) },
        // SAFETY: the CPU has AVX2.
        widen: |row, out| unsafe { widen(row, out) },
        // SAFETY: the CPU has AVX2.
        colours: |y, cb, cr, out| unsafe { colours(y, cb, cr, out) },
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn scaled(a: __m256i, factor: i32) -> __m256i {
    _mm256_mullo_epi32(a, _mm256_set1_epi32(factor))
}

/// One dimension of the transform, of eight rows or columns at once, before it is shifted.
#[inline]
#[target_feature(enable = "avx2")]
fn pass(r: [__m256i; 8], rounding: i32) -> [__m256i; 8] {
    let add = |a, b| _mm256_add_epi32(a, b);
    let sub = |a, b| _mm256_sub_epi32(a, b);
    let p1 = scaled(add(r[2], r[6]), 2217);
    let t2 = add(p1, scaled(r[6], -7567));
    let t3 = add(p1, scaled(r[2], 3135));
    let rounding = _mm256_set1_epi32(rounding);
    let t0 = add(_mm256_slli_epi32::<12>(add(r[0], r[4])), rounding);
    let t1 = add(_mm256_slli_epi32::<12>(sub(r[0], r[4])), rounding);
    let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];
    let p3 = add(r[7], r[3]);
    let p4 = add(r[5], r[1]);
    let p5 = scaled(add(p3, p4), 4816);
    let p1 = add(p5, scaled(add(r[7], r[1]), -3685));
    let p2 = add(p5, scaled(add(r[5], r[3]), -10497));
    let p3 = scaled(p3, -8034);
    let p4 = scaled(p4, -1597);
    let odd = [
        add(scaled(r[1], 6149), add(p1, p4)),
        add(scaled(r[3], 12586), add(p2, p3)),
        add(scaled(r[5], 8410), add(p2, p4)),
        add(scaled(r[7], 1223), add(p1, p3)),
    ];
    [
        add(even[0], odd[0]),
        add(even[1], odd[1]),
        add(even[2], odd[2]),
        add(even[3], odd[3]),
        sub(even[3], odd[3]),
        sub(even[2], odd[2]),
        sub(even[1], odd[1]),
        sub(even[0], odd[0]),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn transposed(r: [__m256i; 8]) -> [__m256i; 8] {
    // Pairs of rows, then pairs of pairs, then halves.
    let low = |a, b| _mm256_unpacklo_epi32(a, b);
    let high = |a, b| _mm256_unpackhi_epi32(a, b);
    let a = [low(r[0], r[1]), high(r[0], r[1]), low(r[2], r[3]), high(r[2], r[3])];
    let b = [low(r[4], r[5]), high(r[4], r[5]), low(r[6], r[7]), high(r[6], r[7])];
    let quarter = |p: [__m256i; 4]| {
        [
            _mm256_unpacklo_epi64(p[0], p[2]),
            _mm256_unpackhi_epi64(p[0], p[2]),
            _mm256_unpacklo_epi64(p[1], p[3]),
            _mm256_unpackhi_epi64(p[1], p[3]),
        ]
    };
    let (a, b) = (quarter(a), quarter(b));
    let front = |i: usize| _mm256_permute2x128_si256::<0x20>(a[i], b[i]);
    let back = |i: usize| _mm256_permute2x128_si256::<0x31>(a[i], b[i]);
    [front(0), front(1), front(2), front(3), back(0), back(1), back(2), back(3)]
}

#[target_feature(enable = "avx2")]
fn transform<const CORNER: bool>(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) {
    assert!(stride >= 8 && out.len() >= 7 * stride + 8);
    let zero = _mm256_setzero_si256();
    let used = if CORNER { 4 } else { 8 };
    let mut rows = [zero; 8];
    for (i, row) in rows[..used].iter_mut().enumerate() {
        // SAFETY: both are eight rows of eight numbers.
        let [a, b] = [coefficients, steps].map(|from| unsafe {
            _mm256_cvtepi16_epi32(_mm_loadu_si128(from.as_ptr().add(8 * i).cast()))
        });
        *row = _mm256_mullo_epi32(a, b);
    }
    let rows = pass(rows, 512).map(|v| _mm256_srai_epi32::<10>(v));
    let mut columns = transposed(rows);
    if CORNER {
        columns[4..].fill(zero);
    }
    let samples = pass(columns, 65536 + 512 + (128 << 17)).map(|v| _mm256_srai_epi32::<17>(v));
    // Columns of four rows in each half; packing cuts to 0..=255.
    let four = |c: &[__m256i]| {
        let (front, back) = (_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
        let by_row = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
        ));
        _mm256_shuffle_epi8(_mm256_packus_epi16(front, back), by_row)
    };
    let (left, right) = (four(&samples[..4]), four(&samples[4..]));
    let pairs = [_mm256_unpacklo_epi32(left, right), _mm256_unpackhi_epi32(left, right)];
    for (pair, rows) in pairs.into_iter().zip([0, 2]) {
        let halves = [_mm256_castsi256_si128(pair), _mm256_extracti128_si256::<1>(pair)];
        for (half, rows) in halves.into_iter().zip([rows, rows + 4]) {
            // SAFETY: eight bytes of each of eight rows lie in `out`, as was checked.
            unsafe {
                let to = out.as_mut_ptr().add(rows * stride);
                _mm_storel_epi64(to.cast(), half);
                _mm_storel_epi64(to.add(stride).cast(), _mm_unpackhi_epi64(half, half));
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn blend(near: &[u8], far: &[u8], out: &mut [u8]) {
    for ((&near, &far), out) in near.iter().zip(far).zip(out) {
        *out = ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8;
    }
}

#[target_feature(enable = "avx2")]
fn widen(row: &[u8], out: &mut [u8]) {
    let n = out.len() / 2;
    let (left, own, right) = (&row[..n], &row[1..n + 1], &row[2..n + 2]);
    for (((&left, &own), &right), out) in left.iter().zip(own).zip(right).zip(out.as_chunks_mut().0)
    {
        let own = 3 * u16::from(own) + 2;
        *out = [((own + u16::from(left)) >> 2) as u8, ((own + u16::from(right)) >> 2) as u8];
    }
}

#[target_feature(enable = "avx2")]
fn colours(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let count = luma.len().min(blue.len()).min(red.len()).min(out.len() / 3);
    let whole = count / 16 * 16;
    // Two factors in each word.
    let pair = |a: i32, b: i32| _mm256_set1_epi32((a & 0xffff) | (b << 16));
    let (of_y, of_r) = (pair(16384, 8191), pair(0, 22970));
    let (of_g, of_b) = (pair(-5638, -11700), pair(29032, 0));
    let (one, middle) = (_mm256_set1_epi16(1), _mm256_set1_epi16(128));
    for at in (0..whole).step_by(16) {
        // SAFETY: all three have 16 bytes from here on.
        let [y, cb, cr] = [luma, blue, red].map(|from| unsafe {
            _mm256_cvtepu8_epi16(_mm_loadu_si128(from.as_ptr().add(at).cast()))
        });
        let (cb, cr) = (_mm256_sub_epi16(cb, middle), _mm256_sub_epi16(cr, middle));
        let chroma = [_mm256_unpacklo_epi16(cb, cr), _mm256_unpackhi_epi16(cb, cr)];
        let light = [_mm256_unpacklo_epi16(y, one), _mm256_unpackhi_epi16(y, one)]
            .map(|v| _mm256_madd_epi16(v, of_y));
        let channel = |factors: __m256i| {
            let [low, high]: [__m256i; 2] = std::array::from_fn(|i| {
                let sum = _mm256_add_epi32(light[i], _mm256_madd_epi16(chroma[i], factors));
                _mm256_srai_epi32::<14>(sum)
            });
            let words = _mm256_packs_epi32(low, high);
            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
        };
        let parts = interleaved([channel(of_r), channel(of_g), channel(of_b)]);
        for (i, part) in parts.into_iter().enumerate() {
            // SAFETY: `out` has 48 bytes from here on.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().add(3 * at + 16 * i).cast(), part) };
        }
    }
    for i in whole..count {
        let y = i32::from(luma[i]) * 16384 + 8191;
        let (cb, cr) = (i32::from(blue[i]) - 128, i32::from(red[i]) - 128);
        let pixel = [y + 22970 * cr, y - 11700 * cr - 5638 * cb, y + 29032 * cb];
        out[3 * i..][..3].copy_from_slice(&pixel.map(|v| (v >> 14).clamp(0, 255) as u8));
    }
}

/// By part of sixteen bytes and channel, which byte of the channel goes where.
const ORDERS: [[[i8; 16]; 3]; 3] = {
    let mut orders = [[[-1; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        orders[at / 16][at % 3][at % 16] = (at / 3) as i8;
        at += 1;
    }
    orders
};

/// Sixteen bytes of each of three channels, pixel by pixel.
#[inline]
#[target_feature(enable = "avx2")]
fn interleaved(channels: [__m128i; 3]) -> [__m128i; 3] {
    ORDERS.map(|orders| {
        let [r, g, b]: [__m128i; 3] = std::array::from_fn(|c| {
            // SAFETY: sixteen bytes.
            let order = unsafe { _mm_loadu_si128(orders[c].as_ptr().cast()) };
            _mm_shuffle_epi8(channels[c], order)
        });
        _mm_or_si128(_mm_or_si128(r, g), b)
    })
}
