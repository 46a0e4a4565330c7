//! What is multiplied: a block's operands, and how they are cut.

use crate::Bf16;
use crate::conv::outputs::Outputs;
use crate::simd::Avx512;

/// Rows of a tile, and its columns of sums.
pub(in crate::conv) const SIDE: usize = 16;
/// Numbers of the reduction in a step.
pub(in crate::conv) const STEP: usize = 32;
/// Most tiles of a in a block.
pub(in crate::conv) const MOST: usize = 3;
/// Columns of the wide block.
pub(in crate::conv) const PANEL: usize = 2 * SIDE;

/// Steps of the reduction in a part: 36 KiB of weights in a first-level cache of 48.
pub(in crate::conv) const PART: usize = 18;

/// Pixels in a row of a where rows overlap.
pub(in crate::conv) const OVERLAP: usize = 3;

/// Tiles of a in a block with `columns` columns.
pub(in crate::conv) fn height(columns: usize) -> usize {
    if columns > SIDE { 2 } else { MOST }
}

/// Columns that b has room for where `columns` are used.
pub(in crate::conv) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(SIDE)
}

/// The panels that columns are cut into: the first column, and how many.
pub(in crate::conv) fn panels(
    columns: std::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize)> {
    let end = columns.end;
    columns.step_by(PANEL).map(move |n| (n, PANEL.min(end - n)))
}

/// One block's operands. Distances are in bytes.
#[repr(C)]
pub(in crate::conv) struct Product {
    /// Rows of the reduction from here on; the offset of each step is added.
    pub(in crate::conv) a: [*const Bf16; MOST],
    /// Sums.
    pub(in crate::conv) c: [*mut f32; MOST],
    /// For each step what is added to `a`, in bytes, and the pairs that are not zeros of b: the
    /// others may be left out.
    pub(in crate::conv) steps: *const [u32; 2],
    pub(in crate::conv) b: *const Bf16,
    pub(in crate::conv) a_stride: usize,
    /// From row to row of the sums; the second tile stands beside the first.
    pub(in crate::conv) c_stride: usize,
    pub(in crate::conv) count: usize,
    /// Whether rows are three neighbouring cells of sixteen numbers, each a cell after the one
    /// before, and steps come in twos: what is in the second follows what is in the first.
    pub(in crate::conv) overlaps: bool,
    /// 1 to add to the sums that are there, 0 to start from zero.
    pub(in crate::conv) add: usize,
    /// What is needed next, of the size of b; null where there is nothing to fetch. A hint.
    pub(in crate::conv) ahead: *const Bf16,
}

/// Where sums go that are complete.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Finish<'a> {
    pub(in crate::conv::unit) proof: Avx512<true>,
    /// An offset for each row of each tile.
    pub(in crate::conv::unit) outputs: &'a Outputs<'a, Bf16, Bf16>,
    pub(in crate::conv::unit) accumulate: bool,
}

/// One panel's operands where pairs of the reduction lie side by side in a as they do in b: words
/// [pair][row] and, for each vector of columns, [pair][column]. Distances are in bytes.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Outer<const C: usize> {
    pub(in crate::conv) a: *const u32,
    pub(in crate::conv) a_pitch: usize,
    pub(in crate::conv) b: [*const u32; C],
    pub(in crate::conv) b_pitch: usize,
    /// Pairs.
    pub(in crate::conv) count: usize,
    /// The vectors' sums stand side by side.
    pub(in crate::conv) c: *mut f32,
    pub(in crate::conv) c_stride: usize,
    /// Whether to add to the sums that are there.
    pub(in crate::conv) add: bool,
    /// What is needed later: cache lines from here on to fetch meanwhile, at most one for each pair
    /// of a block of rows. A hint.
    pub(in crate::conv) ahead: *const Bf16,
    pub(in crate::conv) lines: usize,
}
