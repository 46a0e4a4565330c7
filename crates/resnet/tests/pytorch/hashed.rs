//! Numbers made from a name, as `tools/fixtures/hashed.py` makes them; the rules stand there.

/// The words of one key.
pub(crate) struct Hashed(u64);

impl Hashed {
    pub(crate) fn new(key: &str) -> Hashed {
        Hashed(key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    pub(crate) fn word(&self, i: usize) -> u64 {
        let step = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0.wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn signed(&self, i: usize) -> f64 {
        (self.word(i) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub(crate) fn index(&self, i: usize, n: usize) -> usize {
        (self.word(i) % n as u64) as usize
    }
}

/// `count` numbers `scale * signed`.
pub(crate) fn uniform(key: &str, count: usize, scale: f64) -> Vec<f32> {
    let hashed = Hashed::new(key);
    (0..count).map(|i| (scale * hashed.signed(i)) as f32).collect()
}

/// The value of parameter `name` with these dimensions on disk.
pub(crate) fn parameter(prefix: &str, name: &str, dims: &[usize]) -> Vec<f32> {
    let count: usize = dims.iter().product();
    let key = format!("{prefix}{name}");
    if dims.len() > 1 {
        return uniform(&key, count, (6.0 / (count / dims[0]) as f64).sqrt());
    }
    let hashed = Hashed::new(&key);
    let factor = if name.contains(".bn3.") { 0.25 } else { 1.0 };
    let value = |i| {
        let u = hashed.signed(i);
        let centre = match name.ends_with(".bias") {
            true if u < 0.0 => -2.0,
            true => 2.0,
            false => 1.0,
        };
        factor * (centre + 0.1 * u)
    };
    (0..count).map(|i| value(i) as f32).collect()
}

/// Images `[n, side, side, 3]` and labels of a batch.
pub(crate) fn batch(
    prefix: &str,
    batch: usize,
    n: usize,
    side: usize,
    classes: usize,
) -> (Vec<f32>, Vec<u32>) {
    let nchw = uniform(&format!("{prefix}images/{batch}"), n * 3 * side * side, 1.7);
    let pixels = side * side;
    let mut nhwc = vec![0.0; nchw.len()];
    for (i, &value) in nchw.iter().enumerate() {
        let (image, c, pixel) = (i / (3 * pixels), i / pixels % 3, i % pixels);
        nhwc[(image * pixels + pixel) * 3 + c] = value;
    }
    let hashed = Hashed::new(&format!("{prefix}labels/{batch}"));
    let labels = (0..n).map(|i| hashed.index(i, classes) as u32).collect();
    (nhwc, labels)
}
