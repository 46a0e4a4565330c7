//! Linear layer, loss, optimiser.

use crate::{Lars, Sgd};

/// `y[n,o] = Σ_c x[n,c] w[c,o] + b[o]`
pub fn linear_forward(
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[f64],
    w: &[f64],
    b: Option<&[f64]>,
) -> Vec<f64> {
    let mut y = vec![0.0; n * c_out];
    for i in 0..n {
        for o in 0..c_out {
            y[i * c_out + o] = b.map_or(0.0, |b| b[o])
                + (0..c_in).map(|c| x[i * c_in + c] * w[c * c_out + o]).sum::<f64>();
        }
    }
    y
}

/// `dx[n,c] = Σ_o dy[n,o] w[c,o]`
pub fn linear_backward_input(
    n: usize,
    c_in: usize,
    c_out: usize,
    dy: &[f64],
    w: &[f64],
) -> Vec<f64> {
    let mut dx = vec![0.0; n * c_in];
    for i in 0..n {
        for c in 0..c_in {
            dx[i * c_in + c] = (0..c_out).map(|o| dy[i * c_out + o] * w[c * c_out + o]).sum();
        }
    }
    dx
}

/// `dw[c,o] = Σ_n x[n,c] dy[n,o]`, `db[o] = Σ_n dy[n,o]`
pub fn linear_backward_weight(
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[f64],
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let (mut dw, mut db) = (vec![0.0; c_in * c_out], vec![0.0; c_out]);
    for i in 0..n {
        for o in 0..c_out {
            db[o] += dy[i * c_out + o];
            for c in 0..c_in {
                dw[c * c_out + o] += x[i * c_in + c] * dy[i * c_out + o];
            }
        }
    }
    (dw, db)
}

/// Per-sample losses -weight Σ_k t'_k log p_k with t' = (1-s) t + s / classes, and the gradient of
/// their sum divided by `total`, weight (p - t') / total, which is zero where `total` is.
///
/// logits, target, dlogits: `[n, classes]`; weight, losses: `[n]`.
pub fn softmax_cross_entropy(
    logits: &[f64],
    target: &[f64],
    weight: &[f64],
    total: f64,
    classes: usize,
    smoothing: f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut losses, mut dlogits) = (Vec::new(), Vec::new());
    for ((z, t), weight) in logits.chunks(classes).zip(target.chunks(classes)).zip(weight) {
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = max + z.iter().map(|z| (z - max).exp()).sum::<f64>().ln();
        let smooth = |k: usize| (1.0 - smoothing) * t[k] + smoothing / classes as f64;
        let loss: f64 = (0..classes).map(|k| smooth(k) * (log_sum - z[k])).sum();
        losses.push(weight * loss);
        dlogits.extend((0..classes).map(|k| {
            let g = weight * ((z[k] - log_sum).exp() - smooth(k));
            if total == 0.0 { 0.0 } else { g / total }
        }));
    }
    (losses, dlogits)
}

/// One step of SGD; returns the new (w, v).
pub fn sgd_update(sgd: &Sgd, w: &[f64], dw: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let [lr, scale, momentum, decay] =
        [sgd.lr, sgd.scale, sgd.momentum, sgd.weight_decay].map(f64::from);
    let step = |i: usize| {
        let g = scale * dw[i] + decay * w[i];
        let v = momentum * v[i] + g;
        (w[i] - lr * if sgd.nesterov { g + momentum * v } else { v }, v)
    };
    (0..w.len()).map(step).unzip()
}

/// One step of LARS for a tensor; returns the new (w, v).
pub fn lars_update(lars: &Lars, w: &[f64], dw: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let [lr, scale, momentum, decay] =
        [lars.lr, lars.scale, lars.momentum, lars.weight_decay].map(f64::from);
    let g: Vec<f64> = dw.iter().map(|dw| scale * dw).collect();
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (length_w, length_g) = (length(w), length(&g));
    let local = match lars.trust {
        Some(trust) if length_w > 0.0 && length_g > 0.0 => {
            f64::from(trust) * length_w / (length_g + decay * length_w)
        }
        _ => 1.0,
    };
    let step = |i: usize| {
        let u = lr * local * (g[i] + decay * w[i]);
        let v = momentum * v[i] + u;
        (w[i] - if lars.nesterov { u + momentum * v } else { v }, v)
    };
    (0..w.len()).map(step).unzip()
}

/// `sum + dw`
pub fn accumulate(sum: &[f64], dw: &[f64]) -> Vec<f64> {
    sum.iter().zip(dw).map(|(sum, dw)| sum + dw).collect()
}

/// `a + rate (w - a)`
pub fn average(a: &[f64], w: &[f64], rate: f64) -> Vec<f64> {
    a.iter().zip(w).map(|(a, w)| a + rate * (w - a)).collect()
}
