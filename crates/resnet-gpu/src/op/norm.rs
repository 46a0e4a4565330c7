//! Batch norm with what follows it: y = relu(norm(x) + residual), and its gradient.
//!
//! The sums of a channel are cut into chunks of rows and joined in their order. Those of the
//! statistics are of x - s, s being the mean of eight of its numbers, so that a large mean costs no
//! digits.

use resnet_engine::step::{Norm, NormGrad, SlotId};

use super::elementwise::residual_backward;
use super::launches::{Launches, added, residual_constants, tail, with_scratch};
use super::reduce::{Sums, channel_sums};
use crate::kernel::Kernel;

/// A number near a channel's mean: the mean of some rows, as far from each other as they can be.
const SHIFT: &str = "
fn shift(c: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < p.samples; k++) { sum = sum + x(k * p.every + c); }
    return sum / f32(p.samples);
}
";

/// `x, gamma, beta, [residual] -> y, mean, rstd, running mean, running var`
pub(super) fn train(to: &mut Launches, norm: Norm) {
    let (x, channels) = (to.reads(0), norm.channels);
    let rows = to.len(x) / channels;
    let sums = Sums::new(to, rows, channels);
    let (every, samples) = ((rows / 8).max(1) * channels, rows.min(8));
    let kernel = to.with(Kernel::new("norm sums"), "x", x);
    let terms = format!(
        "{SHIFT}fn terms(i: u32, c: u32, s: f32) -> vec2<f32> {{
    let d = x(i) - s;
    return vec2<f32>(d, d * d);
}}"
    );
    to.push(channel_sums(
        kernel.constant("every", every).constant("samples", samples),
        &sums,
        &terms,
    ));

    let slots = [
        ("x", x),
        ("mean", to.writes(1)),
        ("rstd", to.writes(2)),
        ("running_mean", to.writes(3)),
        ("running_var", to.writes(4)),
    ];
    let kernel = to.with_all(Kernel::new("norm statistics"), &slots);
    let statements = sums.join()
        + "
        let share = sum.x / p.rows;
        let variance = max(sum.y / p.rows - share * share, 0.0);
        let middle = shift(i) + share;
        mean_set(i, middle);
        rstd_set(i, 1.0 / sqrt(variance + p.eps));
        let unbiased = variance * p.rows / max(p.rows - 1.0, 1.0);
        running_mean_set(i, running_mean(i) + p.momentum * (middle - running_mean(i)));
        running_var_set(i, running_var(i) + p.momentum * (unbiased - running_var(i)));";
    let kernel = sums.constants(kernel).constant("eps", norm.eps);
    let kernel = kernel.constant("momentum", norm.momentum).constant("every", every);
    let kernel = kernel.constant("samples", samples);
    to.push(kernel.define(SHIFT).every(channels, statements));

    let slots = [
        ("x", x),
        ("gamma", to.reads(1)),
        ("beta", to.reads(2)),
        ("mean", to.writes(1)),
        ("rstd", to.writes(2)),
    ];
    normalise(to, norm, &slots, norm.residual.map(|_| to.reads(3)), "rstd(c)");
}

/// `x, gamma, beta, running mean, running var, [residual] -> y`
pub(super) fn infer(to: &mut Launches, norm: Norm) {
    let slots = [
        ("x", to.reads(0)),
        ("gamma", to.reads(1)),
        ("beta", to.reads(2)),
        ("mean", to.reads(3)),
        ("variance", to.reads(4)),
    ];
    let residual = norm.residual.map(|_| to.reads(5));
    normalise(to, norm, &slots, residual, "1.0 / sqrt(variance(c) + p.eps)");
}

/// `x, gamma, beta, mean, rstd, [residual] -> y`
pub(super) fn again(to: &mut Launches, norm: Norm) {
    let slots = [
        ("x", to.reads(0)),
        ("gamma", to.reads(1)),
        ("beta", to.reads(2)),
        ("mean", to.reads(3)),
        ("rstd", to.reads(4)),
    ];
    normalise(to, norm, &slots, norm.residual.map(|_| to.reads(5)), "rstd(c)");
}

/// y, the step's first operand that is written, from statistics.
fn normalise(
    to: &mut Launches,
    norm: Norm,
    slots: &[(&'static str, SlotId)],
    residual: Option<SlotId>,
    rstd: &str,
) {
    let mut kernel = to.with_all(Kernel::new("norm"), slots);
    if let Some(residual) = residual {
        kernel = to.with(kernel, "residual", residual);
    }
    let kernel = to.with(kernel, "y", to.writes(0));
    let kernel = kernel.constant("channels", norm.channels).constant("eps", norm.eps);
    let value = format!(
        "fn value(i: u32) -> f32 {{
    let c = i % p.channels;
    var v = (x(i) - mean(c)) * (({rstd}) * gamma(c)) + beta(c);
    {}
    return v;
}}",
        tail(norm.residual, norm.relu)
    );
    let kernel = residual_constants(kernel, norm.residual);
    to.push(kernel.each("y", to.len(to.writes(0)), value));
}

/// `dy, gamma, running var -> dx`
pub(super) fn scale(to: &mut Launches, channels: usize, eps: f32) {
    let slots = [
        ("dy", to.reads(0)),
        ("gamma", to.reads(1)),
        ("variance", to.reads(2)),
        ("dx", to.writes(0)),
    ];
    let kernel = to.with_all(Kernel::new("norm scale"), &slots);
    let kernel = kernel.constant("channels", channels).constant("eps", eps);
    let value = "fn value(i: u32) -> f32 {
    let c = i % p.channels;
    return dy(i) * (gamma(c) / sqrt(variance(c) + p.eps));
}";
    to.push(kernel.each("dx", to.len(to.writes(0)), value));
}

/// `dy, x, gamma, mean, rstd, [y or beta] -> dx, dgamma, dbeta, [dresidual]`
pub(super) fn backward(to: &mut Launches, grad: NormGrad) {
    let Norm { channels, residual, relu, .. } = grad.norm;
    let (dy, x) = (to.reads(0), to.reads(1));
    let (gamma, mean, rstd) = (to.reads(2), to.reads(3), to.reads(4));
    // With a residual y is kept; without one its sign is that of the norm, computed again.
    let y = (relu && residual.is_some()).then(|| to.reads(5));
    let beta = (relu && residual.is_none()).then(|| to.reads(5));
    if let (Some(wide), Some(accumulate)) = (residual, grad.residual) {
        residual_backward(to, y, channels, wide, to.writes(3), accumulate);
    }

    let rows = to.len(x) / channels;
    let sums = Sums::new(to, rows, channels);
    let slots = [("dy", dy), ("x", x), ("gamma", gamma), ("mean", mean), ("rstd", rstd)];
    let mut kernel = to.with_all(Kernel::new("norm backward sums"), &slots);
    let mask = match (y, beta) {
        (Some(y), _) => {
            kernel = to.with(kernel, "y", y);
            "dz = select(0.0, dz, y(i) > 0.0);"
        }
        (None, Some(beta)) => {
            kernel = to.with(kernel, "beta", beta);
            "dz = select(0.0, dz, d * (rstd(c) * gamma(c)) + beta(c) > 0.0);"
        }
        (None, None) => "",
    };
    let terms = format!(
        "fn shift(c: u32) -> f32 {{ return 0.0; }}
fn terms(i: u32, c: u32, s: f32) -> vec2<f32> {{
    let d = x(i) - mean(c);
    var dz = dy(i);
    {mask}
    return vec2<f32>(dz, dz * d * rstd(c));
}}"
    );
    to.push(channel_sums(kernel, &sums, &terms));

    // What dx takes of each channel: factors of dz and of x - mean, what is added, mean, beta.
    let factors = to.scratch(5 * channels);
    let slots = [("gamma", gamma), ("mean", mean), ("rstd", rstd)];
    let mut kernel = to.with_all(Kernel::new("norm backward factors"), &slots);
    kernel = to.with_all(kernel, &[("dgamma", to.writes(1)), ("dbeta", to.writes(2))]);
    if let Some(beta) = beta {
        kernel = to.with(kernel, "beta", beta);
    }
    let kernel = with_scratch(kernel, "factors", &factors);
    let beta_of = if beta.is_some() { "beta(i)" } else { "0.0" };
    let statements = sums.join()
        + &format!(
            "
        dbeta_set(i, sum.x);
        dgamma_set(i, sum.y);
        let scale = rstd(i) * gamma(i);
        factors_set(i, scale);
        factors_set(p.channels + i, -scale * rstd(i) * (sum.y / p.rows));
        factors_set(2u * p.channels + i, -scale * (sum.x / p.rows));
        factors_set(3u * p.channels + i, mean(i));
        factors_set(4u * p.channels + i, {beta_of});"
        );
    to.push(sums.constants(kernel).every(channels, statements));

    let kernel = to.with_all(Kernel::new("norm backward"), &[("dy", dy), ("x", x)]);
    let mut kernel = with_scratch(kernel, "factors", &factors);
    let mask = match (y, beta) {
        (Some(y), _) => {
            kernel = to.with(kernel, "y", y);
            "dz = select(0.0, dz, y(i) > 0.0);"
        }
        (None, Some(_)) => {
            "dz = select(0.0, dz, d * factors(c) + factors(4u * p.channels + c) > 0.0);"
        }
        (None, None) => "",
    };
    let value = format!(
        "fn value(i: u32) -> f32 {{
    let c = i % p.channels;
    let d = x(i) - factors(3u * p.channels + c);
    var dz = dy(i);
    {mask}
    var v = factors(c) * dz + factors(p.channels + c) * d + factors(2u * p.channels + c);
    {}
    return v;
}}",
        added(grad.accumulate, "dx")
    );
    let kernel = to.with(kernel, "dx", to.writes(0)).constant("channels", channels);
    to.push(kernel.each("dx", to.len(to.writes(0)), value));
}
