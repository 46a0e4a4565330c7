//! What is computed for every sample: inverse cosine transform, chroma at the picture's size,
//! colours. Plain loops over slices, which compilers turn into vector instructions.
//!
//! Decoders differ in the last bits of all three. These are the formulas of the crate zune-jpeg,
//! to the bit, so that a picture has the same pixels whoever decodes it.

/// Functions that compute the samples. Faster ones may take the place of [`Stages::PORTABLE`];
/// they return the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// Inverse cosine transform of a block: coefficients and quantisation steps row by row, to 8
    /// rows of 8 samples, each so many bytes behind the one before. False where a product or a
    /// number between the passes does not fit in 16 bits, as in no undamaged photo; what was
    /// written then does not count.
    ///
    /// First over columns: 12 bits of fraction, plus 512, shifted by 10; then over rows, plus
    /// 65,536 + 512 + 128 * 2^17, shifted by 17 and cut to 0 to 255. Factors are 4096 times those
    /// of Loeffler, Ligtenberg and Moschytz (1989), and sums and products of them exact.
    pub transform: Transform,
    /// The same, where only the first 4 columns of the first 4 rows hold coefficients.
    pub transform_corner: Transform,
    /// A row between two rows, three quarters of the first and one of the second:
    /// `(3 * near + far + 2) / 4`.
    pub blend: fn(&[u8], &[u8], &mut [u8]),
    /// A row of twice as many samples: from `n + 2`, of which the outer two are neighbours, to
    /// `2 * n`, each three quarters of its own sample and one of the neighbour on its side.
    pub widen: fn(&[u8], &mut [u8]),
    /// YCbCr to RGB (ITU-R BT.601) with 14 bits of fraction.
    pub colours: Colours,
}

/// Coefficients, quantisation steps, where samples go, and bytes between their rows.
pub type Transform = fn(&[i16; 64], &[i16; 64], &mut [u8], usize) -> bool;

/// Rows of luma, blue and red chroma, and where their red, green and blue go.
pub type Colours = fn(&[u8], &[u8], &[u8], &mut [u8]);

impl Stages {
    /// For every machine.
    pub const PORTABLE: Stages = Stages { transform, transform_corner, blend, widen, colours };
}

/// Added before the shift of the first pass, and of the second, which also makes 128 of 0.
const FIRST: i32 = 512;
const SECOND: i32 = 65536 + 512 + (128 << 17);

/// What rows 1, 3, 5 and 7 add to outputs 0 to 3, and take from outputs 7 to 4.
const ODD: [[i32; 4]; 4] = [
    [5683, 4816, 3219, 1131],
    [4816, -1129, -5681, -3218],
    [3219, -5681, 1132, 4816],
    [1131, -3218, 4816, -5680],
];

/// One column or row, of which the first `N` numbers are not 0, of 16 bits: no sum overflows. All
/// factors of an input are joined, which makes more products of fewer bits.
#[inline(always)]
fn pass<const N: usize>(x: impl Fn(usize) -> i16, rounding: i32) -> [i32; 8] {
    let x = |index| if index < N { i32::from(x(index)) } else { 0 };
    let t0 = ((x(0) + x(4)) << 12) + rounding;
    let t1 = ((x(0) - x(4)) << 12) + rounding;
    let t2 = x(2) * 2217 - x(6) * 5350;
    let t3 = x(2) * 5352 + x(6) * 2217;
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];
    let mut odd = [0; 4];
    for (odd, [f1, f3, f5, f7]) in odd.iter_mut().zip(ODD) {
        *odd = x(1) * f1 + x(3) * f3 + x(5) * f5 + x(7) * f7;
    }
    [
        even[0] + odd[0],
        even[1] + odd[1],
        even[2] + odd[2],
        even[3] + odd[3],
        even[3] - odd[3],
        even[2] - odd[2],
        even[1] - odd[1],
        even[0] - odd[0],
    ]
}

/// Transforms a block of which only `N` columns of `N` rows are not 0.
#[inline(always)]
fn narrow<const N: usize>(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) -> bool {
    let mut products = [[0; 8]; N];
    let mut large = [0; 8];
    for row in 0..N {
        for column in 0..8 {
            let place = 8 * row + column;
            let product = i32::from(coefficients[place]) * i32::from(steps[place]);
            products[row][column] = product as i16;
            large[column] |= (product >> 16) as i16 ^ (product as i16 >> 15);
        }
    }
    let mut rows = [[0; 8]; 8];
    for column in 0..8 {
        let results = pass::<N>(|row| products[row][column], FIRST);
        for row in 0..8 {
            let result = results[row] >> 10;
            rows[row][column] = result.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
    let mut extreme = [false; 8];
    for row in &rows {
        for column in 0..8 {
            extreme[column] |= (row[column] == i16::MAX) | (row[column] == i16::MIN);
        }
    }
    if large != [0; 8] || extreme != [false; 8] {
        return false;
    }
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        let samples = pass::<N>(|column| row[column], SECOND);
        out[..8].copy_from_slice(&samples.map(|sample| (sample >> 17).clamp(0, 255) as u8));
    }
    true
}

fn transform(coefficients: &[i16; 64], steps: &[i16; 64], out: &mut [u8], stride: usize) -> bool {
    narrow::<8>(coefficients, steps, out, stride)
}

fn transform_corner(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) -> bool {
    narrow::<4>(coefficients, steps, out, stride)
}

/// The transform for numbers of any size, which wrap in 32 bits.
#[cold]
#[inline(never)]
pub(super) fn transform_wide(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) {
    let products: [i32; 64] =
        std::array::from_fn(|place| i32::from(coefficients[place]) * i32::from(steps[place]));
    let mut rows = [[0; 8]; 8];
    for column in 0..8 {
        let results = wide_pass(|row| products[8 * row + column], FIRST);
        for row in 0..8 {
            rows[row][column] = results[row] >> 10;
        }
    }
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        let samples = wide_pass(|column| row[column], SECOND);
        out[..8].copy_from_slice(&samples.map(|sample| (sample >> 17).clamp(0, 255) as u8));
    }
}

/// As [`pass`]; factors may be joined as there, since wrapping sums and products are exact but for
/// the bits that are lost.
fn wide_pass(x: impl Fn(usize) -> i32, rounding: i32) -> [i32; 8] {
    let sum = |terms: &[(usize, i32)]| {
        terms
            .iter()
            .fold(0i32, |sum, &(index, factor)| sum.wrapping_add(x(index).wrapping_mul(factor)))
    };
    const EVEN: [[i32; 4]; 4] = [
        [4096, 5352, 4096, 2217],
        [4096, 2217, -4096, -5350],
        [4096, -2217, -4096, 5350],
        [4096, -5352, 4096, -2217],
    ];
    std::array::from_fn(|index| {
        let (line, is_mirrored) = (index.min(7 - index), index > 3);
        let [f0, f2, f4, f6] = EVEN[line];
        let even = sum(&[(0, f0), (2, f2), (4, f4), (6, f6)]).wrapping_add(rounding);
        let [f1, f3, f5, f7] = ODD[line];
        let odd = sum(&[(1, f1), (3, f3), (5, f5), (7, f7)]);
        match is_mirrored {
            true => even.wrapping_sub(odd),
            false => even.wrapping_add(odd),
        }
    })
}

fn blend(near: &[u8], far: &[u8], out: &mut [u8]) {
    for ((&near, &far), out) in near.iter().zip(far).zip(out) {
        *out = ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8;
    }
}

fn widen(row: &[u8], out: &mut [u8]) {
    let n = out.len() / 2;
    let (left, own, right) = (&row[..n], &row[1..n + 1], &row[2..n + 2]);
    for (((left, own), right), out) in left.iter().zip(own).zip(right).zip(out.as_chunks_mut().0) {
        let own = 3 * u16::from(*own) + 2;
        let [left, right] = [left, right].map(|&side| ((own + u16::from(side)) >> 2) as u8);
        *out = [left, right];
    }
}

/// Pixels whose colours are computed before they are interleaved.
const RUN: usize = 32;

fn colours(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let (ys, y_rest) = luma.as_chunks::<RUN>();
    let (cbs, cb_rest) = blue.as_chunks::<RUN>();
    let (crs, cr_rest) = red.as_chunks::<RUN>();
    let (runs, rest) = out.as_chunks_mut::<{ 3 * RUN }>();
    for (((y, cb), cr), out) in ys.iter().zip(cbs).zip(crs).zip(runs) {
        let mut colours = [[0; RUN]; 3];
        for i in 0..RUN {
            let [r, g, b] = colour(y[i], cb[i], cr[i]);
            (colours[0][i], colours[1][i], colours[2][i]) = (r, g, b);
        }
        let [r, g, b] = &colours;
        for (i, pixel) in out.as_chunks_mut().0.iter_mut().enumerate() {
            *pixel = [r[i], g[i], b[i]];
        }
    }
    let pixels = rest.as_chunks_mut().0;
    for (((&y, &cb), &cr), pixel) in y_rest.iter().zip(cb_rest).zip(cr_rest).zip(pixels) {
        *pixel = colour(y, cb, cr);
    }
}

#[inline(always)]
fn colour(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let [y, cb, cr] = [i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128].map(i32::from);
    let r = y * 16384 + cr * 22970;
    let g = y * 16384 + cr * -11700 + cb * -5638;
    let b = y * 16384 + cb * 29032;
    [r, g, b].map(|v| ((v + 8191) >> 14).clamp(0, 255) as u8)
}
