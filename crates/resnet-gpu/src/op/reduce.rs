//! Sums over the rows of a map, cut by its shape alone, and whether numbers are finite.

use std::ops::Range;

use resnet_engine::step::{Memory, Precision};

use super::launches::{Launches, with_scratch};
use crate::kernel::{Kernel, Of};

/// Rows of a chunk at least.
const ROWS: usize = 128;
/// Most chunks.
const CHUNKS: usize = 256;

/// Where the sums of each chunk go: `[chunk][2][channels]`.
pub(super) struct Sums {
    parts: Range<usize>,
    rows: usize,
    chunk: usize,
    channels: usize,
}

impl Sums {
    pub(super) fn new(to: &mut Launches, rows: usize, channels: usize) -> Sums {
        let chunk = rows.div_ceil(CHUNKS).max(ROWS);
        let parts = to.scratch(rows.div_ceil(chunk) * 2 * channels);
        Sums { parts, rows, chunk, channels }
    }

    fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk)
    }

    /// Adds what [`Sums::join`] reads to a kernel of one thread a channel.
    pub(super) fn constants(&self, kernel: Kernel) -> Kernel {
        let kernel = with_scratch(kernel, "parts", &self.parts);
        let kernel = kernel.constant("channels", self.channels).constant("chunks", self.chunks());
        kernel.constant("rows", self.rows as f32)
    }

    /// Statements that make `sum` the two sums of channel `i`.
    pub(super) fn join(&self) -> String {
        "        var sum = vec2<f32>(0.0);
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            let at = chunk * 2u * p.channels + i;
            sum = sum + vec2<f32>(parts(at), parts(at + p.channels));
        }"
        .to_string()
    }
}

/// Sums `terms(i, c, s)` over the numbers `i` of each channel `c`, by chunks of rows; `s` is what
/// `shift(c)` gives.
pub(super) fn channel_sums(kernel: Kernel, sums: &Sums, terms: &str) -> Kernel {
    let kernel = with_scratch(kernel, "parts", &sums.parts).constant("rows", sums.rows);
    let kernel = kernel.constant("channels", sums.channels).constant("chunk", sums.chunk);
    let body = format!("{terms}\n{CHANNEL_SUMS}");
    kernel.run(body, [sums.channels.div_ceil(32) as u32, sums.chunks() as u32, 1])
}

/// 32 channels a group; eight threads share a chunk's rows.
const CHANNEL_SUMS: &str = "
var<workgroup> sums: array<vec2<f32>, 256>;

@compute @workgroup_size(32, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let c = group.x * 32u + thread.x;
    var sum = vec2<f32>(0.0);
    if (c < p.channels) {
        let s = shift(c);
        let end = min((group.y + 1u) * p.chunk, p.rows);
        for (var row = group.y * p.chunk + thread.y; row < end; row += 8u) {
            sum = sum + terms(row * p.channels + c, c, s);
        }
    }
    sums[thread.y * 32u + thread.x] = sum;
    workgroupBarrier();
    if (thread.y == 0u && c < p.channels) {
        for (var k = 1u; k < 8u; k++) { sum = sum + sums[k * 32u + thread.x]; }
        let at = group.y * 2u * p.channels + c;
        parts_set(at, sum.x);
        parts_set(at + p.channels, sum.y);
    }
}
";

/// Numbers that a group of [`finite`] looks at, at least.
const LOOKS: usize = 4096;

/// A kernel that says of parts of a piece of memory whether they hold only finite numbers: 1 or 0
/// in each word of scratch. Whether they are told by their bits, since an optimiser of
/// shaders may take numbers for finite.
pub(crate) fn finite(memory: Memory, words: Range<usize>, len: usize, of: Precision) -> Kernel {
    let groups = len.div_ceil(LOOKS).clamp(1, 1024);
    let kernel = Kernel::new("finite").operand("x", Of::Words(memory, words), of);
    let kernel = with_scratch(kernel, "parts", &(0..groups));
    kernel.constant("len", len).constant("groups", groups).run(FINITE, [groups as u32, 1, 1])
}

const FINITE: &str = "
var<workgroup> fine: array<u32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var all = 1u;
    for (var i = group.x * 256u + thread; i < p.len; i += p.groups * 256u) {
        let is = (bitcast<u32>(x(i)) & 0x7f800000u) != 0x7f800000u;
        all = all & select(0u, 1u, is);
    }
    fine[thread] = all;
    workgroupBarrier();
    if (thread == 0u) {
        for (var k = 1u; k < 256u; k++) { all = all & fine[k]; }
        parts_set(group.x, f32(all));
    }
}
";
