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
    /// rows of 8 samples, each so many bytes behind the one before. At least a coefficient other
    /// than the first is not 0; a product with its step fits in 20 bits.
    ///
    /// In 32-bit integers that wrap: products; then over columns, 12 bits of fraction, plus 512,
    /// shifted by 10; then over rows, plus 65,536 + 512 + 128 * 2^17, shifted by 17; then cut to
    /// 0 to 255. Factors are 4096 times those of Loeffler, Ligtenberg and Moschytz (1989).
    pub transform: fn(&[i16; 64], &[i16; 64], &mut [u8], usize),
    /// The same, where only the first 4 columns of the first 4 rows hold coefficients.
    pub transform_corner: fn(&[i16; 64], &[i16; 64], &mut [u8], usize),
    /// A row between two rows, three quarters of the first and one of the second:
    /// `(3 * near + far + 2) / 4`.
    pub blend: fn(&[u8], &[u8], &mut [u8]),
    /// A row of twice as many samples: from `n + 2`, of which the outer two are neighbours, to
    /// `2 * n`, each three quarters of its own sample and one of the neighbour on its side.
    pub widen: fn(&[u8], &mut [u8]),
    /// Luma, blue and red chroma to red, green and blue, with 14 bits of fraction.
    pub colours: fn(&[u8], &[u8], &[u8], &mut [u8]),
}

impl Stages {
    /// For every machine.
    pub const PORTABLE: Stages =
        Stages { transform, transform_corner: transform, blend, widen, colours };
}

type Row = [i32; 8];

fn map(a: Row, f: impl Fn(i32) -> i32) -> Row {
    a.map(f)
}

#[inline(always)]
fn add(a: Row, b: Row) -> Row {
    std::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

#[inline(always)]
fn sub(a: Row, b: Row) -> Row {
    std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
}

#[inline(always)]
fn scale(a: Row, factor: i32) -> Row {
    map(a, |v| v.wrapping_mul(factor))
}

#[inline(always)]
fn pass(r: [Row; 8], rounding: i32, shift: u32) -> [Row; 8] {
    let p1 = scale(add(r[2], r[6]), 2217);
    let t2 = add(p1, scale(r[6], -7567));
    let t3 = add(p1, scale(r[2], 3135));
    let t0 = map(add(r[0], r[4]), |v| (v << 12).wrapping_add(rounding));
    let t1 = map(sub(r[0], r[4]), |v| (v << 12).wrapping_add(rounding));
    let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];

    let p1 = add(r[7], r[1]);
    let p2 = add(r[5], r[3]);
    let p3 = add(r[7], r[3]);
    let p4 = add(r[5], r[1]);
    let p5 = scale(add(p3, p4), 4816);
    let p1 = add(p5, scale(p1, -3685));
    let p2 = add(p5, scale(p2, -10497));
    let p3 = scale(p3, -8034);
    let p4 = scale(p4, -1597);
    let odd = [
        add(scale(r[1], 6149), add(p1, p4)),
        add(scale(r[3], 12586), add(p2, p3)),
        add(scale(r[5], 8410), add(p2, p4)),
        add(scale(r[7], 1223), add(p1, p3)),
    ];
    std::array::from_fn(|i| match i < 4 {
        true => map(add(even[i], odd[i]), |v| v >> shift),
        false => map(sub(even[7 - i], odd[7 - i]), |v| v >> shift),
    })
}

#[inline(always)]
fn transposed(r: [Row; 8]) -> [Row; 8] {
    std::array::from_fn(|i| std::array::from_fn(|j| r[j][i]))
}

fn transform(coefficients: &[i16; 64], steps: &[i16; 64], out: &mut [u8], stride: usize) {
    let products: [Row; 8] = std::array::from_fn(|i| {
        std::array::from_fn(|j| i32::from(coefficients[8 * i + j]) * i32::from(steps[8 * i + j]))
    });
    let rows = transposed(pass(products, 512, 10));
    let rows = transposed(pass(rows, 65536 + 512 + (128 << 17), 17));
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        out[..8].copy_from_slice(&row.map(|v| v.clamp(0, 255) as u8));
    }
}

fn blend(near: &[u8], far: &[u8], out: &mut [u8]) {
    for ((&near, &far), out) in near.iter().zip(far).zip(out) {
        *out = ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8;
    }
}

fn widen(row: &[u8], out: &mut [u8]) {
    let n = out.len() / 2;
    let (left, own, right) = (&row[..n], &row[1..n + 1], &row[2..n + 2]);
    for (((&left, &own), &right), out) in left.iter().zip(own).zip(right).zip(out.as_chunks_mut().0)
    {
        let own = 3 * u16::from(own) + 2;
        *out = [((own + u16::from(left)) >> 2) as u8, ((own + u16::from(right)) >> 2) as u8];
    }
}

fn colours(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    for (((&y, &cb), &cr), out) in luma.iter().zip(blue).zip(red).zip(out.as_chunks_mut().0) {
        *out = colour(y, cb, cr);
    }
}

#[inline(always)]
fn colour(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let y = i32::from(y) * 16384 + 8191;
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let (r, g, b) = (y + 22970 * cr, y - 11700 * cr - 5638 * cb, y + 29032 * cb);
    [r, g, b].map(|v| (v >> 14).clamp(0, 255) as u8)
}
