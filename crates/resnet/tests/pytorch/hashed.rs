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

/// `count` numbers `offset + scale * signed`.
pub(crate) fn uniform(key: &str, count: usize, offset: f64, scale: f64) -> Vec<f32> {
    let hashed = Hashed::new(key);
    (0..count)
        .map(|i| (offset + scale * hashed.signed(i)) as f32)
        .collect()
}

/// The value of parameter `name` with these dimensions on disk.
pub(crate) fn parameter(prefix: &str, name: &str, dims: &[usize]) -> Vec<f32> {
    let count: usize = dims.iter().product();
    let (offset, scale) = if name.ends_with(".bias") {
        (0.0, 0.1)
    } else if name.ends_with(".bn3.weight") {
        (0.25, 0.1)
    } else if dims.len() == 1 {
        (1.0, 0.1)
    } else {
        (0.0, (6.0 / (count / dims[0]) as f64).sqrt())
    };
    uniform(&format!("{prefix}{name}"), count, offset, scale)
}
