//! Softmax and cross-entropy.

use super::launches::Launches;
use crate::gpu::GROUPS;
use crate::kernel::Kernel;

/// `logits, target, weight, total -> losses, dlogits`: losses are -weight Σ_k t'_k log p_k with
/// t' = (1-s) t + s / classes; the gradient is that of their sum over `total`,
/// weight (p - t') / total.
pub(super) fn softmax_cross_entropy(to: &mut Launches, n: usize, classes: usize, smoothing: f32) {
    let slots = [
        ("logits", to.reads(0)),
        ("wanted", to.reads(1)),
        ("weight", to.reads(2)),
        ("total", to.reads(3)),
        ("losses", to.writes(0)),
        ("dlogits", to.writes(1)),
    ];
    let kernel = to.with_all(Kernel::new("loss"), &slots);
    let kernel = kernel.constant("n", n).constant("classes", classes);
    let kernel = kernel.constant("smoothing", smoothing);
    let rows = n.div_ceil(GROUPS as usize).max(1);
    to.push(kernel.run(LOSS, [n.div_ceil(rows) as u32, rows as u32, 1]));
}

/// A group of 64 threads an image. Sums of theirs are joined as a tree.
const LOSS: &str = "
var<workgroup> shared_: array<f32, 64>;

fn sum_of_all(thread: u32, v: f32) -> f32 {
    workgroupBarrier();
    shared_[thread] = v;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (thread < half) { shared_[thread] = shared_[thread] + shared_[thread + half]; }
        workgroupBarrier();
    }
    return shared_[0];
}

fn max_of_all(thread: u32, v: f32) -> f32 {
    workgroupBarrier();
    shared_[thread] = v;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (thread < half) { shared_[thread] = max(shared_[thread], shared_[thread + half]); }
        workgroupBarrier();
    }
    return shared_[0];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= p.n) { return; }
    let first = row * p.classes;
    var most = -3.4e38;
    var bad = 0.0;
    for (var k = thread; k < p.classes; k += 64u) {
        let z = logits(first + k);
        most = max(most, z);
        // A shader's compiler may take numbers for finite; their bits it must look at.
        if ((bitcast<u32>(z) & 0x7f800000u) == 0x7f800000u) { bad = 1.0; }
    }
    most = max_of_all(thread, most);
    bad = sum_of_all(thread, bad);
    var sum = 0.0;
    for (var k = thread; k < p.classes; k += 64u) { sum = sum + exp(logits(first + k) - most); }
    let log_sum = most + log(sum_of_all(thread, sum));
    var loss = 0.0;
    for (var k = thread; k < p.classes; k += 64u) {
        let z = logits(first + k);
        let t = (1.0 - p.smoothing) * wanted(first + k) + p.smoothing / f32(p.classes);
        // No 0 * infinity where a class is not wanted and far away.
        if (t != 0.0) { loss = loss + t * (log_sum - z); }
        var g = weight(row) * (exp(z - log_sum) - t);
        if (total(0u) == 0.0) { g = 0.0; } else { g = g / total(0u); }
        if (bad > 0.0) { g = bitcast<f32>(0x7fc00000u | p.n); }
        dlogits_set(first + k, g);
    }
    loss = weight(row) * sum_of_all(thread, loss);
    if (thread == 0u) {
        if (bad > 0.0) { loss = bitcast<f32>(0x7fc00000u | p.n); }
        losses_set(row, loss);
    }
}
";
