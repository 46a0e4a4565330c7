//! The kernels for convolutions, best first. The first row of the instruction set in use that
//! accepts the shape is chosen; the last row of each takes everything. To add a kernel: its file,
//! and a row above the one it beats.

#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::epilogue::Epilogue;
use super::shape::Conv2dShape;
#[cfg(target_arch = "x86_64")]
use super::winograd::Paired;
use super::winograd::{Algorithm, F, Plain, Products};
use super::{direct, winograd};
use crate::{Bf16, Cpu, Isa, Number, Scratch, ScratchLen};

/// (cpu, shape, w, packed): the same words for the same w of the same shape, whatever the images,
/// the step, the rim and the threads ([`Packing`](super::Packing)).
type Pack = fn(&Cpu, &Conv2dShape, &[f32], &mut [f32]);
/// (cpu, shape, x, packed, epilogue, y, scratch): of scratch only what each thread has for itself;
/// what is packed is one copy, or one for each thread ([`packed::of`](super::packed::of)).
type Forward<T> = fn(&Cpu, &Conv2dShape, &[T], &[f32], Epilogue<T>, &mut [T], Scratch);
/// (cpu, shape, dy, w, dx, accumulate, scratch)
type BackwardInput<T> = fn(&Cpu, &Conv2dShape, &[T], &[f32], &mut [T], bool, Scratch);
/// (cpu, shape, x, dy, dw, db, scratch)
type BackwardWeight<T> =
    fn(&Cpu, &Conv2dShape, &[T], &[T], &mut [f32], Option<&mut [f32]>, Scratch);

/// A kernel: all passes of a convolution whose maps are stored as `T`. Weights and their gradients
/// are f32; what is packed and scratch are 32-bit words of the kernel's own use.
pub(crate) struct Row<T: 'static> {
    /// Operation, precision, register tile, instruction set; no other row's.
    pub(super) name: &'static str,
    pub(super) isa: Isa,
    /// Whether sums are those of the formula.
    pub(super) direct: bool,
    /// Whether its products are of bf16 numbers.
    pub(super) multiplies_bf16: bool,
    pub(super) accepts: fn(&Conv2dShape) -> bool,
    pub(super) scratch_len: fn(&Cpu, &Conv2dShape) -> ScratchLen,
    /// Words of the weights as the forward pass reads them.
    pub(super) packed_len: fn(&Cpu, &Conv2dShape) -> usize,
    pub(super) pack: Pack,
    pub(super) forward: Forward<T>,
    pub(super) backward_input: BackwardInput<T>,
    pub(super) backward_weight: BackwardWeight<T>,
}

/// The direct kernel; its name and instruction set differ from row to row, its code does not.
const fn direct<T: Number>(name: &'static str, isa: Isa) -> Row<T> {
    Row {
        name,
        isa,
        direct: true,
        multiplies_bf16: false,
        accepts: |_| true,
        scratch_len: direct::scratch_len::<T>,
        packed_len: direct::packed_len::<T>,
        pack: direct::pack::<T>,
        forward: direct::forward,
        backward_input: direct::backward_input,
        backward_weight: direct::backward_weight,
    }
}

/// Winograd's algorithm by tiles of O x O outputs from I x I inputs, the same for every instruction
/// set.
const fn winograd_tiles<T: Number, P: Products, const O: usize, const I: usize>(
    name: &'static str,
    isa: Isa,
) -> Row<T>
where
    F: Algorithm<O, I>,
{
    Row {
        name,
        isa,
        direct: false,
        multiplies_bf16: false,
        accepts: winograd::accepts,
        scratch_len: winograd::scratch_len::<P, O, I>,
        packed_len: winograd::packed_len::<P, O, I>,
        pack: winograd::pack::<P, O, I>,
        forward: winograd::forward::<T, P, O, I>,
        backward_input: winograd::backward_input::<T, P, O, I>,
        backward_weight: winograd::backward_weight::<T, P, O, I>,
    }
}

const fn winograd<T: Number>(name: &'static str, isa: Isa) -> Row<T> {
    winograd_tiles::<T, Plain, { winograd::OUT }, { winograd::IN }>(name, isa)
}

/// The same with smaller tiles, for maps of few pixels; the backward passes are the direct
/// kernel's.
const fn winograd_small<T: Number>(name: &'static str, isa: Isa) -> Row<T> {
    const O: usize = winograd::SMALL_OUT;
    const I: usize = winograd::SMALL_IN;
    Row {
        accepts: winograd::accepts_small,
        scratch_len: |cpu, shape| {
            let forward = winograd::forward_scratch_len::<Plain, O, I>(cpu, shape);
            forward.max(direct::scratch_len::<T>(cpu, shape))
        },
        backward_input: direct::backward_input,
        backward_weight: direct::backward_weight,
        ..winograd_tiles::<T, Plain, O, I>(name, isa)
    }
}

/// The kernel that multiplies bf16 numbers, by whatever the instruction set has for it.
#[cfg(target_arch = "x86_64")]
const fn products(name: &'static str, isa: Isa) -> Row<Bf16> {
    Row {
        name,
        isa,
        direct: true,
        multiplies_bf16: true,
        accepts: bf16::accepts,
        scratch_len: bf16::scratch_len,
        packed_len: bf16::packed_len,
        pack: bf16::pack,
        forward: bf16::forward,
        backward_input: bf16::backward_input,
        backward_weight: bf16::backward_weight,
    }
}

/// Winograd's algorithm with small tiles, whose points are rounded to bf16.
#[cfg(target_arch = "x86_64")]
const fn winograd_pairs(name: &'static str, isa: Isa) -> Row<Bf16> {
    Row {
        multiplies_bf16: true,
        accepts: winograd::accepts_pairs,
        ..winograd_tiles::<Bf16, Paired, { winograd::SMALL_OUT }, { winograd::SMALL_IN }>(name, isa)
    }
}

/// The kernels for maps stored as a type.
pub(crate) trait Rows: Sized + 'static {
    /// Best first.
    const ROWS: &'static [Row<Self>];
}

impl Rows for f32 {
    const ROWS: &'static [Row<f32>] = &[
        winograd("conv_f32_winograd__avx512", Isa::Avx512),
        winograd_small("conv_f32_winograd2__avx512", Isa::Avx512),
        direct("conv_f32_6x32__avx512", Isa::Avx512),
        winograd("conv_f32_winograd__avx2", Isa::Avx2),
        winograd_small("conv_f32_winograd2__avx2", Isa::Avx2),
        direct("conv_f32_6x16__avx2", Isa::Avx2),
        winograd("conv_f32_winograd__scalar", Isa::Scalar),
        winograd_small("conv_f32_winograd2__scalar", Isa::Scalar),
        direct("conv_f32_6x8__scalar", Isa::Scalar),
    ];
}

/// Rows for AMX and AVX-512 BF16 multiply bf16; the others multiply in f32 what was stored as bf16.
impl Rows for Bf16 {
    const ROWS: &'static [Row<Bf16>] = &[
        #[cfg(target_arch = "x86_64")]
        products("conv_bf16_32x32__amx", Isa::Amx),
        #[cfg(target_arch = "x86_64")]
        winograd_pairs("conv_bf16_winograd2_pairs__avx512bf16", Isa::Avx512Bf16),
        #[cfg(target_arch = "x86_64")]
        products("conv_bf16_8x32__avx512bf16", Isa::Avx512Bf16),
        winograd("conv_bf16_winograd__avx512", Isa::Avx512),
        winograd_small("conv_bf16_winograd2__avx512", Isa::Avx512),
        direct("conv_bf16_6x32__avx512", Isa::Avx512),
        winograd("conv_bf16_winograd__avx2", Isa::Avx2),
        winograd_small("conv_bf16_winograd2__avx2", Isa::Avx2),
        direct("conv_bf16_6x16__avx2", Isa::Avx2),
        winograd("conv_bf16_winograd__scalar", Isa::Scalar),
        winograd_small("conv_bf16_winograd2__scalar", Isa::Scalar),
        direct("conv_bf16_6x8__scalar", Isa::Scalar),
    ];
}

/// The rows for `shape` of the instruction set that `cpu` uses, the best first.
pub(super) fn candidates<T: Rows>(
    cpu: &Cpu,
    shape: &Conv2dShape,
) -> impl Iterator<Item = &'static Row<T>> {
    let (isa, shape) = (cpu.isa(), *shape);
    T::ROWS
        .iter()
        .filter(move |row| (row.isa == isa || row.isa == isa.vectors()) && (row.accepts)(&shape))
}

/// The first of them that is not switched off.
pub(super) fn choose<T: Rows>(cpu: &Cpu, shape: &Conv2dShape) -> &'static Row<T> {
    candidates(cpu, shape)
        .find(|row| row.direct || cpu.winograd())
        .unwrap_or(&T::ROWS[T::ROWS.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_rows() {
        let names = f32::ROWS.iter().map(|row| row.name);
        let mut names: Vec<_> = names.chain(Bf16::ROWS.iter().map(|row| row.name)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
