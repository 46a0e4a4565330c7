//! The temperature that makes a network's probabilities mean what they say (Guo et al. 2017,
//! section 4.2).
//!
//! With logits z of a picture whose class is y, and b = 1 / T:
//!
//! ```text
//! NLL(b)   = mean of  log sum exp(b z) - b z[y]
//! NLL'(b)  = mean of  E[z] - z[y]           where E is over softmax(b z)
//! NLL''(b) = mean of  E[z^2] - E[z]^2
//! ```
//! NLL is convex in b, so the zero of NLL' is found by Newton's steps between two ends that close
//! in. It exists where NLL' is below zero at b = 0 (the network is better than its classes' mean)
//! and above zero far out (it makes a mistake).

use crate::measure::metric::rows;

/// Why no temperature fits best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOptimum {
    /// There are no pictures.
    Empty,
    /// Every picture is right: the lower the temperature, the better.
    NoMistakes,
    /// The logits say nothing about the classes: the higher the temperature, the better.
    NoBetterThanChance,
}

/// Most steps; each at least halves what lies between the ends, of which f64 has no more.
const STEPS: usize = 200;

/// The temperature at which the probabilities of `logits`, `[n, classes]`, are the best for
/// `labels`, `[n]`. Sums are in f64, in the pictures' order.
///
/// # Errors
/// There is none.
///
/// # Panics
/// If the number of logits is not a multiple of the number of labels.
pub fn temperature(logits: &[f32], labels: &[u32]) -> Result<f64, NoOptimum> {
    if labels.is_empty() {
        return Err(NoOptimum::Empty);
    }
    let most = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if rows(logits, labels).all(|(row, label)| row[label as usize] == most(row)) {
        return Err(NoOptimum::NoMistakes);
    }
    if slopes(logits, labels, 0.0).0 >= 0.0 {
        return Err(NoOptimum::NoBetterThanChance);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while slopes(logits, labels, high).0 < 0.0 {
        (low, high) = (high, 2.0 * high);
    }
    let mut b = high;
    for _ in 0..STEPS {
        let (slope, curve) = slopes(logits, labels, b);
        match slope < 0.0 {
            true => low = b,
            false => high = b,
        }
        let newton = b - slope / curve;
        // A step that leaves the ends, or is no number, gives way to the middle.
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - b).abs() <= 1e-12 * b {
            break;
        }
        b = next;
    }
    Ok(1.0 / b)
}

/// The first and second derivative of NLL by b.
fn slopes(logits: &[f32], labels: &[u32], b: f64) -> (f64, f64) {
    let (mut slope, mut curve) = (0.0, 0.0);
    for (row, label) in rows(logits, labels) {
        // Relative to the largest, so that nothing overflows and little cancels.
        let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for &z in row {
            let z = f64::from(z) - most;
            let power = (b * z).exp();
            sum += power;
            first += power * z;
            second += power * z * z;
        }
        let mean = first / sum;
        slope += mean - (f64::from(row[label as usize]) - most);
        curve += second / sum - mean * mean;
    }
    let n = labels.len() as f64;
    (slope / n, curve / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes, logits (a, 0), right r of n times: NLL is least where softmax gives r / n.
    #[test]
    fn the_optimum_of_a_hand_made_case() {
        for (a, right, n) in [(4.0f32, 3, 4), (0.5, 9, 10), (-30.0, 1, 5), (1000.0, 4, 6)] {
            let logits = [a, 0.0].repeat(n);
            let labels: Vec<u32> = (0..n).map(|i| u32::from(i >= right)).collect();
            let p = right as f64 / n as f64;
            let expected = f64::from(a) / (p / (1.0 - p)).ln();
            let found = temperature(&logits, &labels).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{a}: {found}, expected {expected}");
        }
    }

    /// A temperature only divides: logits c times as large have one c times as high, and those that
    /// were divided by theirs have 1.
    #[test]
    fn scaling_logits_scales_the_temperature() {
        let logits: Vec<f32> = (0..400).map(|i| ((i * 89) % 53) as f32 * 0.2 - 5.0).collect();
        let best = |row: &[f32]| {
            let at = (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            at as u32
        };
        let labels: Vec<u32> = (logits.chunks(4).enumerate())
            .map(|(i, row)| (best(row) + u32::from(i % 4 == 0)) % 4)
            .collect();
        let t = temperature(&logits, &labels).unwrap();
        for c in [0.01f32, 0.5, 300.0] {
            let scaled: Vec<f32> = logits.iter().map(|z| z * c).collect();
            let found = temperature(&scaled, &labels).unwrap();
            assert!((found / (t * f64::from(c)) - 1.0).abs() < 1e-5, "{c}: {found} {t}");
        }
        // The derivative itself, by differences.
        let nll = |b: f64| {
            let one = |(row, label): (&[f32], u32)| {
                let sum: f64 = row.iter().map(|&z| (b * f64::from(z)).exp()).sum();
                sum.ln() - b * f64::from(row[label as usize])
            };
            rows(&logits, &labels).map(one).sum::<f64>() / labels.len() as f64
        };
        let (slope, curve) = slopes(&logits, &labels, 0.3);
        let h = 1e-4;
        assert!((slope - (nll(0.3 + h) - nll(0.3 - h)) / (2.0 * h)).abs() < 1e-6);
        let second = (nll(0.3 + h) - 2.0 * nll(0.3) + nll(0.3 - h)) / (h * h);
        assert!((curve - second).abs() < 1e-4, "{curve} {second}");
        assert!(nll(1.0 / t) < nll(0.99 / t) && nll(1.0 / t) < nll(1.01 / t));
    }

    #[test]
    fn where_nothing_fits_best_it_says_why() {
        assert_eq!(temperature(&[], &[]), Err(NoOptimum::Empty));
        let sure = [3.0, 0.0, 5.0, 1.0];
        assert_eq!(temperature(&sure, &[0, 0]), Err(NoOptimum::NoMistakes));
        assert_eq!(temperature(&sure, &[1, 1]), Err(NoOptimum::NoBetterThanChance));
        assert_eq!(temperature(&[1.0; 4], &[0, 1]), Err(NoOptimum::NoMistakes));
    }
}
