//! Bytes to normalised numbers.

use crate::isa::{Isa, Proof};
use crate::simd::{Simd, Task};

/// Numbers of three vectors of the widest instruction set: channels repeat in them.
const REPEAT: usize = 48;

/// (v / 255 - mean) / std of a byte v, by channel, in f32 with each step rounded.
///
/// In vectors, a quotient is a product with the reciprocal, corrected by what is left over
/// (Markstein 1990), which rounds as a division does where multiply and add are fused. It is used
/// if every byte gives the bits that the division gives; else the numbers of all bytes are looked
/// up.
#[derive(Clone, Debug)]
pub struct Normalizer {
    proof: Proof,
    tables: Vec<[f32; 256]>,
    factors: Option<Box<Factors>>,
}

/// Means, spreads with their sign changed, and their reciprocals, repeated.
#[derive(Clone, Debug)]
struct Factors {
    mean: [f32; REPEAT],
    minus_std: [f32; REPEAT],
    reciprocal: [f32; REPEAT],
}

impl Normalizer {
    /// For 1 or 3 channels of these means and standard deviations; `None` if the machine lacks the
    /// instruction set.
    ///
    /// # Panics
    /// If there are not 1 or 3 means, and as many deviations.
    pub fn new(isa: Isa, mean: &[f32], std: &[f32]) -> Option<Normalizer> {
        let channels = mean.len();
        assert!(
            matches!(channels, 1 | 3) && std.len() == channels,
            "{channels} means and {} deviations",
            std.len()
        );
        let proof = Proof::probe(isa)?;
        let table = |c: usize| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / std[c]);
        let tables = (0..channels).map(table).collect();
        let factors = Factors {
            mean: std::array::from_fn(|i| mean[i % channels]),
            minus_std: std::array::from_fn(|i| -std[i % channels]),
            reciprocal: std::array::from_fn(|i| 1.0 / std[i % channels]),
        };
        let mut normalizer = Normalizer { proof, tables, factors: Some(Box::new(factors)) };
        if !normalizer.is_exact() {
            normalizer.factors = None;
        }
        Some(normalizer)
    }

    /// Whether each byte of each channel gives the number of its table.
    fn is_exact(&self) -> bool {
        let channels = self.channels();
        // So many that vectors of every length are whole, for 1 and for 3 channels.
        let bytes: Vec<u8> = (0..256 * 3).map(|i| (i / channels) as u8).collect();
        let mut found = vec![0.0; bytes.len()];
        self.normalize(&bytes, &mut found);
        let number = |(i, &v): (usize, &u8)| self.tables[i % channels][usize::from(v)];
        let expected = bytes.iter().enumerate().map(number);
        found.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        self.tables.len()
    }

    /// Writes the number of each byte of some pixels.
    ///
    /// # Panics
    /// If there are not as many numbers as bytes, or these are no whole pixels.
    pub fn normalize(&self, bytes: &[u8], out: &mut [f32]) {
        assert!(
            bytes.len() == out.len() && bytes.len().is_multiple_of(self.channels()),
            "{} bytes of {} channels to {} numbers",
            bytes.len(),
            self.channels(),
            out.len()
        );
        match &self.factors {
            Some(factors) => {
                self.proof.run(Multiply { factors, tables: &self.tables, bytes, out });
            }
            None => look_up(&self.tables, bytes, out),
        }
    }
}

fn look_up(tables: &[[f32; 256]], bytes: &[u8], out: &mut [f32]) {
    match tables {
        [r, g, b] => {
            let pixels = bytes.as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0);
            for (v, x) in pixels {
                *x = [r[v[0] as usize], g[v[1] as usize], b[v[2] as usize]];
            }
        }
        _ => {
            for (table, (x, &v)) in tables.iter().cycle().zip(out.iter_mut().zip(bytes)) {
                *x = table[v as usize];
            }
        }
    }
}

struct Multiply<'a> {
    factors: &'a Factors,
    tables: &'a [[f32; 256]],
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Task for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const { assert!(3 * S::LANES <= REPEAT) };
        let Multiply { factors, tables, bytes, out } = self;
        let quotient = |v: S::V, reciprocal: S::V, minus: S::V| {
            let rough = s.mul(v, reciprocal);
            s.fma(s.fma(rough, minus, v), reciprocal, rough)
        };
        let (of_255, minus_255) = (s.splat(1.0 / 255.0), s.splat(-255.0));
        let load = |numbers: &[f32; REPEAT]| {
            // SAFETY: three vectors have no more numbers than these.
            [0, 1, 2].map(|i| unsafe { s.load(numbers.as_ptr().add(i * S::LANES)) })
        };
        let mean = load(&factors.mean);
        let minus_std = load(&factors.minus_std);
        let reciprocal = load(&factors.reciprocal);
        let step = 3 * S::LANES; // a multiple of 1 and of 3 channels
        let (mut numbers, mut inputs) = (out.chunks_exact_mut(step), bytes.chunks_exact(step));
        for (out, bytes) in numbers.by_ref().zip(inputs.by_ref()) {
            for i in 0..3 {
                // SAFETY: both are three vectors long.
                unsafe {
                    let v = s.load_bytes(bytes.as_ptr().add(i * S::LANES));
                    let part = s.sub(quotient(v, of_255, minus_255), mean[i]);
                    let x = quotient(part, reciprocal[i], minus_std[i]);
                    s.store(out.as_mut_ptr().add(i * S::LANES), x);
                }
            }
        }
        look_up(tables, inputs.remainder(), numbers.into_remainder());
    }
}
