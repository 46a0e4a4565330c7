//! The kernels for convolutions, best first. The first row of the instruction set in use that accepts the shape is chosen; the last
//! row of each takes everything. To add a kernel: its file, and a row above the one it beats.

use super::{Conv2dShape, Epilogue, direct, winograd};
use crate::{Cpu, Isa};

/// (cpu, shape, w, packed)
type Pack = fn(&Cpu, &Conv2dShape, &[f32], &mut [f32]);
/// (cpu, shape, x, packed, epilogue, y, scratch)
type Forward = fn(&Cpu, &Conv2dShape, &[f32], &[f32], Epilogue, &mut [f32], &mut [f32]);
/// (cpu, shape, dy, w, dx, accumulate, scratch)
type BackwardInput = fn(&Cpu, &Conv2dShape, &[f32], &[f32], &mut [f32], bool, &mut [f32]);
/// (cpu, shape, x, dy, dw, db, scratch)
type BackwardWeight =
    fn(&Cpu, &Conv2dShape, &[f32], &[f32], &mut [f32], Option<&mut [f32]>, &mut [f32]);

/// A kernel: all passes of a convolution.
pub(super) struct Row {
    /// Operation, precision, register tile, instruction set.
    pub(super) name: &'static str,
    pub(super) isa: Isa,
    /// Whether sums are those of the formula.
    pub(super) direct: bool,
    pub(super) accepts: fn(&Conv2dShape) -> bool,
    pub(super) scratch_len: fn(&Cpu, &Conv2dShape) -> usize,
    /// Numbers of the weights as the forward pass reads them.
    pub(super) packed_len: fn(&Cpu, &Conv2dShape) -> usize,
    pub(super) pack: Pack,
    pub(super) forward: Forward,
    pub(super) backward_input: BackwardInput,
    pub(super) backward_weight: BackwardWeight,
}

/// The direct kernel; its name and instruction set differ from row to row, its code does not.
const DIRECT: Row = Row {
    name: "conv_f32_6x8__scalar",
    isa: Isa::Scalar,
    direct: true,
    accepts: |_| true,
    scratch_len: direct::scratch_len,
    packed_len: direct::packed_len,
    pack: direct::pack,
    forward: direct::forward,
    backward_input: direct::backward_input,
    backward_weight: direct::backward_weight,
};

/// Winograd's algorithm, the same for every instruction set.
const WINOGRAD: Row = Row {
    name: "conv_f32_winograd__scalar",
    isa: Isa::Scalar,
    direct: false,
    accepts: winograd::accepts,
    scratch_len: winograd::scratch_len,
    packed_len: winograd::packed_len::<{ winograd::OUT }, { winograd::IN }>,
    pack: winograd::pack::<{ winograd::OUT }, { winograd::IN }>,
    forward: winograd::forward::<{ winograd::OUT }, { winograd::IN }>,
    backward_input: winograd::backward_input,
    backward_weight: winograd::backward_weight,
};

/// The same with smaller tiles, for maps of few pixels; the backward passes are the direct kernel's.
const WINOGRAD_SMALL: Row = Row {
    name: "conv_f32_winograd2__scalar",
    accepts: winograd::accepts_small,
    scratch_len: |cpu, shape| {
        let forward =
            winograd::forward_scratch_len::<{ winograd::SMALL_OUT }, { winograd::SMALL_IN }>;
        forward(cpu, shape).max(direct::scratch_len(cpu, shape))
    },
    packed_len: winograd::packed_len::<{ winograd::SMALL_OUT }, { winograd::SMALL_IN }>,
    pack: winograd::pack::<{ winograd::SMALL_OUT }, { winograd::SMALL_IN }>,
    forward: winograd::forward::<{ winograd::SMALL_OUT }, { winograd::SMALL_IN }>,
    backward_input: direct::backward_input,
    backward_weight: direct::backward_weight,
    ..WINOGRAD
};

pub(super) static ROWS: &[Row] = &[
    Row {
        name: "conv_f32_winograd__avx512",
        isa: Isa::Avx512,
        ..WINOGRAD
    },
    Row {
        name: "conv_f32_winograd2__avx512",
        isa: Isa::Avx512,
        ..WINOGRAD_SMALL
    },
    Row {
        name: "conv_f32_6x32__avx512",
        isa: Isa::Avx512,
        ..DIRECT
    },
    Row {
        name: "conv_f32_winograd__avx2",
        isa: Isa::Avx2,
        ..WINOGRAD
    },
    Row {
        name: "conv_f32_winograd2__avx2",
        isa: Isa::Avx2,
        ..WINOGRAD_SMALL
    },
    Row {
        name: "conv_f32_6x16__avx2",
        isa: Isa::Avx2,
        ..DIRECT
    },
    WINOGRAD,
    WINOGRAD_SMALL,
    DIRECT,
];

/// The rows for `shape` of the instruction set that `cpu` uses, the best first.
pub(super) fn candidates(cpu: &Cpu, shape: &Conv2dShape) -> impl Iterator<Item = &'static Row> {
    let (isa, shape) = (cpu.isa(), *shape);
    ROWS.iter()
        .filter(move |row| row.isa == isa && (row.accepts)(&shape))
}

/// The first of them that is not switched off.
pub(super) fn choose(cpu: &Cpu, shape: &Conv2dShape) -> &'static Row {
    candidates(cpu, shape)
        .find(|row| row.direct || cpu.winograd())
        .unwrap_or(&ROWS[ROWS.len() - 1])
}
