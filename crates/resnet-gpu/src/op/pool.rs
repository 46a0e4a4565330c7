//! Max, average and global average pools, each with its gradient.

use resnet_engine::step::Pool;

use super::launches::{Launches, added};
use crate::kernel::Kernel;

/// What all pools know.
fn constants(kernel: Kernel, pool: Pool) -> Kernel {
    let side = |size: usize| (size + 2 * pool.padding - pool.kernel) / pool.stride + 1;
    let kernel = kernel.constant("h", pool.h).constant("w", pool.w).constant("c", pool.c);
    let kernel = kernel.constant("h_out", side(pool.h)).constant("w_out", side(pool.w));
    let kernel = kernel.constant("size", pool.kernel).constant("stride", pool.stride);
    kernel.constant("padding", pool.padding)
}

/// Channel, row and column of the `i`-th number of a map, and where its image begins.
const PLACE: &str = "
struct Place { image: u32, y: u32, x: u32, c: u32 }
fn place(i: u32, h: u32, w: u32) -> Place {
    let pixel = i / p.c;
    return Place(pixel / (h * w), (pixel / w) % h, pixel % w, i % p.c);
}
fn index(image: u32, y: u32, x: u32, c: u32) -> u32 {
    return ((image * p.h + y) * p.w + x) * p.c + c;
}
";

/// The place of a window's maximum: the first of equals, the last that is no number.
const WINNER: &str = "
fn no_number(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }
fn winner(image: u32, i: u32, j: u32, c: u32) -> u32 {
    var found = false;
    var most = 0.0;
    var at = 0u;
    for (var ki = 0u; ki < p.size; ki++) {
        let y = i * p.stride + ki - p.padding;
        if (y >= p.h) { continue; }
        for (var kj = 0u; kj < p.size; kj++) {
            let column = j * p.stride + kj - p.padding;
            if (column >= p.w) { continue; }
            let here = index(image, y, column, c);
            let v = x(here);
            if (!found || v > most || no_number(v)) { found = true; most = v; at = here; }
        }
    }
    return at;
}
";

/// The sum of `TERM` over the windows (i, j) that a place of the input is in.
const WINDOWS: &str = "
fn value(i: u32) -> f32 {
    let at = place(i, p.h, p.w);
    var v = 0.0;
    let y = at.y + p.padding;
    let column = at.x + p.padding;
    let first_i = select(0u, (y - p.size) / p.stride + 1u, y >= p.size);
    let first_j = select(0u, (column - p.size) / p.stride + 1u, column >= p.size);
    for (var a = first_i; a < p.h_out && a * p.stride <= y; a++) {
        for (var b = first_j; b < p.w_out && b * p.stride <= column; b++) {
            let source = ((at.image * p.h_out + a) * p.w_out + b) * p.c + at.c;
            TERM
        }
    }
    ADDED
    return v;
}
";

pub(super) fn max(to: &mut Launches, pool: Pool) {
    let kernel = to.with_all(Kernel::new("max pool"), &[("x", to.reads(0)), ("y", to.writes(0))]);
    let value = format!(
        "{PLACE}{WINNER}fn value(i: u32) -> f32 {{
    let at = place(i, p.h_out, p.w_out);
    return x(winner(at.image, at.y, at.x, at.c));
}}"
    );
    to.push(constants(kernel, pool).each("y", to.len(to.writes(0)), value));
}

pub(super) fn max_backward(to: &mut Launches, pool: Pool, accumulate: bool) {
    let slots = [("x", to.reads(0)), ("dy", to.reads(1)), ("dx", to.writes(0))];
    let kernel = to.with_all(Kernel::new("max pool backward"), &slots);
    let term = "if (winner(at.image, a, b, at.c) == i) { v = v + dy(source); }";
    let value = WINDOWS.replace("TERM", term).replace("ADDED", &added(accumulate, "dx"));
    let value = format!("{PLACE}{WINNER}{value}");
    to.push(constants(kernel, pool).each("dx", to.len(to.writes(0)), value));
}

pub(super) fn avg(to: &mut Launches, pool: Pool) {
    let kernel = to.with_all(Kernel::new("avg pool"), &[("x", to.reads(0)), ("y", to.writes(0))]);
    let value = format!(
        "{PLACE}fn value(i: u32) -> f32 {{
    let at = place(i, p.h_out, p.w_out);
    var sum = 0.0;
    var count = 0.0;
    for (var ki = 0u; ki < p.size; ki++) {{
        let y = at.y * p.stride + ki - p.padding;
        if (y >= p.h) {{ continue; }}
        for (var kj = 0u; kj < p.size; kj++) {{
            let column = at.x * p.stride + kj - p.padding;
            if (column >= p.w) {{ continue; }}
            sum = sum + x(index(at.image, y, column, at.c));
            count = count + 1.0;
        }}
    }}
    return sum / count;
}}"
    );
    to.push(constants(kernel, pool).each("y", to.len(to.writes(0)), value));
}

pub(super) fn avg_backward(to: &mut Launches, pool: Pool, accumulate: bool) {
    let slots = [("dy", to.reads(0)), ("dx", to.writes(0))];
    let kernel = to.with_all(Kernel::new("avg pool backward"), &slots);
    // A window counts the places that lie within the input.
    let term = "let rows = min(a * p.stride + p.size, p.h + p.padding) - max(a * p.stride, p.padding);
            let columns = min(b * p.stride + p.size, p.w + p.padding) - max(b * p.stride, p.padding);
            v = v + dy(source) / f32(rows * columns);";
    let value = WINDOWS.replace("TERM", term).replace("ADDED", &added(accumulate, "dx"));
    let value = format!("{PLACE}{value}");
    to.push(constants(kernel, pool).each("dx", to.len(to.writes(0)), value));
}

/// The mean of all pixels of each channel.
pub(super) fn global(to: &mut Launches, pixels: usize, c: usize) {
    let slots = [("x", to.reads(0)), ("y", to.writes(0))];
    let kernel = to.with_all(Kernel::new("global avg pool"), &slots);
    let value = "fn value(i: u32) -> f32 {
    let first = (i / p.c) * p.pixels * p.c + i % p.c;
    var sum = 0.0;
    for (var k = 0u; k < p.pixels; k++) { sum = sum + x(first + k * p.c); }
    return sum / f32(p.pixels);
}";
    let kernel = kernel.constant("pixels", pixels).constant("c", c);
    to.push(kernel.each("y", to.len(to.writes(0)), value));
}

pub(super) fn global_backward(to: &mut Launches, pixels: usize, c: usize, accumulate: bool) {
    let slots = [("dy", to.reads(0)), ("dx", to.writes(0))];
    let kernel = to.with_all(Kernel::new("global avg pool backward"), &slots);
    let value = format!(
        "fn value(i: u32) -> f32 {{
    var v = dy(i / (p.pixels * p.c) * p.c + i % p.c) / f32(p.pixels);
    {}
    return v;
}}",
        added(accumulate, "dx")
    );
    let kernel = kernel.constant("pixels", pixels).constant("c", c);
    to.push(kernel.each("dx", to.len(to.writes(0)), value));
}
