//! How like the training pictures a picture is, by its features: the Mahalanobis distance to the
//! nearest class (Lee et al. 2018), of features of unit length (Müller and Hein 2025).
//!
//! With x the features that the last layer reads, divided by their length; m_c the mean of class c
//! and S the covariance around the classes' means, of training pictures:
//!
//! ```text
//! S' = (1 - r) S + r tr(S) / d I = L L^T
//! distance = min over c of |L^-1 x - L^-1 m_c|^2
//! likeness = the share of held-out pictures whose distance is larger
//! ```
//! r is what Chen et al. 2010 (eq. 23, OAS) find for n pictures less one a class: a covariance of
//! fewer pictures than features has no inverse, and one of few more is a bad one.

use crate::model::confidence::{Likeness, PARTS, Space, triangle};

/// A picture is unlike the training pictures if fewer held-out pictures than this are less alike.
const UNLIKE: f32 = 0.01;
/// Least r: pictures of many features that never change leave an S that is not quite positive.
const LEAST: f64 = 1e-6;

/// Sums over features of training pictures, in f64 and in the order in which they are added.
pub(crate) struct Statistics {
    features: usize,
    count: u64,
    /// Pictures of each class.
    counts: Vec<u64>,
    /// `[classes, features]`.
    sums: Vec<f64>,
    /// Of x x^T, the lower triangle.
    products: Vec<f64>,
}

impl Statistics {
    /// None yet, of so many features and classes.
    pub(crate) fn new(features: usize, classes: usize) -> Statistics {
        Statistics {
            features,
            count: 0,
            counts: vec![0; classes],
            sums: vec![0.0; classes * features],
            products: vec![0.0; triangle(features)],
        }
    }

    /// Adds a picture.
    pub(crate) fn add(&mut self, embedding: &[f32], label: u32) {
        let (label, width) = (label as usize, self.features);
        let x = unit(embedding);
        self.count += 1;
        self.counts[label] += 1;
        add(&mut self.sums[label * width..][..width], &x, 1.0);
        for (i, &scale) in x.iter().enumerate() {
            add(&mut self.products[triangle(i)..][..=i], &x[..=i], scale);
        }
    }

    /// Where the features lie; `None` if they do not vary, or no class has two pictures.
    pub(crate) fn space(mut self) -> Option<Space> {
        let (width, n) = (self.features, self.count as f64);
        let seen: Vec<usize> = (0..self.counts.len()).filter(|&c| self.counts[c] > 0).collect();
        let free = n - seen.len() as f64;
        if free < 1.0 {
            return None;
        }
        for &class in &seen {
            let sum = &mut self.sums[class * width..][..width];
            sum.iter_mut().for_each(|x| *x /= self.counts[class] as f64);
            for (i, &scale) in sum.iter().enumerate() {
                let row = &mut self.products[triangle(i)..][..=i];
                add(row, &sum[..=i], -scale * self.counts[class] as f64);
            }
        }
        let mut covariance = self.products;
        covariance.iter_mut().for_each(|x| *x /= n);
        shrink(&mut covariance, width, free)?;
        let mut space = Space { features: width, means: Vec::new(), factor: factor(covariance)? };
        for class in seen {
            let mean = space.whitened(&self.sums[class * width..][..width]);
            space.means.extend(mean.iter().map(|&x| x as f32));
        }
        Some(space)
    }
}

/// Moves a covariance, a lower triangle, towards the identity; `None` if nothing varies.
fn shrink(covariance: &mut [f64], width: usize, n: f64) -> Option<()> {
    let d = width as f64;
    let (mut trace, mut squares) = (0.0, 0.0);
    for i in 0..width {
        let row = &covariance[triangle(i)..][..=i];
        trace += row[i];
        squares += 2.0 * row.iter().map(|x| x * x).sum::<f64>() - row[i] * row[i];
    }
    if !(trace.is_finite() && trace > 0.0) {
        return None;
    }
    let apart = squares - trace * trace / d;
    let r = ((1.0 - 2.0 / d) * squares + trace * trace) / ((n + 1.0 - 2.0 / d) * apart);
    let r = if apart > 0.0 { r.clamp(LEAST, 1.0) } else { 1.0 };
    covariance.iter_mut().for_each(|x| *x *= 1.0 - r);
    (0..width).for_each(|i| covariance[triangle(i) + i] += r * trace / d);
    Some(())
}

/// L of a positive matrix L L^T (Cholesky); `None` if it is not positive.
fn factor(mut matrix: Vec<f64>) -> Option<Vec<f32>> {
    let width = (0..).find(|&i| triangle(i) >= matrix.len()).unwrap_or_default();
    for i in 0..width {
        let (above, row) = matrix.split_at_mut(triangle(i));
        for j in 0..=i {
            let rest = row[j]
                - match j < i {
                    true => dot(&row[..j], &above[triangle(j)..][..j]),
                    false => dot(&row[..j], &row[..j]),
                };
            row[j] = if j < i { rest / above[triangle(j) + j] } else { rest.sqrt() };
        }
        if !(row[i].is_finite() && row[i] as f32 > 0.0) {
            return None;
        }
    }
    Some(matrix.into_iter().map(|x| x as f32).collect())
}

impl Space {
    /// L^-1 x.
    fn whitened(&self, x: &[f64]) -> Vec<f64> {
        let mut white = vec![0.0; x.len()];
        for (i, &x) in x.iter().enumerate() {
            let row = &self.factor[triangle(i)..][..=i];
            white[i] = (x - dot(&white[..i], &row[..i])) / f64::from(row[i]);
        }
        white
    }

    /// From a picture's features to the nearest class.
    pub(crate) fn distance(&self, embedding: &[f32]) -> f32 {
        let white = self.whitened(&unit(embedding));
        let to = |mean: &[f32]| lanes(&white, mean, |a, b| (a - f64::from(b)).powi(2));
        self.means.chunks_exact(self.features).map(to).fold(f64::INFINITY, f64::min) as f32
    }
}

impl Likeness {
    /// What is known once the distances of held-out pictures are, of which there is one at least.
    pub(crate) fn new(space: Space, mut distances: Vec<f32>) -> Likeness {
        distances.sort_by(f32::total_cmp);
        let at = |part: usize| {
            let place = (part * (distances.len() - 1)) as f64 / (PARTS - 1) as f64;
            let low = distances[place as usize];
            let high = distances[place.ceil() as usize];
            low + (high - low) * place.fract() as f32
        };
        Likeness { limit: UNLIKE, quantiles: (0..PARTS).map(at).collect(), space }
    }

    /// The share of held-out pictures that are less like the training pictures than one of these
    /// features.
    pub(crate) fn of(&self, embedding: &[f32]) -> f32 {
        self.share(self.space.distance(embedding))
    }

    /// The same of one at this distance.
    pub(crate) fn share(&self, distance: f32) -> f32 {
        let below = self.quantiles.partition_point(|&q| q <= distance);
        let nearer = match below {
            0 => 0.0,
            PARTS => (PARTS - 1) as f32,
            _ => {
                let (low, high) = (self.quantiles[below - 1], self.quantiles[below]);
                (below - 1) as f32 + (distance - low) / (high - low)
            }
        };
        1.0 - nearer / (PARTS - 1) as f32
    }
}

/// Features of unit length.
fn unit(embedding: &[f32]) -> Vec<f64> {
    let squares: f64 = embedding.iter().map(|&x| f64::from(x).powi(2)).sum();
    // Features that are all zero stay so.
    let length = squares.sqrt().max(f64::MIN_POSITIVE);
    embedding.iter().map(|&x| f64::from(x) / length).collect()
}

/// `to` + `scale` `x`.
fn add(to: &mut [f64], x: &[f64], scale: f64) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += scale * x);
}

fn dot<B: Copy + Into<f64>>(a: &[f64], b: &[B]) -> f64 {
    lanes(a, b, |a, b| a * b.into())
}

/// The sum of `f` over pairs, in an order that depends on their number alone and that vectors of
/// the CPU can follow.
fn lanes<B: Copy>(a: &[f64], b: &[B], f: impl Fn(f64, B) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (blocks, more) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = blocks.remainder().iter().zip(more.remainder());
    let rest: f64 = rest.map(|(&a, &b)| f(a, b)).sum();
    for (a, b) in blocks.zip(more) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests;
