//! ReLU, addition, and numbers stored otherwise, each with its gradient.

use resnet_engine::step::{AddGrad, Residual, SlotId};

use super::launches::{Launches, added, residual_constants, tail};
use crate::kernel::Kernel;

/// max(x, 0)
pub(super) fn relu(to: &mut Launches) {
    let kernel = to.with_all(Kernel::new("relu"), &[("x", to.reads(0)), ("y", to.writes(0))]);
    let value = "fn value(i: u32) -> f32 { return relu_of(x(i)); }";
    to.push(kernel.each("y", to.len(to.writes(0)), value));
}

/// dx = dy where y > 0, else 0
pub(super) fn relu_backward(to: &mut Launches, accumulate: bool) {
    let slots = [("dy", to.reads(0)), ("y", to.reads(1)), ("dx", to.writes(0))];
    let kernel = to.with_all(Kernel::new("relu backward"), &slots);
    let value = format!(
        "fn value(i: u32) -> f32 {{ var v = select(0.0, dy(i), y(i) > 0.0); {} return v; }}",
        added(accumulate, "dx")
    );
    to.push(kernel.each("dx", to.len(to.writes(0)), value));
}

/// The same numbers, stored otherwise.
pub(super) fn widen(to: &mut Launches, accumulate: bool) {
    let kernel = to.with_all(Kernel::new("convert"), &[("x", to.reads(0)), ("y", to.writes(0))]);
    let value =
        format!("fn value(i: u32) -> f32 {{ var v = x(i); {} return v; }}", added(accumulate, "y"));
    to.push(kernel.each("y", to.len(to.writes(0)), value));
}

/// y = relu(a + b), b from its first channel in y on
pub(super) fn add(to: &mut Launches, channels: usize, residual: Residual, relu: bool) {
    let slots = [("a", to.reads(0)), ("residual", to.reads(1)), ("y", to.writes(0))];
    let kernel = to.with_all(Kernel::new("add"), &slots).constant("channels", channels);
    let value = format!(
        "fn value(i: u32) -> f32 {{\n    let c = i % p.channels;\n    var v = a(i);\n    {}\n    \
         return v;\n}}",
        tail(Some(residual), relu)
    );
    let kernel = residual_constants(kernel, Some(residual));
    to.push(kernel.each("y", to.len(to.writes(0)), value));
}

/// The gradients of both operands, where they are wanted: dy where y > 0.
pub(super) fn add_backward(to: &mut Launches, grad: AddGrad) {
    let y = grad.relu.then(|| to.reads(1));
    let mut next = 0;
    if let Some(accumulate) = grad.a {
        let whole = Residual { channels: grad.channels, offset: 0 };
        residual_backward(to, y, grad.channels, whole, to.writes(next), accumulate);
        next += 1;
    }
    if let Some(accumulate) = grad.b {
        residual_backward(to, y, grad.channels, grad.residual, to.writes(next), accumulate);
    }
}

/// dr = dy, the step's first operand, where y > 0, of those channels that r was added to.
pub(super) fn residual_backward(
    to: &mut Launches,
    y: Option<SlotId>,
    channels: usize,
    residual: Residual,
    dr: SlotId,
    accumulate: bool,
) {
    let mut kernel = to.with(Kernel::new("add backward"), "dy", to.reads(0));
    if let Some(y) = y {
        kernel = to.with(kernel, "y", y);
    }
    let mask = if y.is_some() { "v = select(0.0, v, y(at) > 0.0);" } else { "" };
    let value = format!(
        "fn value(i: u32) -> f32 {{
    let at = (i / p.r_channels) * p.channels + p.r_offset + i % p.r_channels;
    var v = dy(at);
    {mask}
    {}
    return v;
}}",
        added(accumulate, "dr")
    );
    let kernel = to.with(kernel, "dr", dr).constant("channels", channels);
    to.push(residual_constants(kernel, Some(residual)).each("dr", to.len(dr), value));
}
