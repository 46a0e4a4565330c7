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
mod product;
mod tiles;

#[cfg(test)]
mod tests;

use super::outputs::Outputs;
use crate::isa::Proof;
use crate::simd::{Amx, Avx512};
use crate::{Bf16, Cpu};
use tiles::Tiles;

pub(crate) use peak::multiply;
pub(super) use product::{
    Finish, MOST, OVERLAP, Outer, PANEL, PART, Product, SIDE, STEP, height, padded, panels,
};

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
