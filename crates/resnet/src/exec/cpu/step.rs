//! One step: its slots borrowed, its kernel called.

use std::ops::Range;

use resnet_kernels::{
    Conv2d, Epilogue, Residual, ResidualGrad, batch_norm, elementwise, linear, loss, pool2d, sgd,
};

use super::Cpu;
use super::choose::pool_shape;
use crate::step::{self, Linear, StepKind};

/// Longest list of slots of a step.
const OPERANDS: usize = 10;
const CHOSEN: &str = "a kernel was chosen for every convolution";

/// A forward pass with weights laid out before, or now.
fn forward(
    conv: Option<&Conv2d>,
    cpu: &resnet_kernels::Cpu,
    x: &[f32],
    w: &[f32],
    packed: Option<&[f32]>,
    epilogue: Epilogue,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let conv = conv.expect(CHOSEN);
    match packed {
        Some(packed) => conv.forward_packed(cpu, x, packed, epilogue, y, scratch),
        None => conv.forward(cpu, x, w, epilogue, y, scratch),
    }
}

/// A residual's numbers, and where they are added.
fn residual(place: step::Residual, values: &[f32]) -> Residual<'_> {
    Residual {
        values,
        channels: place.channels,
        offset: place.offset,
    }
}

impl Cpu {
    pub(super) fn step(&mut self, index: usize) {
        let step = &self.plan.steps[index];
        let mut ranges: [Range<usize>; OPERANDS] = std::array::from_fn(|_| 0..0);
        for (range, id) in ranges.iter_mut().zip(step.reads.iter().chain(&step.writes)) {
            *range = self.plan.range(*id);
        }
        let memory = &mut self.memory[self.start..];
        let operands = memory
            .get_disjoint_mut(ranges)
            .expect("slots that live at once do not overlap");
        let (cpu, scratch) = (&self.cpu, &mut self.scratch[..]);
        let conv = self.convs[index].as_ref();
        let packed = Some(&self.packed[index][..]).filter(|packed| !packed.is_empty());
        match step.kind {
            StepKind::Conv { bias: false, .. } => {
                let [x, w, y, ..] = operands;
                forward(conv, cpu, x, w, packed, Epilogue::default(), y, scratch);
            }
            StepKind::Conv { bias: true, .. } => {
                let [x, w, b, y, ..] = operands;
                let bias = Epilogue {
                    shift: Some(b),
                    ..Epilogue::default()
                };
                forward(conv, cpu, x, w, packed, bias, y, scratch);
            }
            StepKind::ConvNorm { norm, .. } => {
                let [x, w, gamma, beta, mean, var, a, b, ..] = operands;
                let (residual, y) = match norm.residual {
                    Some(_) => (Some(&*a), b),
                    None => (None, a),
                };
                let (factors, scratch) = scratch.split_at_mut(2 * norm.channels);
                let (scale, shift) = factors.split_at_mut(norm.channels);
                batch_norm::scale_and_shift(gamma, beta, mean, var, norm.eps, scale, shift);
                let epilogue = Epilogue {
                    scale: Some(scale),
                    shift: Some(shift),
                    residual,
                    relu: norm.relu,
                };
                forward(conv, cpu, x, w, packed, epilogue, y, scratch);
            }
            StepKind::Norm(norm) => {
                let (c, eps, relu) = (norm.channels, norm.eps, norm.relu);
                let wide = |values| norm.residual.map(|r| residual(r, values));
                match (norm.train, norm.residual.is_some()) {
                    (true, false) => {
                        let [x, gamma, beta, y, mean, rstd, running_mean, running_var, ..] =
                            operands;
                        let running = batch_norm::Running {
                            mean: running_mean,
                            var: running_var,
                            momentum: norm.momentum,
                        };
                        batch_norm::forward_train(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            eps,
                            None,
                            relu,
                            y,
                            mean,
                            rstd,
                            Some(running),
                            scratch,
                        );
                    }
                    (true, true) => {
                        let [
                            x,
                            gamma,
                            beta,
                            residual,
                            y,
                            mean,
                            rstd,
                            running_mean,
                            running_var,
                            ..,
                        ] = operands;
                        let running = batch_norm::Running {
                            mean: running_mean,
                            var: running_var,
                            momentum: norm.momentum,
                        };
                        batch_norm::forward_train(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            eps,
                            wide(residual),
                            relu,
                            y,
                            mean,
                            rstd,
                            Some(running),
                            scratch,
                        );
                    }
                    (false, false) => {
                        let [x, gamma, beta, mean, var, y, ..] = operands;
                        batch_norm::forward_infer(
                            cpu, x, c, gamma, beta, mean, var, eps, None, relu, y,
                        );
                    }
                    (false, true) => {
                        let [x, gamma, beta, mean, var, residual, y, ..] = operands;
                        batch_norm::forward_infer(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            mean,
                            var,
                            eps,
                            wide(residual),
                            relu,
                            y,
                        );
                    }
                }
            }
            StepKind::NormAgain(norm) => {
                let [x, gamma, beta, mean, rstd, a, b, ..] = operands;
                let (residual, y) = match norm.residual {
                    Some(r) => (Some(residual(r, a)), b),
                    None => (None, a),
                };
                let (c, relu) = (norm.channels, norm.relu);
                batch_norm::normalise(cpu, x, c, gamma, beta, mean, rstd, residual, relu, y);
            }
            StepKind::Relu => {
                let [x, y, ..] = operands;
                elementwise::relu_forward(cpu, x, y);
            }
            StepKind::Add {
                channels,
                residual: wide,
                relu,
            } => {
                let [a, b, y, ..] = operands;
                let b = residual(wide, b);
                elementwise::add_forward(cpu, a, b, channels, relu, y);
            }
            StepKind::MaxPool(pool) => {
                let [x, y, ..] = operands;
                pool2d::max_forward(cpu, &pool_shape(pool), x, y);
            }
            StepKind::AvgPool(pool) => {
                let [x, y, ..] = operands;
                pool2d::avg_forward(cpu, &pool_shape(pool), x, y);
            }
            StepKind::GlobalAvgPool { n, pixels, c } => {
                let [x, y, ..] = operands;
                pool2d::global_avg_forward(cpu, n, pixels, c, x, y);
            }
            StepKind::Linear(_) => {
                let [x, w, b, y, ..] = operands;
                let bias = Epilogue {
                    shift: Some(b),
                    ..Epilogue::default()
                };
                forward(conv, cpu, x, w, packed, bias, y, scratch);
            }
            StepKind::SoftmaxCrossEntropy {
                classes, smoothing, ..
            } => {
                let [logits, losses, dlogits, ..] = operands;
                loss::softmax_cross_entropy(
                    cpu,
                    logits,
                    &self.labels,
                    classes,
                    smoothing,
                    losses,
                    Some(dlogits),
                );
            }
            StepKind::ConvBackwardInput { accumulate, .. } => {
                let [dy, w, dx, ..] = operands;
                conv.expect(CHOSEN)
                    .backward_input(cpu, dy, w, dx, accumulate, scratch);
            }
            StepKind::ConvBackwardWeight { bias, .. } => {
                let [x, dy, dw, db, ..] = operands;
                conv.expect(CHOSEN)
                    .backward_weight(cpu, x, dy, dw, bias.then_some(db), scratch);
            }
            StepKind::NormBackward(grad) => {
                let relu = grad.norm.relu;
                let [dy, x, gamma, mean, rstd, a, b, c, d, e, ..] = operands;
                let (y, dx, dgamma, dbeta, dr) = if relu {
                    (Some(&*a), b, c, d, e)
                } else {
                    (None, a, b, c, d)
                };
                let residual = grad.norm.residual.zip(grad.residual);
                let residual = residual.map(|(r, accumulate)| ResidualGrad {
                    values: dr,
                    channels: r.channels,
                    offset: r.offset,
                    accumulate,
                });
                batch_norm::backward(
                    cpu,
                    dy,
                    x,
                    y,
                    grad.norm.channels,
                    gamma,
                    mean,
                    rstd,
                    dx,
                    grad.accumulate,
                    residual,
                    dgamma,
                    dbeta,
                    scratch,
                );
            }
            StepKind::NormScale { channels, eps } => {
                // What the norm does to a map, with mean and beta zero.
                let [dy, gamma, var, dx, ..] = operands;
                let zeros = &self.zeros[..channels];
                batch_norm::forward_infer(
                    cpu, dy, channels, gamma, zeros, zeros, var, eps, None, false, dx,
                );
            }
            StepKind::ReluBackward { accumulate } => {
                let [dy, y, dx, ..] = operands;
                elementwise::relu_backward(cpu, dy, y, dx, accumulate);
            }
            StepKind::AddBackward(grad) => {
                let [dy, a, b, c, ..] = operands;
                let (y, first, second) = if grad.relu {
                    (Some(&*a), b, c)
                } else {
                    (None, a, b)
                };
                let (da, db) = match (grad.a, grad.b) {
                    (Some(a), Some(b)) => (Some((first, a)), Some((second, b))),
                    (Some(a), None) => (Some((first, a)), None),
                    (None, b) => (None, b.map(|b| (first, b))),
                };
                let residual = grad.residual;
                let db = db.map(|(values, accumulate)| ResidualGrad {
                    values,
                    channels: residual.channels,
                    offset: residual.offset,
                    accumulate,
                });
                elementwise::add_backward(cpu, dy, y, grad.channels, da, db);
            }
            StepKind::MaxPoolBackward { pool, accumulate } => {
                let [x, dy, dx, ..] = operands;
                pool2d::max_backward(cpu, &pool_shape(pool), x, dy, dx, accumulate);
            }
            StepKind::AvgPoolBackward { pool, accumulate } => {
                let [dy, dx, ..] = operands;
                pool2d::avg_backward(cpu, &pool_shape(pool), dy, dx, accumulate);
            }
            StepKind::GlobalAvgPoolBackward {
                n,
                pixels,
                c,
                accumulate,
            } => {
                let [dy, dx, ..] = operands;
                pool2d::global_avg_backward(cpu, n, pixels, c, dy, dx, accumulate);
            }
            StepKind::LinearBackwardInput {
                linear: Linear { n, c_in, c_out },
                accumulate,
            } => {
                let [dy, w, dx, ..] = operands;
                linear::backward_input(cpu, n, c_in, c_out, dy, w, dx, accumulate, scratch);
            }
            StepKind::LinearBackwardWeight(Linear { n, c_in, c_out }) => {
                let [x, dy, dw, db, ..] = operands;
                linear::backward_weight(cpu, n, c_in, c_out, x, dy, dw, Some(db), scratch);
            }
            StepKind::Sgd { weights, below } => {
                let [dw, w, v, ..] = operands;
                let decays = weights || self.sgd.decay_norm_bias;
                let sgd = sgd::Sgd {
                    lr: self.sgd.rate(below),
                    momentum: self.sgd.momentum,
                    weight_decay: if decays { self.sgd.weight_decay } else { 0.0 },
                    nesterov: self.sgd.nesterov,
                };
                sgd::update(cpu, &sgd, w, dw, v);
            }
        }
    }
}
