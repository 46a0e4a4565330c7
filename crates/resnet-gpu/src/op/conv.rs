//! Convolution and linear layers: each of the three passes is a product of matrices whose operands
//! are read where they lie.
//!
//! forward: rows are output pixels, k runs over kernel rows, columns, input channels;
//! dx: rows are input pixels of one phase, that is of one remainder by the stride, which only some
//! of the kernel's places meet; k runs over those places and output channels;
//! dw: rows are places of the kernel and input channels, k runs over output pixels, cut into parts
//! that are summed in order.

use resnet_engine::step::{Conv, Linear, Norm, Precision};

use super::gemm::{self, Along, Tile};
use super::launches::{Launches, added, with_scratch};
use super::reduce::{Sums, channel_sums};
use crate::gpu::GROUPS;
use crate::kernel::Kernel;

/// Pixels that a part of dw sums, at least.
const PART: usize = 2048;
/// Most parts, and most numbers of all parts together where there are several.
const PARTS: usize = 128;
const PARTS_NUMBERS: usize = 1 << 24;

/// A linear layer as a convolution of one pixel.
pub(super) fn of_linear(linear: Linear) -> Conv {
    let Linear { n, c_in, c_out } = linear;
    Conv { n, h: 1, w: 1, c_in, c_out, kernel: 1, stride: 1, padding: 0, groups: 1 }
}

fn side(conv: Conv, size: usize) -> usize {
    (size + 2 * conv.padding - conv.kernel) / conv.stride + 1
}

/// What all passes know.
fn constants(kernel: Kernel, conv: Conv) -> Kernel {
    let (h_out, w_out) = (side(conv, conv.h), side(conv, conv.w));
    let kernel = kernel.constant("n", conv.n).constant("h", conv.h).constant("w", conv.w);
    let kernel = kernel.constant("h_out", h_out).constant("w_out", w_out);
    let kernel = kernel.constant("c_in", conv.c_in).constant("c_out", conv.c_out);
    let kernel = kernel.constant("size", conv.kernel).constant("stride", conv.stride);
    let kernel = kernel.constant("padding", conv.padding);
    kernel.constant("g_in", conv.c_in / conv.groups).constant("g_out", conv.c_out / conv.groups)
}

/// Where output pixels lie in the input, and places of the kernel beside them.
const PIXELS: &str = "
fn pixel(i: u32, inside: bool) -> vec4<i32> {
    let image = i / (p.h_out * p.w_out);
    let y = (i / p.w_out) % p.h_out;
    let column = i % p.w_out;
    return vec4<i32>(
        i32(image * p.h * p.w),
        i32(y * p.stride) - i32(p.padding),
        i32(column * p.stride) - i32(p.padding),
        i32(inside),
    );
}
fn tap(k: u32, inside: bool) -> vec4<i32> {
    let at = k / p.g_in;
    return vec4<i32>(i32(at / p.size), i32(at % p.size), i32(k % p.g_in), i32(inside));
}
fn x_at(member: u32, pixel: vec4<i32>, tap: vec4<i32>) -> f32 {
    let y = u32(pixel.y + tap.x);
    let column = u32(pixel.z + tap.y);
    if (pixel.w == 0 || tap.w == 0 || y >= p.h || column >= p.w) { return 0.0; }
    return x((u32(pixel.x) + y * p.w + column) * p.c_in + member * p.g_in + u32(tap.z));
}
";

const FORWARD: &str = "
fn extent(member: u32, part: u32) -> Extent {
    return Extent(p.n * p.h_out * p.w_out, 0u, p.size * p.size * p.g_in);
}
fn row(member: u32, m: u32) -> vec4<i32> { return pixel(m, m < p.n * p.h_out * p.w_out); }
fn key(member: u32, k: u32, shape: Extent) -> vec4<i32> { return tap(k, k < shape.k_end); }
fn a(member: u32, row: vec4<i32>, key: vec4<i32>) -> f32 { return x_at(member, row, key); }
fn b(member: u32, k: u32, n: u32, shape: Extent) -> f32 {
    if (k >= shape.k_end || n >= p.g_out) { return 0.0; }
    return w(k * p.c_out + member * p.g_out + n);
}
fn finish(member: u32, part: u32, m: u32, n: u32, v: vec4<f32>) {
    let i = m * p.c_out + member * p.g_out + n;
    let c = member * p.g_out + n;
    STORE4
}
";

const BACKWARD_INPUT: &str = "
// The first row or column of a phase, and how many there are of it.
fn first(phase: u32) -> u32 { return (phase + p.stride * p.padding - p.padding) % p.stride; }
fn count(phase: u32, size: u32) -> u32 {
    let at = first(phase);
    if (at >= size) { return 0u; }
    return (size - at - 1u) / p.stride + 1u;
}
fn taps(phase: u32) -> u32 {
    if (phase >= p.size) { return 0u; }
    return (p.size - phase - 1u) / p.stride + 1u;
}
fn phases(member: u32) -> vec3<u32> {
    let phase = member % (p.stride * p.stride);
    return vec3<u32>(member / (p.stride * p.stride), phase / p.stride, phase % p.stride);
}
fn extent(member: u32, part: u32) -> Extent {
    let which = phases(member);
    let pixels = p.n * count(which.y, p.h) * count(which.z, p.w);
    return Extent(pixels, 0u, taps(which.y) * taps(which.z) * p.g_out);
}
// Image, row and column of the input, for the m-th pixel of a phase.
fn place(member: u32, m: u32) -> vec3<u32> {
    let which = phases(member);
    let columns = count(which.z, p.w);
    let rows = count(which.y, p.h);
    let y = first(which.y) + p.stride * ((m / columns) % rows);
    return vec3<u32>(m / (columns * rows), y, first(which.z) + p.stride * (m % columns));
}
fn row(member: u32, m: u32) -> vec4<i32> {
    if (m >= extent(member, 0u).m) { return vec4<i32>(0); }
    let which = phases(member);
    let at = place(member, m);
    return vec4<i32>(
        i32(at.x * p.h_out * p.w_out),
        (i32(at.y + p.padding) - i32(which.y)) / i32(p.stride),
        (i32(at.z + p.padding) - i32(which.z)) / i32(p.stride),
        1,
    );
}
fn key(member: u32, k: u32, shape: Extent) -> vec4<i32> {
    if (k >= shape.k_end) { return vec4<i32>(0); }
    let columns = taps(phases(member).z);
    let at = k / p.g_out;
    return vec4<i32>(i32(at / columns), i32(at % columns), i32(k % p.g_out), 1);
}
fn a(member: u32, row: vec4<i32>, key: vec4<i32>) -> f32 {
    let y = u32(row.y - key.x);
    let column = u32(row.z - key.y);
    if (row.w == 0 || key.w == 0 || y >= p.h_out || column >= p.w_out) { return 0.0; }
    let channel = phases(member).x * p.g_out + u32(key.z);
    return dy((u32(row.x) + y * p.w_out + column) * p.c_out + channel);
}
fn b(member: u32, k: u32, n: u32, shape: Extent) -> f32 {
    if (k >= shape.k_end || n >= p.g_in) { return 0.0; }
    let which = phases(member);
    let at = k / p.g_out;
    let columns = taps(which.z);
    let ki = which.y + p.stride * (at / columns);
    let kj = which.z + p.stride * (at % columns);
    return w(((ki * p.size + kj) * p.g_in + n) * p.c_out + which.x * p.g_out + k % p.g_out);
}
fn finish(member: u32, part: u32, m: u32, n: u32, v: vec4<f32>) {
    let at = place(member, m);
    let c = phases(member).x * p.g_in + n;
    let i = ((at.x * p.h + at.y) * p.w + at.z) * p.c_in + c;
    STORE4
}
";

const BACKWARD_WEIGHT: &str = "
fn extent(member: u32, part: u32) -> Extent {
    let pixels = p.n * p.h_out * p.w_out;
    return Extent(
        p.size * p.size * p.g_in,
        min(part * p.part, pixels),
        min((part + 1u) * p.part, pixels),
    );
}
fn row(member: u32, m: u32) -> vec4<i32> { return tap(m, m < p.size * p.size * p.g_in); }
fn key(member: u32, k: u32, shape: Extent) -> vec4<i32> { return pixel(k, k < shape.k_end); }
fn a(member: u32, row: vec4<i32>, key: vec4<i32>) -> f32 { return x_at(member, key, row); }
fn b(member: u32, k: u32, n: u32, shape: Extent) -> f32 {
    if (k >= shape.k_end || n >= p.g_out) { return 0.0; }
    return dy(k * p.c_out + member * p.g_out + n);
}
fn finish(member: u32, part: u32, m: u32, n: u32, v: vec4<f32>) {
    let i = (part * p.size * p.size * p.g_in + m) * p.c_out + member * p.g_out + n;
    let c = 0u;
    STORE4
}
";

/// What an operand is that a pass stores: its name, whether it is bf16, and what is done with each
/// `v`, at `i` and of channel `c`, before.
struct Stored<'a> {
    y: &'a str,
    precision: Precision,
    change: String,
}

impl Stored<'_> {
    /// A pass's text, where `STORE4` stores four neighbours from column `n` on, those that are less
    /// than `limit`.
    fn in_text(&self, pass: &str, limit: &str) -> String {
        let (y, change) = (self.y, &self.change);
        let of = |j: usize| format!("changed(i + {j}u, c + {j}u, v[{j}])");
        let store = |j: usize| match self.precision {
            Precision::F32 => format!("{y}_set(i + {j}u, {});", of(j)),
            // Channels of a group are even: `refusal` looks.
            Precision::Bf16 => format!("{y}_set2(i + {j}u, {}, {});", of(j), of(j + 1)),
        };
        let step = 4 / self.precision.bytes();
        let stores: Vec<String> = (0..4)
            .step_by(step)
            .map(|j| format!("if (n + {j}u < {limit}) {{ {} }}", store(j)))
            .collect();
        let changed = format!(
            "fn changed(i: u32, c: u32, z: f32) -> f32 {{\n    var v = z;\n    {change}\n    \
             return v;\n}}"
        );
        format!("{changed}\n{}", pass.replace("STORE4", &stores.join("\n    ")))
    }
}

/// The sums of a forward pass, with what is done to each before it is stored in `y`, the step's
/// only output.
fn sums(to: &mut Launches, kernel: Kernel, conv: Conv, change: String) {
    let y = to.writes(0);
    let stored = Stored { y: "y", precision: to.precision(y), change };
    let operands = format!("{PIXELS}{}", stored.in_text(FORWARD, "p.g_out"));
    let pixels = conv.n * side(conv, conv.h) * side(conv, conv.w);
    let (columns, kernel) = (conv.c_out / conv.groups, constants(to.with(kernel, "y", y), conv));
    let tile = Tile::of(columns);
    let text = gemm::text(tile, Along::K, Along::Other, &operands);
    to.push(tile.run(kernel, text, pixels, columns, conv.groups, 1));
}

/// `x, w, [bias] -> y`
pub(super) fn forward(to: &mut Launches, conv: Conv, bias: bool) {
    let tile = Tile::of(conv.c_out / conv.groups);
    let mut kernel = to.with_all(Kernel::new(tile.name), &[("x", to.reads(0)), ("w", to.reads(1))]);
    let mut change = String::new();
    if bias {
        kernel = to.with(kernel, "bias", to.reads(2));
        change = "v = v + bias(c);".into();
    }
    sums(to, kernel, conv, change);
}

/// `x, w, b -> y`
pub(super) fn linear(to: &mut Launches, linear: Linear) {
    forward(to, of_linear(linear), true);
}

/// `x, w, gamma, beta, running mean, running var, [residual] -> y`
pub(super) fn forward_norm(to: &mut Launches, conv: Conv, norm: Norm) {
    let tile = Tile::of(conv.c_out / conv.groups);
    let slots = [
        ("x", to.reads(0)),
        ("w", to.reads(1)),
        ("gamma", to.reads(2)),
        ("beta", to.reads(3)),
        ("mean", to.reads(4)),
        ("variance", to.reads(5)),
    ];
    let mut kernel = to.with_all(Kernel::new(tile.name), &slots).constant("eps", norm.eps);
    let scale = "gamma(c) / sqrt(variance(c) + p.eps)";
    let mut change = format!("v = (v - mean(c)) * ({scale}) + beta(c);\n    ");
    if norm.residual.is_some() {
        kernel = to.with(kernel, "residual", to.reads(6));
        change += "v = v + residual(i);\n    ";
    }
    if norm.relu {
        change += "v = relu_of(v);";
    }
    sums(to, kernel, conv, change);
}

/// `dy, w -> dx`
pub(super) fn backward_input(to: &mut Launches, conv: Conv, accumulate: bool) {
    let (dx, columns) = (to.writes(0), conv.c_in / conv.groups);
    let change = added(accumulate, "dx");
    let stored = Stored { y: "dx", precision: to.precision(dx), change };
    let tile = Tile::of(columns);
    let slots = [("dy", to.reads(0)), ("w", to.reads(1)), ("dx", dx)];
    let kernel = constants(to.with_all(Kernel::new(tile.name), &slots), conv);
    let operands = stored.in_text(BACKWARD_INPUT, "p.g_in");
    let text = gemm::text(tile, Along::K, Along::K, &operands);
    let phases = conv.stride * conv.stride;
    let pixels = conv.n * conv.h.div_ceil(conv.stride) * conv.w.div_ceil(conv.stride);
    to.push(tile.run(kernel, text, pixels, columns, conv.groups * phases, 1));
}

/// `x, dy -> dw, [db]`
pub(super) fn backward_weight(to: &mut Launches, conv: Conv, bias: bool) {
    let (x, dy, dw) = (to.reads(0), to.reads(1), to.writes(0));
    let columns = conv.c_out / conv.groups;
    let tile = Tile::of(columns);
    let pixels = conv.n * side(conv, conv.h) * side(conv, conv.w);
    let most = (PARTS_NUMBERS / to.len(dw)).min(GROUPS as usize / conv.groups).clamp(1, PARTS);
    let parts = (pixels / PART).clamp(1, most);
    let part = pixels.div_ceil(parts).next_multiple_of(tile.bk);
    let parts = pixels.div_ceil(part).max(1);

    let kernel = to.with_all(Kernel::new(tile.name), &[("x", x), ("dy", dy)]);
    let kernel = constants(kernel, conv).constant("part", part);
    let stored = |y| Stored { y, precision: Precision::F32, change: String::new() };
    let rows = conv.kernel * conv.kernel * (conv.c_in / conv.groups);
    let run = |kernel, y| {
        let operands = format!("{PIXELS}{}", stored(y).in_text(BACKWARD_WEIGHT, "p.g_out"));
        let text = gemm::text(tile, Along::Other, Along::Other, &operands);
        tile.run(kernel, text, rows, columns, conv.groups, parts)
    };
    if parts == 1 {
        to.push(run(to.with(kernel, "dw", dw), "dw"));
    } else {
        let all = to.scratch(parts * to.len(dw));
        to.push(run(with_scratch(kernel, "all", &all), "all"));
        let kernel = with_scratch(Kernel::new("sum of parts"), "all", &all);
        let kernel = to.with(kernel, "dw", dw).constant("parts", parts);
        let value = "fn value(i: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < p.parts; part++) { sum = sum + all(part * p.len + i); }
    return sum;
}";
        to.push(kernel.each("dw", to.len(dw), value));
    }
    if bias {
        bias_gradient(to, pixels, conv.c_out);
    }
}

/// db, the step's second output: the sum of dy, its second operand, over all pixels.
fn bias_gradient(to: &mut Launches, pixels: usize, channels: usize) {
    let sums = Sums::new(to, pixels, channels);
    let kernel = to.with(Kernel::new("bias sums"), "dy", to.reads(1));
    let terms = "fn shift(c: u32) -> f32 { return 0.0; }
fn terms(i: u32, c: u32, s: f32) -> vec2<f32> { return vec2<f32>(dy(i), 0.0); }";
    to.push(channel_sums(kernel, &sums, terms));
    let kernel = to.with(Kernel::new("bias gradient"), "db", to.writes(1));
    let statements = sums.join() + "\n        db_set(i, sum.x);";
    to.push(sums.constants(kernel).every(channels, statements));
}

/// Why a convolution of bf16 maps cannot run: threads store pairs.
pub(super) fn refusal(conv: Conv, into_input: bool) -> Option<String> {
    let channels = if into_input { conv.c_in } else { conv.c_out } / conv.groups;
    (channels % 2 == 1)
        .then(|| format!("bf16 on a GPU needs groups of even channels, found {channels}; use f32"))
}
