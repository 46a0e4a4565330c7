//! A kernel: a text in WGSL with its operands and constants, and how many groups run it.
//!
//! An operand `x` is read by `x(i)`, the `i`-th number of its slot in f32, however it is stored.
//! One of f32 is written by `x_set(i, v)`; one of bf16 in pairs, by `x_set2(i, a, b)` with an even
//! `i`, as two threads must not write one word. A constant `n` is `p.n`.

use std::fmt::Write as _;
use std::ops::Range;

use resnet_engine::step::{Memory, Precision, SlotId};

use crate::gpu::{GROUPS, OPERANDS, RECORD};

/// Threads of a group of [`Kernel::each`].
const THREADS: u32 = 256;

/// What an operand is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Of {
    /// Some of a slot's numbers.
    Slot(SlotId, Range<usize>),
    /// Words of a step's own, which it writes before it reads them.
    Scratch(Range<usize>),
    /// Words of a piece of memory.
    Words(Memory, Range<usize>),
    /// The rates of updates: lr, scale, average.
    Rates,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub(crate) name: &'static str,
    pub(crate) of: Of,
    pub(crate) precision: Precision,
}

/// The value of a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Constant {
    Whole(u32),
    Real(f32),
}

impl From<usize> for Constant {
    fn from(value: usize) -> Constant {
        // What is longer no device takes, and is refused when memory is taken.
        Constant::Whole(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Constant {
        Constant::Real(value)
    }
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// What it is called where kernels are listed.
    pub(crate) name: &'static str,
    pub(crate) operands: Vec<Operand>,
    constants: Vec<(&'static str, Constant)>,
    /// Functions that statements call.
    defined: &'static str,
    body: String,
    pub(crate) groups: [u32; 3],
}

impl Kernel {
    /// A kernel that has no operands yet, of one group.
    pub(crate) fn new(name: &'static str) -> Kernel {
        let body = String::new();
        let (operands, constants) = (Vec::new(), Vec::new());
        Kernel { name, operands, constants, defined: "", body, groups: [1; 3] }
    }

    /// Adds an operand.
    pub(crate) fn operand(mut self, name: &'static str, of: Of, precision: Precision) -> Kernel {
        assert!(self.operands.len() < OPERANDS, "{} has too many operands", self.name);
        self.operands.push(Operand { name, of, precision });
        self
    }

    /// Adds a constant.
    pub(crate) fn constant(mut self, name: &'static str, value: impl Into<Constant>) -> Kernel {
        self.constants.push((name, value.into()));
        self
    }

    /// Adds functions that its statements call.
    pub(crate) fn define(mut self, functions: &'static str) -> Kernel {
        self.defined = functions;
        self
    }

    /// Sets its text and the groups that run it.
    pub(crate) fn run(mut self, body: impl Into<String>, groups: [u32; 3]) -> Kernel {
        (self.body, self.groups) = (body.into(), groups);
        self
    }

    /// Sets its text to one that computes the `len` numbers of the operand `y` by a function
    /// `value(i)`, one thread a word.
    pub(crate) fn each(self, y: &str, len: usize, value: impl AsRef<str>) -> Kernel {
        let y = self.operands.iter().find(|operand| operand.name == y).expect("y is an operand");
        let (name, numbers) = (y.name, 4 / y.precision.bytes());
        let store = match y.precision {
            Precision::F32 => format!("{name}_set(i, value(i));"),
            Precision::Bf16 => format!(
                "let next = min(i + 1u, p.len - 1u);\n        {name}_set2(i, value(i), value(next));"
            ),
        };
        let body = format!(
            "{}\n{EACH}    let i = word * {numbers}u;\n    if (i < p.len) {{\n        {store}\n    }}\n}}\n",
            value.as_ref()
        );
        self.constant("len", len).run(body, linear(len.div_ceil(numbers)))
    }

    /// Sets its text to statements about each `i` of `len`, one thread each.
    pub(crate) fn every(self, len: usize, statements: impl AsRef<str>) -> Kernel {
        let body = format!(
            "{EACH}    let i = word;\n    if (i < p.len) {{\n{}\n    }}\n}}\n",
            statements.as_ref()
        );
        self.constant("len", len).run(body, linear(len))
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let fields = self.operands.iter().map(|operand| format!("at_{}: u32", operand.name));
        let constants = self.constants.iter().map(|(name, value)| match value {
            Constant::Whole(_) => format!("{name}: u32"),
            Constant::Real(_) => format!("{name}: f32"),
        });
        let fields: Vec<String> = fields.chain(constants).collect();
        assert!(fields.len() as u64 * 4 <= RECORD, "{} has too many constants", self.name);
        let record = if fields.is_empty() { "none: u32".to_string() } else { fields.join(", ") };
        writeln!(text, "struct Constants {{ {record} }}").expect(WRITES);
        writeln!(text, "@group(0) @binding(0) var<uniform> p: Constants;").expect(WRITES);
        for (i, operand) in self.operands.iter().enumerate() {
            let accessors = match operand.precision {
                Precision::F32 => F32,
                Precision::Bf16 => BF16,
            };
            let binding = (i + 1).to_string();
            text += &accessors.replace("NAME", operand.name).replace("BINDING", &binding);
        }
        text += RELU;
        if self.operands.iter().any(|operand| operand.precision == Precision::Bf16) {
            text += ROUND;
        }
        text + self.defined + &self.body
    }

    /// The bytes of its constants, where operands begin at so many numbers behind the start of what
    /// is bound.
    pub(crate) fn record(&self, at: &[u32]) -> Vec<u8> {
        assert_eq!(at.len(), self.operands.len());
        let constants = self.constants.iter().map(|(_, value)| match value {
            Constant::Whole(value) => *value,
            Constant::Real(value) => value.to_bits(),
        });
        let words = at.iter().copied().chain(constants);
        words.flat_map(u32::to_ne_bytes).collect()
    }
}

const WRITES: &str = "texts take what is written";

/// Groups of [`THREADS`] threads that are one for each of `len`.
fn linear(len: usize) -> [u32; 3] {
    let groups = len.div_ceil(THREADS as usize).max(1);
    let rows = groups.div_ceil(GROUPS as usize);
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

const EACH: &str = "
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let word = (group.y * groups.x + group.x) * 256u + thread;
";

const F32: &str = "
@group(0) @binding(BINDING) var<storage, read_write> NAME_: array<f32>;
fn NAME(i: u32) -> f32 { return NAME_[p.at_NAME + i]; }
fn NAME_set(i: u32, v: f32) { NAME_[p.at_NAME + i] = v; }
";

/// bf16 is the upper half of an f32.
const BF16: &str = "
@group(0) @binding(BINDING) var<storage, read_write> NAME_: array<u32>;
fn NAME(i: u32) -> f32 {
    let word = NAME_[(p.at_NAME + i) >> 1u];
    return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}
fn NAME_set2(i: u32, a: f32, b: f32) {
    NAME_[(p.at_NAME + i) >> 1u] = bf16(a) | (bf16(b) << 16u);
}
";

/// max(v, 0) that keeps what is no number, told by bits: a shader's compiler may take numbers for
/// finite.
const RELU: &str = "
fn relu_of(v: f32) -> f32 {
    let bits = bitcast<u32>(v);
    return select(v, 0.0, bits > 0x80000000u && bits <= 0xff800000u);
}
";

/// To the nearest, of two as near to the even one; what is no number stays none.
const ROUND: &str = "
fn bf16(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 64u; }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_as_many_as_needed_and_no_more_than_allowed() {
        assert_eq!(linear(0), [1, 1, 1]);
        assert_eq!(linear(257), [2, 1, 1]);
        let [x, y, z] = linear(300_000_000);
        assert!(x <= GROUPS && y <= GROUPS && z == 1);
        let threads = x as usize * y as usize * THREADS as usize;
        assert!((300_000_000..300_100_000).contains(&threads), "{threads}");
    }

    #[test]
    fn constants_stand_behind_the_places_of_operands() {
        let slot = Of::Slot(SlotId(0), 0..8);
        let kernel = Kernel::new("double").operand("x", slot.clone(), Precision::F32);
        let kernel = kernel.operand("y", slot, Precision::Bf16).constant("factor", 2.0);
        let kernel = kernel.each("y", 8, "fn value(i: u32) -> f32 { return p.factor * x(i); }");
        let text = kernel.text();
        assert!(text.contains("at_x: u32, at_y: u32, factor: f32, len: u32"), "{text}");
        let words = [3, 4, 2.0f32.to_bits(), 8];
        assert_eq!(kernel.record(&[3, 4]), words.map(u32::to_ne_bytes).concat());
    }
}
