//! What trains: sums of gradients, update rules, moving averages. All of them go over spans of many
//! parameters, which may be longer than a kernel can see at once.

use std::ops::Range;

use resnet_engine::step::{Precision, Rule, SlotId, Update};

use super::launches::{Launches, with_scratch};
use crate::kernel::{Kernel, Of};

/// Pushes a kernel of statements about each `i` for each part of spans.
fn over(
    to: &mut Launches,
    name: &'static str,
    spans: &[(&'static str, SlotId)],
    with: impl Fn(Kernel) -> Kernel,
    statements: &str,
) {
    let slots: Vec<SlotId> = spans.iter().map(|(_, slot)| *slot).collect();
    for part in (to.split)(&slots) {
        let kernel = spans.iter().fold(Kernel::new(name), |kernel, (name, slot)| {
            kernel.operand(name, Of::Slot(*slot, part.clone()), Precision::F32)
        });
        to.push(with(kernel).every(part.len(), statements));
    }
}

/// sums += gradients
pub(super) fn accumulate(to: &mut Launches) {
    let spans = [("dw", to.reads(0)), ("sums", to.writes(0))];
    over(to, "accumulate", &spans, |kernel| kernel, "        sums_set(i, sums(i) + dw(i));");
}

/// kept = sums
pub(super) fn keep(to: &mut Launches) {
    let spans = [("sums", to.reads(0)), ("kept", to.writes(0))];
    over(to, "keep", &spans, |kernel| kernel, "        kept_set(i, sums(i));");
}

/// sums = 0
pub(super) fn clear(to: &mut Launches) {
    over(to, "clear", &[("sums", to.writes(0))], |kernel| kernel, "        sums_set(i, 0.0);");
}

/// a += rate (w - a)
pub(super) fn average(to: &mut Launches) {
    let spans = [("w", to.reads(0)), ("a", to.writes(0))];
    let statements = "        a_set(i, a(i) + rates(2u) * (w(i) - a(i)));";
    over(to, "average", &spans, with_rates, statements);
}

fn with_rates(kernel: Kernel) -> Kernel {
    kernel.operand("rates", Of::Rates, Precision::F32)
}

/// `gradients -> parameters, the rule's buffers`
pub(super) fn update(to: &mut Launches, update: Update) {
    let spans = [("dw", to.reads(0)), ("w", to.writes(0)), ("v", to.writes(1))];
    let (momentum, nesterov, local, name) = match update.rule {
        Rule::Sgd { momentum, nesterov } => (momentum, nesterov, None, "sgd"),
        Rule::Lars { momentum, nesterov, trust } => {
            let local = if update.fitted { Some(fitted_rate(to, &update, trust)) } else { None };
            (momentum, nesterov, local, "lars")
        }
    };
    let [first, second] = update.lr_factors;
    let with = |kernel: Kernel| {
        let kernel = with_rates(kernel).constant("momentum", momentum);
        let kernel = kernel.constant("decay", update.weight_decay);
        let kernel = kernel.constant("first", first).constant("second", second);
        match &local {
            Some(words) => with_scratch(kernel, "local", words),
            None => kernel,
        }
    };
    let lr = "rates(0u) * p.first * p.second";
    let step = if nesterov { "u + p.momentum * next" } else { "next" };
    let statements = match update.rule {
        Rule::Sgd { .. } => format!(
            "        let u = rates(1u) * dw(i) + p.decay * w(i);
        let next = p.momentum * v(i) + u;
        v_set(i, next);
        w_set(i, w(i) - {lr} * ({step}));"
        ),
        Rule::Lars { .. } => {
            let lr = if local.is_some() { format!("{lr} * local(0u)") } else { lr.to_string() };
            format!(
                "        let u = {lr} * (rates(1u) * dw(i) + p.decay * w(i));
        let next = p.momentum * v(i) + u;
        v_set(i, next);
        w_set(i, w(i) - ({step}));"
            )
        }
    };
    over(to, name, &spans, with, &statements);
}

/// Numbers that a group sums, at least.
const SUMMED: usize = 4096;

/// Scratch with the rate that LARS fits to a matrix: trust |w| / (|g| + decay |w|), or 1 where a
/// length is zero.
fn fitted_rate(to: &mut Launches, update: &Update, trust: f32) -> Range<usize> {
    let (dw, w) = (to.reads(0), to.writes(0));
    let len = to.len(w);
    let groups = len.div_ceil(SUMMED).clamp(1, 256);
    let (parts, local) = (to.scratch(2 * groups), to.scratch(1));
    let kernel = to.with_all(Kernel::new("lars lengths"), &[("dw", dw), ("w", w)]);
    let kernel = with_scratch(kernel, "parts", &parts);
    let kernel = kernel.constant("len", len).constant("groups", groups);
    to.push(kernel.run(LENGTHS, [groups as u32, 1, 1]));
    let kernel = with_scratch(with_rates(Kernel::new("lars rate")), "parts", &parts);
    let kernel = with_scratch(kernel, "local", &local).constant("groups", groups);
    let kernel = kernel.constant("trust", trust).constant("decay", update.weight_decay);
    to.push(kernel.every(
        1,
        "        var sum = vec2<f32>(0.0);
        for (var k = 0u; k < p.groups; k++) {
            sum = sum + vec2<f32>(parts(2u * k), parts(2u * k + 1u));
        }
        let w = sqrt(sum.x);
        let g = sqrt(sum.y) * abs(rates(1u));
        local_set(0u, 1.0);
        if (w > 0.0 && g > 0.0) { local_set(0u, p.trust * w / (g + p.decay * w)); }",
    ));
    local
}

const LENGTHS: &str = "
var<workgroup> sums: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var sum = vec2<f32>(0.0);
    for (var i = group.x * 256u + thread; i < p.len; i += p.groups * 256u) {
        sum = sum + vec2<f32>(w(i) * w(i), dw(i) * dw(i));
    }
    sums[thread] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half = half / 2u) {
        if (thread < half) { sums[thread] = sums[thread] + sums[thread + half]; }
        workgroupBarrier();
    }
    if (thread == 0u) {
        parts_set(2u * group.x, sums[0].x);
        parts_set(2u * group.x + 1u, sums[0].y);
    }
}
";
