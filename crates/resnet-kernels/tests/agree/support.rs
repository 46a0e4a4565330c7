//! Data, fences, and the one way of comparing.

use resnet_kernels::{Cpu, Isa, Number};

/// A value no kernel computes, around every output.
const CANARY: f32 = -7.25e33;
const FENCE: usize = 40;

/// Numbers from a seed (splitmix64; Steele, Lea & Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Small integers: sums of products are exact in f32 in any order.
    pub(crate) fn integers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.below(7) as f32 - 3.0).collect()
    }

    /// Uniform in -1..1.
    pub(crate) fn reals(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

/// A buffer between two fences.
pub(crate) struct Fenced<T = f32> {
    buffer: Vec<T>,
    len: usize,
}

impl<T: Number> Fenced<T> {
    /// Holds the values, rounded to the numbers of the buffer.
    pub(crate) fn new(values: &[f32]) -> Fenced<T> {
        let mut buffer = vec![T::of(CANARY); FENCE];
        buffer.extend(values.iter().map(|&x| T::of(x)));
        buffer.extend([T::of(CANARY); FENCE]);
        Fenced { buffer, len: values.len() }
    }

    /// Filled with a value that must not survive or matter.
    pub(crate) fn scratch(len: usize) -> Fenced<T> {
        Fenced::new(&vec![f32::NAN; len])
    }

    pub(crate) fn get(&mut self) -> &mut [T] {
        &mut self.buffer[FENCE..FENCE + self.len]
    }

    /// The content, once the fences are seen to be whole.
    pub(crate) fn take(&mut self, what: &str) -> Vec<f32> {
        let fences = self.buffer[..FENCE].iter().chain(&self.buffer[FENCE + self.len..]);
        assert!(
            fences.into_iter().all(|x| x.get() == T::of(CANARY).get()),
            "{what}: wrote outside its output"
        );
        self.get().iter().map(|x| x.get()).collect()
    }
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Every instruction set of this machine, on two threads.
pub(crate) fn cpus() -> Vec<Cpu> {
    Isa::available().into_iter().map(|isa| Cpu::with_isa(isa, 2).unwrap()).collect()
}

/// Asserts |found - expected| <= bound everywhere (NaN equals NaN); prints the worst element.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f64], bound: f64) {
    assert_near(what, found, expected, bound, 0.0);
}

/// The same with a part of the bound in proportion to each number.
pub(crate) fn assert_near(what: &str, found: &[f32], expected: &[f64], bound: f64, relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths differ");
    // How much a number is off beyond what is in proportion to it.
    let error = |i: usize| {
        let (a, b) = (f64::from(found[i]), expected[i]);
        if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() - relative * b.abs() }
    };
    // A NaN on one side only is worse than any number.
    let worse = |a: f64| if a.is_nan() { f64::INFINITY } else { a };
    let worst = (0..found.len()).max_by(|&i, &j| worse(error(i)).total_cmp(&worse(error(j))));
    let Some(i) = worst else { return };
    assert!(
        worse(error(i)) <= bound,
        "{what}: element {i} of {} is {}, expected {}, off by {:e}, allowed {bound:e}",
        found.len(),
        found[i],
        expected[i],
        error(i)
    );
}

/// Asserts equal bits.
pub(crate) fn assert_same_bits(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths differ");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            a.to_bits() == b.to_bits(),
            "{what}: element {i} is {a}, expected the very bits of {b}"
        );
    }
}

/// Half a unit in the last place of a number stored as `T`, in proportion to it, doubled for what
/// comes before the rounding.
pub(crate) fn rounding<T: Number>() -> f64 {
    match T::NAME {
        "f32" => 0.0,
        _ => 1.0 / 256.0,
    }
}

/// The numbers as `T` stores them.
pub(crate) fn rounded<T: Number>(x: Vec<f32>) -> Vec<f32> {
    x.into_iter().map(|x| T::of(x).get()).collect()
}

/// The same of exact results.
pub(crate) fn stored<T: Number>(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(T::of(x as f32).get())).collect()
}
