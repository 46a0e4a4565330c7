//! Channels as vectors of numbers, one a picture: how many of them there really are, and what a
//! linear classifier makes of them.
//!
//! X: `[n, c]`, the channels' means over places, of n pictures, less their mean over the pictures,
//! each over its standard deviation.

use crate::base::threads;

/// Pull of the ridge towards zero, for each picture: enough that a few hundred pictures do not
/// memorise thousands of channels.
const RIDGE: f64 = 0.1;

/// How many channels a layer really uses: (sum of l)^2 / (sum of l^2) for the eigenvalues l of the
/// channels' covariance, between 1 and c: its participation ratio. `x` is `[n, c]` as it was
/// measured.
pub fn participation(x: &[f32], c: usize) -> f64 {
    let (mut x, n) = (centred(x, c).0, x.len() / c);
    // The eigenvalues of X^T X and X X^T are the same but for zeros.
    let gram = if n < c {
        gram(&x, n, c)
    } else {
        x = transposed(&x, n, c);
        gram(&x, c, n)
    };
    let side = n.min(c);
    let trace: f64 = (0..side).map(|i| gram[i * side + i]).sum();
    let squares: f64 = gram.iter().map(|g| g * g).sum();
    if squares > 0.0 { trace * trace / squares } else { 0.0 }
}

/// A linear classifier of pooled maps.
#[derive(Clone, Debug)]
pub struct LinearProbe {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// `[c, classes]`.
    w: Vec<f64>,
    bias: Vec<f64>,
}

impl LinearProbe {
    /// Fits the classifier to `[n, c]` pooled maps and their labels by ridge regression on targets
    /// of 0 and 1: W = (X^T X + r n I)^-1 X^T Y, or X^T (X X^T + r n I)^-1 Y where that is smaller.
    ///
    /// # Panics
    /// If there is no picture, or a label for which `classes` has no class.
    pub fn fit(x: &[f32], c: usize, labels: &[u32], classes: usize) -> LinearProbe {
        let n = labels.len();
        let (mut x, mean) = centred(x, c);
        let mut scale = vec![0f64; c];
        for row in x.chunks_exact(c) {
            scale.iter_mut().zip(row).for_each(|(sum, v)| *sum += v * v);
        }
        for s in &mut scale {
            let std = (*s / n as f64).sqrt();
            *s = if std > 1e-9 { 1.0 / std } else { 0.0 };
        }
        for row in x.chunks_exact_mut(c) {
            row.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
        }
        let mut bias = vec![0f64; classes];
        labels.iter().for_each(|&label| bias[label as usize] += 1.0 / n as f64);
        let y: Vec<f64> = labels
            .iter()
            .flat_map(|&label| {
                (0..classes).zip(&bias).map(move |(k, b)| f64::from(k == label as usize) - b)
            })
            .collect();
        let columns = transposed(&x, n, c);
        let ridge = RIDGE * n as f64;
        let w = if n < c {
            let mut kernel = gram(&x, n, c);
            (0..n).for_each(|i| kernel[i * n + i] += ridge);
            let mut alpha = y;
            solve(&mut kernel, n, &mut alpha, classes);
            product(&columns, c, n, &alpha, classes)
        } else {
            let mut covariance = gram(&columns, c, n);
            (0..c).for_each(|i| covariance[i * c + i] += ridge);
            let mut w = product(&columns, c, n, &y, classes);
            solve(&mut covariance, c, &mut w, classes);
            w
        };
        LinearProbe { mean, scale, w, bias }
    }

    /// How many of these pictures it takes for what they are.
    pub fn right(&self, x: &[f32], labels: &[u32]) -> usize {
        let (c, classes) = (self.mean.len(), self.bias.len());
        let mut scores = vec![0f64; classes];
        let is_right = |(row, label): (&[f32], &u32)| {
            scores.copy_from_slice(&self.bias);
            for (k, &v) in row.iter().enumerate() {
                let v = (f64::from(v) - self.mean[k]) * self.scale[k];
                let w = &self.w[k * classes..][..classes];
                scores.iter_mut().zip(w).for_each(|(score, w)| *score += v * w);
            }
            let best =
                (0..classes).max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
            best == Some(*label as usize)
        };
        let rows = x.chunks_exact(c).zip(labels);
        rows.map(is_right).filter(|right| *right).count()
    }
}

/// X less its mean over the rows, and the mean.
fn centred(x: &[f32], c: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (x.len() / c).max(1) as f64;
    let mut mean = vec![0f64; c];
    for row in x.chunks_exact(c) {
        mean.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    mean.iter_mut().for_each(|m| *m /= n);
    let rows = x.chunks_exact(c);
    let x = rows.flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m)).collect();
    (x, mean)
}

fn transposed(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| x[i * columns + j])).collect()
}

/// A A^T of `[rows, columns]`, each number summed in one order whatever the threads.
fn gram(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let row = |i: usize| &a[i * columns..][..columns];
    let indices: Vec<usize> = (0..rows).collect();
    let lower = threads::map_with(
        &indices,
        threads::cores(),
        || (),
        |(), &i| (0..=i).map(|j| dot(row(i), row(j))).collect::<Vec<f64>>(),
    );
    let mut gram = vec![0f64; rows * rows];
    for (i, numbers) in lower.iter().enumerate() {
        for (j, &number) in numbers.iter().enumerate() {
            gram[i * rows + j] = number;
            gram[j * rows + i] = number;
        }
    }
    gram
}

/// A B of `[rows, inner]` and `[inner, columns]`.
fn product(a: &[f64], rows: usize, inner: usize, b: &[f64], columns: usize) -> Vec<f64> {
    let mut all = vec![0f64; rows * columns];
    for (out, row) in all.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
        for (v, b) in row.iter().zip(b.chunks_exact(columns)) {
            out.iter_mut().zip(b).for_each(|(o, b)| *o += v * b);
        }
    }
    debug_assert_eq!(all.len(), rows * columns);
    all
}

/// Four sums beside each other, so that they can be vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

/// Solves A X = B in place by Cholesky's decomposition; A is positive definite, `[n, n]`, and is
/// overwritten; B is `[n, columns]`.
fn solve(a: &mut [f64], n: usize, b: &mut [f64], columns: usize) {
    for i in 0..n {
        for j in 0..=i {
            let (above, below) = a.split_at_mut(i * n);
            let rest = match j == i {
                true => below[i] - dot(&below[..i], &below[..i]),
                false => below[j] - dot(&below[..j], &above[j * n..][..j]),
            };
            below[j] = match j == i {
                // The ridge keeps it positive but for rounding.
                true => rest.max(1e-12).sqrt(),
                false => rest / above[j * n + j],
            };
        }
    }
    let subtract = |b: &mut [f64], from: usize, what: usize, factor: f64| {
        for k in 0..columns {
            b[from * columns + k] -= factor * b[what * columns + k];
        }
    };
    for i in 0..n {
        for j in 0..i {
            subtract(b, i, j, a[i * n + j]);
        }
        b[i * columns..][..columns].iter_mut().for_each(|v| *v /= a[i * n + i]);
    }
    for i in (0..n).rev() {
        for j in i + 1..n {
            subtract(b, i, j, a[j * n + i]);
        }
        b[i * columns..][..columns].iter_mut().for_each(|v| *v /= a[i * n + i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn participation_counts_the_directions_that_are_used() {
        let mut rng = Rng::new(1, &[]);
        // Three directions of equal size, copied into 12 channels; 200 and 8 pictures.
        let x = |n: usize, rng: &mut Rng| -> Vec<f32> {
            let signs: Vec<[f32; 3]> =
                (0..n).map(|_| [(); 3].map(|()| if rng.coin() { 1.0 } else { -1.0 })).collect();
            signs.iter().flat_map(|s| (0..12).map(|k| 5.0 + s[k % 3])).collect()
        };
        let many = participation(&x(4000, &mut rng), 12);
        assert!((many - 3.0).abs() < 0.05, "{many}");
        let few = participation(&x(8, &mut rng), 12);
        assert!((1.0..=3.0001).contains(&few), "{few}");
        assert_eq!(participation(&[1.0; 24], 12), 0.0);
    }

    /// Both forms of the ridge give the same classifier, and it tells what can be told.
    #[test]
    fn a_probe_tells_classes_that_differ_in_their_means() {
        let mut rng = Rng::new(2, &[]);
        let (c, classes) = (30, 3);
        let mut draw = |n: usize| {
            let labels: Vec<u32> = (0..n).map(|i| (i % classes) as u32).collect();
            let x: Vec<f32> = labels
                .iter()
                .flat_map(|&label| {
                    (0..c).map(move |k| if k % classes == label as usize { 1.0 } else { 0.0 })
                })
                .map(|mean: f32| mean + rng.normal() as f32)
                .collect();
            (x, labels)
        };
        let (x, labels) = draw(600);
        let probe = LinearProbe::fit(&x, c, &labels, classes);
        let (other, truth) = draw(300);
        assert!(probe.right(&other, &truth) > 280, "{}", probe.right(&other, &truth));
        // With fewer pictures than channels the other form is solved; X twice as wide is X again.
        let (x, labels) = draw(24);
        let dual = LinearProbe::fit(&x, c, &labels, classes);
        let n = labels.len();
        let (mean, std) = (&dual.mean, &dual.scale);
        let standard: Vec<f64> =
            x.iter().enumerate().map(|(i, &v)| (f64::from(v) - mean[i % c]) * std[i % c]).collect();
        let mut covariance = gram(&transposed(&standard, n, c), c, n);
        (0..c).for_each(|i| covariance[i * c + i] += RIDGE * n as f64);
        let y: Vec<f64> = labels
            .iter()
            .flat_map(|&l| (0..classes).map(move |k| f64::from(k == l as usize) - 1.0 / 3.0))
            .collect();
        let mut primal = product(&transposed(&standard, n, c), c, n, &y, classes);
        solve(&mut covariance, c, &mut primal, classes);
        for (a, b) in dual.w.iter().zip(&primal) {
            assert!((a - b).abs() < 1e-9, "{a} and {b}");
        }
    }
}
