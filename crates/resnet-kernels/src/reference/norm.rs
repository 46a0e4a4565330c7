//! Batch normalisation with its tail (residual, ReLU), and those two alone.

/// y with a narrower map added: `residual` is `[pixels][channels]`, added from channel `offset` of
/// `y` on.
pub fn add_residual(
    y: &mut [f64],
    y_channels: usize,
    residual: &[f64],
    channels: usize,
    offset: usize,
) {
    for (y, r) in y.chunks_mut(y_channels).zip(residual.chunks(channels)) {
        for c in 0..channels {
            y[offset + c] += r[c];
        }
    }
}

/// The gradient of [`add_residual`]'s `residual`: the channels of `dy` that it was added to.
pub fn residual_gradient(
    dy: &[f64],
    y_channels: usize,
    channels: usize,
    offset: usize,
) -> Vec<f64> {
    dy.chunks(y_channels).flat_map(|dy| dy[offset..offset + channels].to_vec()).collect()
}

/// max(x, 0), NaN kept.
pub fn relu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| if x < 0.0 { 0.0 } else { x }).collect()
}

/// dy where y > 0, else 0.
pub fn relu_backward(dy: &[f64], y: &[f64]) -> Vec<f64> {
    dy.iter().zip(y).map(|(&g, &y)| if y > 0.0 { g } else { 0.0 }).collect()
}

/// y, mean and 1/√(var + eps) of each channel over all pixels; var divides by the number of pixels.
pub fn batch_norm_train(
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    eps: f64,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let channels = gamma.len();
    let m = (x.len() / channels) as f64;
    let mean: Vec<f64> =
        (0..channels).map(|c| x.iter().skip(c).step_by(channels).sum::<f64>() / m).collect();
    let var = |c: usize| {
        x.iter().skip(c).step_by(channels).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / m
    };
    let rstd: Vec<f64> = (0..channels).map(|c| 1.0 / (var(c) + eps).sqrt()).collect();
    let normalise = |(i, x): (usize, &f64)| {
        let c = i % channels;
        (x - mean[c]) * rstd[c] * gamma[c] + beta[c]
    };
    (x.iter().enumerate().map(normalise).collect(), mean, rstd)
}

/// y with given statistics.
pub fn batch_norm_infer(
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    mean: &[f64],
    var: &[f64],
    eps: f64,
) -> Vec<f64> {
    let channels = gamma.len();
    let normalise = |(i, x): (usize, &f64)| {
        let c = i % channels;
        (x - mean[c]) / (var[c] + eps).sqrt() * gamma[c] + beta[c]
    };
    x.iter().enumerate().map(normalise).collect()
}

/// What [`batch_norm_backward`] returns.
pub struct BatchNormGradients {
    /// `[pixels][channels]`
    pub dx: Vec<f64>,
    /// `[channels]`
    pub dgamma: Vec<f64>,
    /// `[channels]`
    pub dbeta: Vec<f64>,
}

/// With x̂ = (x - mean) rstd: dbeta = Σ dy, dgamma = Σ dy x̂, dx = gamma rstd (dy - dbeta/m - x̂
/// dgamma/m).
pub fn batch_norm_backward(
    dy: &[f64],
    x: &[f64],
    gamma: &[f64],
    mean: &[f64],
    rstd: &[f64],
) -> BatchNormGradients {
    let channels = gamma.len();
    let m = (x.len() / channels) as f64;
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    for (i, (g, x)) in dy.iter().zip(x).enumerate() {
        let c = i % channels;
        dbeta[c] += g;
        dgamma[c] += g * (x - mean[c]) * rstd[c];
    }
    let gradient = |(i, (g, x)): (usize, (&f64, &f64))| {
        let c = i % channels;
        gamma[c] * rstd[c] * (g - dbeta[c] / m - (x - mean[c]) * rstd[c] * dgamma[c] / m)
    };
    let dx = dy.iter().zip(x).enumerate().map(gradient).collect();
    BatchNormGradients { dx, dgamma, dbeta }
}
