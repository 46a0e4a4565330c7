//! How the gradient changes over depth, as one number.
//!
//! In a chain of layers dL/dy_l = J_{l+1}^T ... J_L^T dL/dy_L: each layer multiplies the gradient
//! by its Jacobian, so its length tends to change by a factor a layer. A line through the
//! logarithms of the lengths over the layers gives that factor.
//!
//! The gradients of activations are measured, not those of weights: dL/dw_l is the product of
//! dL/dy_l and the layer's input, and where one shrinks with depth and the other with height, as
//! without batch norm, their product shows neither.

use serde::{Deserialize, Serialize};

use super::Measurement;

/// What the gradient does on its way from the last convolution to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It falls to less than a thousandth, or to nothing.
    Vanishing,
    /// It stays within a factor of a thousand.
    Healthy,
    /// It grows more than a thousandfold, or beyond what a number can hold.
    Exploding,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Vanishing => "vanishing",
            Verdict::Healthy => "healthy",
            Verdict::Exploding => "exploding",
        }
    }
}

/// Change from end to end beyond which we no longer call a gradient healthy.
pub(crate) const LIMIT: f64 = 1000.0;

/// The trend of dL/dy over the convolutions of the main path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Slope of the line through ln |dL/dy| over the layers, counted from the output to the input:
    /// above 0 it grows.
    #[serde(with = "crate::base::number")]
    pub slope: f64,
    /// Layers that the line goes through.
    pub layers: usize,
    /// The verdict.
    pub verdict: Verdict,
}

impl Trend {
    /// The trend of a measured network.
    pub fn of(measurement: &Measurement) -> Trend {
        let norms = measurement.path().map(|layer| layer.activation_gradient_norm);
        Trend::through(&norms.collect::<Vec<f64>>())
    }

    /// The trend of gradients in the order of the forward pass.
    pub(crate) fn through(norms: &[f64]) -> Trend {
        let points: Vec<(f64, f64)> = norms
            .iter()
            .enumerate()
            .filter(|(_, norm)| norm.is_finite() && **norm > 0.0)
            .map(|(i, norm)| (i as f64, norm.ln()))
            .collect();
        let n = points.len() as f64;
        let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let square: f64 = points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum();
        let product: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let slope = if square > 0.0 { -product / square } else { 0.0 };
        let change = slope * norms.len().saturating_sub(1) as f64;
        let verdict = if norms.iter().any(|norm| !norm.is_finite()) || change > LIMIT.ln() {
            Verdict::Exploding
        } else if norms.contains(&0.0) || change < -LIMIT.ln() {
            Verdict::Vanishing
        } else {
            Verdict::Healthy
        };
        Trend { slope, layers: norms.len(), verdict }
    }

    /// Factor by which the gradient changes from a layer to the one before it.
    pub fn per_layer(&self) -> f64 {
        self.slope.exp()
    }

    /// Factor by which it changes from the last layer to the first.
    pub fn end_to_end(&self) -> f64 {
        (self.slope * self.layers.saturating_sub(1) as f64).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::{Trend, Verdict};

    #[test]
    fn a_factor_a_layer_is_found() {
        let norms: Vec<f64> = (0..55).map(|l| 3.0 * 0.5f64.powi(55 - l)).collect();
        let trend = Trend::through(&norms);
        assert!((trend.per_layer() - 0.5).abs() < 1e-12);
        assert!((trend.end_to_end() / 0.5f64.powi(54) - 1.0).abs() < 1e-9);
        assert_eq!(trend.verdict, Verdict::Vanishing);
        let norms: Vec<f64> = norms.into_iter().rev().collect();
        assert_eq!(Trend::through(&norms).verdict, Verdict::Exploding);
        assert_eq!(Trend::through(&[1.0, 1.1, 0.9]).verdict, Verdict::Healthy);
    }

    #[test]
    fn what_is_zero_or_not_finite_decides_by_itself() {
        assert_eq!(Trend::through(&[0.0, 1.0, 1.0]).verdict, Verdict::Vanishing);
        assert_eq!(Trend::through(&[f64::NAN, 1.0]).verdict, Verdict::Exploding);
        assert_eq!(Trend::through(&[]).verdict, Verdict::Healthy);
        assert_eq!(Trend::through(&[2.0]).slope, 0.0);
    }
}
