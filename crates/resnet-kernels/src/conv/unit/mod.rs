//! What multiplies: blocks of sums of products of bf16 numbers, a whole reduction at a time.
//!
//! ```text
//!             b: pairs of the reduction x 32 (or 16) columns
//!          ┌────────┬────────┐
//!      a   │ sums   │        │ 16 rows
//!          ├────────┼────────┤
//!      a   │        │        │ 16 rows
//!          └────────┴────────┘
//! ```
//!
//! A step is 32 numbers of the reduction: rows of a, a constant number of bytes apart, and 16 rows
//! of pairs of b, one behind the other: two rows of the reduction side by side in each column.
//! Where the rows of a lie is read from a table with an offset for each step, so that one loop runs
//! over taps, rows and channels. Every sum has one order, whatever the block.

mod dot;
mod peak;
#[cfg(test)]
mod plain;
mod tiles;

#[cfg(test)]
mod tests;

use super::outputs::Outputs;
use crate::simd::{Amx, Avx512, Proof};
use crate::{Bf16, Cpu};
use tiles::Tiles;

pub(crate) use peak::multiply;

/// Rows of a tile, and its columns of sums.
pub(super) const SIDE: usize = 16;
/// Numbers of the reduction in a step.
pub(super) const STEP: usize = 32;
/// Most tiles of a in a block.
pub(super) const MOST: usize = 3;
/// Columns of the wide block.
pub(super) const PANEL: usize = 2 * SIDE;

/// Steps of the reduction in a part: 36 KiB of weights in a first-level cache of 48.
pub(super) const PART: usize = 18;

/// Pixels in a row of a where rows overlap.
pub(super) const OVERLAP: usize = 3;

/// Tiles of a in a block with `columns` columns.
pub(super) fn height(columns: usize) -> usize {
    if columns > SIDE { 2 } else { MOST }
}

/// Columns that b has room for where `columns` are used.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(SIDE)
}

/// The panels that columns are cut into: the first column, and how many.
pub(super) fn panels(columns: std::ops::Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let end = columns.end;
    columns.step_by(PANEL).map(move |n| (n, PANEL.min(end - n)))
}

/// One block's operands. Distances are in bytes.
#[repr(C)]
pub(super) struct Product {
    /// Rows of the reduction from here on; the offset of each step is added.
    pub(super) a: [*const Bf16; MOST],
    /// Sums.
    pub(super) c: [*mut f32; MOST],
    /// For each step what is added to `a`, in bytes, and the pairs that are not zeros of b: the
    /// others may be left out.
    pub(super) steps: *const [u32; 2],
    pub(super) b: *const Bf16,
    pub(super) a_stride: usize,
    /// From row to row of the sums; the second tile stands beside the first.
    pub(super) c_stride: usize,
    pub(super) count: usize,
    /// Whether rows are three neighbouring cells of sixteen numbers, each a cell after the one
    /// before, and steps come in twos: what is in the second follows what is in the first.
    pub(super) overlaps: bool,
    /// 1 to add to the sums that are there, 0 to start from zero.
    pub(super) add: usize,
    /// What is needed next, of the size of b; null where there is nothing to fetch. A hint.
    pub(super) ahead: *const Bf16,
}

/// Where sums go that are complete.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    proof: Avx512<true>,
    /// An offset for each row of each tile.
    outputs: &'a Outputs<'a, Bf16, Bf16>,
    accumulate: bool,
}

/// One panel's operands where pairs of the reduction lie side by side in a as they do in b: words
/// [pair][row] and, for each vector of columns, [pair][column]. Distances are in bytes.
#[derive(Clone, Copy)]
pub(super) struct Outer<const C: usize> {
    pub(super) a: *const u32,
    pub(super) a_pitch: usize,
    pub(super) b: [*const u32; C],
    pub(super) b_pitch: usize,
    /// Pairs.
    pub(super) count: usize,
    /// The vectors' sums stand side by side.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Whether to add to the sums that are there.
    pub(super) add: bool,
    /// What is needed later: cache lines from here on to fetch meanwhile, at most one for each pair
    /// of a block of rows. A hint.
    pub(super) ahead: *const Bf16,
    pub(super) lines: usize,
}

/// What multiplies.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Tiles of AMX.
    Tiles(Amx),
    /// Vectors whose lanes add two products.
    Dot(Avx512<true>),
    /// Plain loops over the same memory, so that what surrounds the products is tested on any CPU.
    #[cfg(test)]
    Plain,
}

impl Unit {
    /// The CPU's, if the instruction set in use has one.
    pub(crate) fn find(cpu: &Cpu) -> Option<Unit> {
        match cpu.proof() {
            Proof::Amx(amx) => Some(Unit::Tiles(amx)),
            Proof::Avx512Bf16(dot) => Some(Unit::Dot(dot)),
            #[cfg(test)]
            _ => Some(Unit::Plain),
            #[cfg(not(test))]
            _ => None,
        }
    }

    /// Rows of a that leave no block of sums partly filled, where it is a panel wide.
    pub(super) fn rows(self) -> usize {
        match self {
            // Of both kinds of blocks: two tiles high, and three.
            Unit::Tiles(_) => 2 * MOST * SIDE,
            Unit::Dot(_) => dot::ROWS,
            #[cfg(test)]
            Unit::Plain => SIDE,
        }
    }

    /// Whether [`Registers::outer`] can be called.
    pub(super) fn multiplies_columns(self) -> bool {
        !matches!(self, Unit::Tiles(_))
    }

    /// # Panics
    /// If the CPU has none: a convolution is run by the instruction set it was chosen for.
    pub(super) fn of(cpu: &Cpu) -> Unit {
        Unit::find(cpu)
            .unwrap_or_else(|| panic!("a kernel that multiplies bf16, called with {}", cpu.isa()))
    }
}

/// A thread's unit, with the state of its registers.
pub(super) enum Registers {
    Tiles(Tiles),
    Dot(Avx512<true>),
    #[cfg(test)]
    Plain,
}

impl Registers {
    pub(super) fn new(unit: Unit) -> Registers {
        match unit {
            Unit::Tiles(amx) => Registers::Tiles(Tiles::new(amx)),
            Unit::Dot(dot) => Registers::Dot(dot),
            #[cfg(test)]
            Unit::Plain => Registers::Plain,
        }
    }

    /// c (+)= aᵀ · b, `rows` of C vectors of 16 columns.
    ///
    /// # Safety
    /// `a` is valid for reading `rows` words and each of `b` 16 in each of `count` pairs, `c` for
    /// writing 16 · C numbers in each of `rows` rows (and holds them if `add`); the sums are apart
    /// from all else.
    ///
    /// # Panics
    /// If the unit is AMX's, whose tiles want rows of a.
    pub(super) unsafe fn outer<const C: usize>(&mut self, product: Outer<C>, rows: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            match self {
                Registers::Tiles(_) => panic!("tiles of AMX multiply rows, not columns"),
                Registers::Dot(dot) => dot::outer(*dot, product, rows),
                #[cfg(test)]
                Registers::Plain => plain::outer(product, rows),
            }
        }
    }

    /// As [`Registers::outer`], with `lanes` columns: the second vector only if it is among them.
    ///
    /// # Safety
    /// As there, for so many columns.
    ///
    /// # Panics
    /// As there.
    pub(super) unsafe fn outer_panel(&mut self, product: Outer<2>, rows: usize, lanes: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            if lanes > SIDE {
                return self.outer(product, rows);
            }
            let Outer { a, a_pitch, b: [b, _], b_pitch, count, c, c_stride, add, ahead, lines } =
                product;
            let first =
                Outer { a, a_pitch, b: [b], b_pitch, count, c, c_stride, add, ahead, lines };
            self.outer(first, rows);
        }
    }

    /// What makes [`Registers::multiply`] write sums of so many columns while they are in
    /// registers, where the unit can.
    pub(super) fn finish<'a>(
        &self,
        outputs: &'a Outputs<'a, Bf16, Bf16>,
        columns: usize,
        accumulate: bool,
    ) -> Option<Finish<'a>> {
        match *self {
            Registers::Dot(proof) if columns == PANEL && outputs.fits_registers(accumulate) => {
                Some(Finish { proof, outputs, accumulate })
            }
            _ => None,
        }
    }

    /// c (+)= a · b, with `rows[i]` rows for each of at most [`height`] tiles of a. With `finish`
    /// the sums go to its outputs, and what is in c afterwards means nothing.
    ///
    /// # Safety
    /// For each of `rows`, `a[i]` is valid for reading 32 numbers at every offset in as many rows,
    /// `c[i]` for writing `columns` numbers (and holds them if `add`, or any if `finish`) in as
    /// many; the sums are apart from each other and from all else. If `overlaps`, rows and steps
    /// are as it says, `a_stride` being 32 and `count` even. `steps` points to `count` steps, `b`
    /// to 16 rows of `columns` pairs for each, without gaps; `add` is 0 or 1. The outputs of
    /// `finish` are as [`Outputs::write`] asks, with an offset for each of 16 rows of each tile.
    ///
    /// # Panics
    /// If `columns` is neither [`SIDE`] nor [`PANEL`].
    pub(super) unsafe fn multiply(
        &mut self,
        product: &mut Product,
        rows: &[usize],
        columns: usize,
        finish: Option<Finish>,
    ) {
        assert!(columns == SIDE || columns == PANEL);
        // SAFETY: as the caller vouches.
        unsafe {
            match self {
                Registers::Tiles(tiles) => tiles.multiply(product, rows, columns),
                Registers::Dot(dot) => dot::multiply(*dot, product, rows, columns, finish),
                #[cfg(test)]
                Registers::Plain => plain::multiply(product, rows, columns),
            }
        }
    }
}
