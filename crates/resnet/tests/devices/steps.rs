//! What each step of a plan writes, by its formula in `resnet_engine::op` or `resnet_engine::step`.

use std::borrow::Cow;

use resnet::engine::exec::Rates;
use resnet::engine::step::{AddGrad, Conv, Linear, Norm, NormGrad, Pool, Residual, Rule, StepKind};
use resnet_kernels::{Conv2dShape, Lars, Pool2dShape, Sgd, reference};

/// Numbers of a slot.
type Operand<'a> = Cow<'a, [f64]>;

fn conv_shape(conv: Conv) -> Conv2dShape {
    let Conv { n, h, w, c_in, c_out, kernel, stride, padding, groups } = conv;
    Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups }
}

fn pool_shape(pool: Pool) -> Pool2dShape {
    let Pool { n, h, w, c, kernel, stride, padding } = pool;
    Pool2dShape { n, h, w, c, kernel, stride, padding }
}

/// `new`, or where it is to be added to what is there, the sum.
fn sum_if(accumulate: bool, old: &[f64], new: Vec<f64>) -> Vec<f64> {
    if accumulate { reference::accumulate(old, &new) } else { new }
}

/// y with a residual and a ReLU behind it, where a step has them.
fn tail(
    mut y: Vec<f64>,
    channels: usize,
    residual: Option<(Residual, &[f64])>,
    relu: bool,
) -> Vec<f64> {
    if let Some((wide, values)) = residual {
        reference::add_residual(&mut y, channels, values, wide.channels, wide.offset);
    }
    if relu { reference::relu(&y) } else { y }
}

/// A norm's output from the statistics of a batch.
fn normalise(x: &[f64], gamma: &[f64], beta: &[f64], mean: &[f64], rstd: &[f64]) -> Vec<f64> {
    let var: Vec<f64> = rstd.iter().map(|rstd| rstd.powi(-2)).collect();
    reference::batch_norm_infer(x, gamma, beta, mean, &var, 0.0)
}

/// What a step writes into each of its slots, in order. `old` is what they hold; `reads` and they
/// are in the order that [`StepKind`] says.
pub(crate) fn outputs(
    kind: &StepKind,
    reads: &[Operand],
    old: &[Operand],
    rates: Rates,
) -> Vec<Vec<f64>> {
    match *kind {
        StepKind::Conv { conv, bias } => {
            let bias = bias.then(|| &*reads[2]);
            vec![reference::conv2d_forward(&conv_shape(conv), &reads[0], &reads[1], bias)]
        }
        StepKind::ConvNorm { conv, norm } => {
            let [x, w, rest @ ..] = reads else { unreachable!() };
            let z = reference::conv2d_forward(&conv_shape(conv), x, w, None);
            vec![norm_infer(norm, &z, rest)]
        }
        StepKind::Norm(norm) if norm.train => norm_train(norm, reads, old),
        StepKind::Norm(norm) => vec![norm_infer(norm, &reads[0], &reads[1..])],
        StepKind::NormAgain(norm) => {
            let [x, gamma, beta, mean, rstd, residual @ ..] = reads else { unreachable!() };
            let y = normalise(x, gamma, beta, mean, rstd);
            let residual = norm.residual.map(|wide| (wide, &*residual[0]));
            vec![tail(y, norm.channels, residual, norm.relu)]
        }
        StepKind::Relu => vec![reference::relu(&reads[0])],
        StepKind::Add { channels, residual, relu } => {
            vec![tail(reads[0].to_vec(), channels, Some((residual, &*reads[1])), relu)]
        }
        StepKind::MaxPool(pool) => vec![reference::max_pool_forward(&pool_shape(pool), &reads[0])],
        StepKind::AvgPool(pool) => vec![reference::avg_pool_forward(&pool_shape(pool), &reads[0])],
        StepKind::GlobalAvgPool { pixels, c, .. } => vec![mean_of_pixels(&reads[0], pixels, c)],
        StepKind::Widen => vec![reads[0].to_vec()],
        StepKind::Linear(Linear { n, c_in, c_out }) => {
            let [x, w, b] = reads else { unreachable!() };
            vec![reference::linear_forward(n, c_in, c_out, x, w, Some(&**b))]
        }
        StepKind::SoftmaxCrossEntropy { classes, smoothing, .. } => {
            let [logits, target, weight, total] = reads else { unreachable!() };
            let (losses, dlogits) = reference::softmax_cross_entropy(
                logits,
                target,
                weight,
                total[0],
                classes,
                f64::from(smoothing),
            );
            vec![losses, dlogits]
        }
        StepKind::ConvBackwardInput { conv, accumulate } => {
            let dx = reference::conv2d_backward_input(&conv_shape(conv), &reads[0], &reads[1]);
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::ConvBackwardWeight { conv, bias } => {
            let [x, dy] = reads else { unreachable!() };
            let mut gradients = vec![reference::conv2d_backward_weight(&conv_shape(conv), x, dy)];
            gradients.extend(bias.then(|| reference::conv2d_backward_bias(conv.c_out, dy)));
            gradients
        }
        StepKind::NormBackward(grad) => norm_backward(grad, reads, old),
        StepKind::NormScale { eps, channels } => {
            let [dy, gamma, var] = reads else { unreachable!() };
            let none = vec![0.0; channels];
            vec![reference::batch_norm_infer(dy, gamma, &none, &none, var, f64::from(eps))]
        }
        StepKind::ReluBackward { accumulate } => {
            let dx = reference::relu_backward(&reads[0], &reads[1]);
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::AddBackward(grad) => add_backward(grad, reads, old),
        StepKind::MaxPoolBackward { pool, accumulate } => {
            let dx = reference::max_pool_backward(&pool_shape(pool), &reads[0], &reads[1]);
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::AvgPoolBackward { pool, accumulate } => {
            let dx = reference::avg_pool_backward(&pool_shape(pool), &reads[0]);
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::WidenBackward { accumulate } => {
            vec![sum_if(accumulate, &old[0], reads[0].to_vec())]
        }
        StepKind::GlobalAvgPoolBackward { pixels, c, accumulate, .. } => {
            let each =
                |row: &[f64]| -> Vec<f64> { row.iter().map(|g| g / pixels as f64).collect() };
            let dx = reads[0].chunks(c).flat_map(|row| each(row).repeat(pixels)).collect();
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::LinearBackwardInput { linear: Linear { n, c_in, c_out }, accumulate } => {
            let dx = reference::linear_backward_input(n, c_in, c_out, &reads[0], &reads[1]);
            vec![sum_if(accumulate, &old[0], dx)]
        }
        StepKind::LinearBackwardWeight(Linear { n, c_in, c_out }) => {
            let (dw, db) = reference::linear_backward_weight(n, c_in, c_out, &reads[0], &reads[1]);
            vec![dw, db]
        }
        StepKind::Accumulate => vec![reference::accumulate(&old[0], &reads[0])],
        StepKind::Keep => vec![reads[0].to_vec()],
        StepKind::Clear => vec![vec![0.0; old[0].len()]],
        StepKind::Update(update) => {
            let (lr, scale, weight_decay) = (update.lr(rates.lr), rates.scale, update.weight_decay);
            let (w, v) = match update.rule {
                Rule::Sgd { momentum, nesterov } => {
                    let sgd = Sgd { lr, scale, momentum, weight_decay, nesterov };
                    reference::sgd_update(&sgd, &old[0], &reads[0], &old[1])
                }
                Rule::Lars { momentum, nesterov, trust } => {
                    let trust = update.fitted.then_some(trust);
                    let lars = Lars { lr, scale, momentum, weight_decay, nesterov, trust };
                    reference::lars_update(&lars, &old[0], &reads[0], &old[1])
                }
            };
            vec![w, v]
        }
        StepKind::Average => {
            vec![reference::average(&old[0], &reads[0], f64::from(rates.average))]
        }
    }
}

/// `x, gamma, beta, [residual] -> y, mean, rstd, running mean, running var`
fn norm_train(norm: Norm, reads: &[Operand], old: &[Operand]) -> Vec<Vec<f64>> {
    let [x, gamma, beta, residual @ ..] = reads else { unreachable!() };
    let (eps, share) = (f64::from(norm.eps), f64::from(norm.momentum));
    let (y, mean, rstd) = reference::batch_norm_train(x, gamma, beta, eps);
    let m = (x.len() / norm.channels) as f64;
    let unbiased = |rstd: &f64| (rstd.powi(-2) - eps) * m / (m - 1.0).max(1.0);
    let var: Vec<f64> = rstd.iter().map(unbiased).collect();
    let running_mean = reference::average(&old[3], &mean, share);
    let running_var = reference::average(&old[4], &var, share);
    let residual = norm.residual.map(|wide| (wide, &*residual[0]));
    vec![tail(y, norm.channels, residual, norm.relu), mean, rstd, running_mean, running_var]
}

/// y of x and `gamma, beta, running mean, running var, [residual]`.
fn norm_infer(norm: Norm, x: &[f64], reads: &[Operand]) -> Vec<f64> {
    let [gamma, beta, mean, var, residual @ ..] = reads else { unreachable!() };
    let y = reference::batch_norm_infer(x, gamma, beta, mean, var, f64::from(norm.eps));
    let residual = norm.residual.map(|wide| (wide, &*residual[0]));
    tail(y, norm.channels, residual, norm.relu)
}

/// `dy, x, gamma, mean, rstd, [y or beta] -> dx, dgamma, dbeta, [dresidual]`
fn norm_backward(grad: NormGrad, reads: &[Operand], old: &[Operand]) -> Vec<Vec<f64>> {
    let [dy, x, gamma, mean, rstd, mask @ ..] = reads else { unreachable!() };
    let Norm { channels, residual, relu, .. } = grad.norm;
    let dz = match (relu, residual) {
        (false, _) => dy.to_vec(),
        (true, Some(_)) => reference::relu_backward(dy, &mask[0]),
        (true, None) => reference::relu_backward(dy, &normalise(x, gamma, &mask[0], mean, rstd)),
    };
    let gradients = reference::batch_norm_backward(&dz, x, gamma, mean, rstd);
    let dx = sum_if(grad.accumulate, &old[0], gradients.dx);
    let mut all = vec![dx, gradients.dgamma, gradients.dbeta];
    if let (Some(wide), Some(accumulate)) = (residual, grad.residual) {
        let dr = reference::residual_gradient(&dz, channels, wide.channels, wide.offset);
        all.push(sum_if(accumulate, &old[3], dr));
    }
    all
}

/// `dy, [y] -> [da], [db]`
fn add_backward(grad: AddGrad, reads: &[Operand], old: &[Operand]) -> Vec<Vec<f64>> {
    let dz = match grad.relu {
        true => reference::relu_backward(&reads[0], &reads[1]),
        false => reads[0].to_vec(),
    };
    let mut all = Vec::new();
    if let Some(accumulate) = grad.a {
        all.push(sum_if(accumulate, &old[0], dz.clone()));
    }
    if let Some(accumulate) = grad.b {
        let Residual { channels, offset } = grad.residual;
        let db = reference::residual_gradient(&dz, grad.channels, channels, offset);
        all.push(sum_if(accumulate, &old[all.len()], db));
    }
    all
}

/// `[n][pixels][c]` to `[n][c]`.
fn mean_of_pixels(x: &[f64], pixels: usize, c: usize) -> Vec<f64> {
    let image = |x: &[f64]| -> Vec<f64> {
        (0..c).map(|k| x.iter().skip(k).step_by(c).sum::<f64>() / pixels as f64).collect()
    };
    x.chunks(pixels * c).flat_map(image).collect()
}
