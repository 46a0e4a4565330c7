//! The products of tiles: two register blocks, each with its whole reduction in one piece of
//! assembly.
//!
//! ```text
//!  wide: 2 x 2 tiles of sums             narrow: 3 x 1, for the last 16 columns or fewer
//!
//!             b 6      b 7                           b 4
//!          ┌────────┬────────┐                    ┌────────┐
//!      a 4 │ tmm0   │ tmm1   │ 16 rows        a 5 │ tmm0   │
//!          ├────────┼────────┤                    ├────────┤
//!      a 5 │ tmm2   │ tmm3   │ 16 rows        a 6 │ tmm1   │
//!          └────────┴────────┘                    ├────────┤
//!            16       16 columns              a 7 │ tmm2   │
//!                                                 └────────┘
//! ```
//!
//! Every a is multiplied with every b. Four loads of some 8 cycles hide behind four products of 16
//! in the wide block; three sums in flight cover most of a product's latency in the narrow one.
//!
//! The last rows of a matrix are tiles that are configured smaller: they read and write nothing
//! beyond, and take less time.

use std::arch::asm;
use std::marker::PhantomData;
use std::mem::offset_of;

use super::product::{MOST, Product, SIDE};
use crate::simd::Amx;

/// Sizes of a block's tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sizes {
    rows: [usize; MOST],
    columns: usize,
}

/// This thread's tiles, free again when dropped. What is in them does not outlast a call.
pub(in crate::conv) struct Tiles {
    _proof: Amx,
    sizes: Option<Sizes>,
    /// A thread has its own.
    thread: PhantomData<*const ()>,
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    pub(super) fn new(proof: Amx) -> Tiles {
        Tiles { _proof: proof, sizes: None, thread: PhantomData }
    }

    fn configure(&mut self, sizes: Sizes) {
        if self.sizes == Some(sizes) {
            return;
        }
        let Sizes { rows, columns } = sizes;
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let mut set = |tile: usize, rows: usize, columns: usize| {
            assert!((1..=SIDE).contains(&rows) && (1..=SIDE).contains(&columns));
            configuration.rows[tile] = rows as u8;
            configuration.row_bytes[tile] = 4 * columns as u16;
        };
        if columns > SIDE {
            for i in 0..2 {
                set(2 * i, rows[i], SIDE);
                set(2 * i + 1, rows[i], columns - SIDE);
                set(4 + i, rows[i], SIDE);
            }
            set(6, SIDE, SIDE);
            set(7, SIDE, columns - SIDE);
        } else {
            for i in 0..MOST {
                set(i, rows[i], columns);
                set(5 + i, rows[i], SIDE);
            }
            set(4, SIDE, columns);
        }
        // SAFETY: there is proof of AMX; the configuration is 64 bytes of palette 1, whose tiles
        // have at most 16 rows of at most 64 bytes; those that a block uses are set. Nothing that
        // the compiler knows of lives in tiles.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags),
            );
        }
        self.sizes = Some(sizes);
    }

    /// See [`Registers::multiply`](super::Registers::multiply). Tiles that are missing are the
    /// first once more.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn multiply(
        &mut self,
        product: &mut Product,
        rows: &[usize],
        columns: usize,
    ) {
        let mut all = [rows[0]; MOST];
        all[..rows.len()].copy_from_slice(rows);
        for i in rows.len()..MOST {
            product.a[i] = product.a[0];
            product.c[i] = product.c[0];
        }
        self.configure(Sizes { rows: all, columns });
        // SAFETY: as the caller vouches. A tile that is the first once more reads and writes the
        // same numbers.
        unsafe {
            if columns > SIDE {
                wide(product);
            } else {
                narrow(product);
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if self.sizes.is_some() {
            // SAFETY: there is AMX, or tiles would not have been configured.
            unsafe {
                asm!(
                    "tilerelease",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
}

/// # Safety
/// Tiles are configured for the wide block; for the rest see
/// [`Registers::multiply`](super::Registers::multiply).
unsafe fn wide(product: &Product) {
    // SAFETY: reads a, b and steps and writes c as the caller vouches.
    unsafe {
        asm!(
            "mov {s}, [{p} + {c_stride}]",
            "mov {t}, [{p} + {c}]",
            "mov {u}, [{p} + {c} + 8]",
            "cmp qword ptr [{p} + {add}], 0",
            "jne 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{t} + {s}]",
            "tileloadd tmm1, [{t} + {s} + 64]",
            "tileloadd tmm2, [{u} + {s}]",
            "tileloadd tmm3, [{u} + {s} + 64]",
            "3:",
            "mov {n}, [{p} + {count}]",
            "test {n}, {n}",
            "jz 5f",
            "mov {a0}, [{p} + {a}]",
            "mov {a1}, [{p} + {a} + 8]",
            "mov {as_}, [{p} + {a_stride}]",
            "mov {b}, [{p} + {b_}]",
            "mov {bs:e}, 128",
            "mov {o}, [{p} + {steps}]",
            "mov {e}, {bs}",
            "shl {e}, 4",
            ".p2align 4",
            "4:",
            "mov {t:e}, dword ptr [{o}]",
            "lea {u}, [{a1} + {t}]",
            "add {t}, {a0}",
            "tileloadd tmm6, [{b} + {bs}]",
            "tileloadd tmm4, [{t} + {as_}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {bs} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{u} + {as_}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {o}, 8",
            "add {b}, {e}",
            "dec {n}",
            "jnz 4b",
            "mov {t}, [{p} + {c}]",
            "mov {u}, [{p} + {c} + 8]",
            "5:",
            "tilestored [{t} + {s}], tmm0",
            "tilestored [{t} + {s} + 64], tmm1",
            "tilestored [{u} + {s}], tmm2",
            "tilestored [{u} + {s} + 64], tmm3",
            p = in(reg) product,
            s = out(reg) _, t = out(reg) _, u = out(reg) _, n = out(reg) _, a0 = out(reg) _, a1 = out(reg) _,
            as_ = out(reg) _, b = out(reg) _, bs = out(reg) _, o = out(reg) _, e = out(reg) _,
            a = const offset_of!(Product, a),
            c = const offset_of!(Product, c),
            steps = const offset_of!(Product, steps),
            b_ = const offset_of!(Product, b),
            a_stride = const offset_of!(Product, a_stride),
            c_stride = const offset_of!(Product, c_stride),
            count = const offset_of!(Product, count),
            add = const offset_of!(Product, add),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// Tiles are configured for the narrow block; for the rest see
/// [`Registers::multiply`](super::Registers::multiply).
unsafe fn narrow(product: &Product) {
    // SAFETY: reads a, b and steps and writes c as the caller vouches.
    unsafe {
        asm!(
            "mov {s}, [{p} + {c_stride}]",
            "cmp qword ptr [{p} + {add}], 0",
            "jne 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "jmp 3f",
            "2:",
            "mov {t}, [{p} + {c}]",
            "tileloadd tmm0, [{t} + {s}]",
            "mov {t}, [{p} + {c} + 8]",
            "tileloadd tmm1, [{t} + {s}]",
            "mov {t}, [{p} + {c} + 16]",
            "tileloadd tmm2, [{t} + {s}]",
            "3:",
            "mov {n}, [{p} + {count}]",
            "test {n}, {n}",
            "jz 5f",
            "mov {a0}, [{p} + {a}]",
            "mov {a1}, [{p} + {a} + 8]",
            "mov {a2}, [{p} + {a} + 16]",
            "mov {as_}, [{p} + {a_stride}]",
            "mov {b}, [{p} + {b_}]",
            "mov {bs:e}, 64",
            "mov {o}, [{p} + {steps}]",
            ".p2align 4",
            "4:",
            "mov {t:e}, dword ptr [{o}]",
            "tileloadd tmm4, [{b} + {bs}]",
            "lea {u}, [{a0} + {t}]",
            "tileloadd tmm5, [{u} + {as_}]",
            "tdpbf16ps tmm0, tmm5, tmm4",
            "lea {u}, [{a1} + {t}]",
            "tileloadd tmm6, [{u} + {as_}]",
            "tdpbf16ps tmm1, tmm6, tmm4",
            "add {t}, {a2}",
            "tileloadd tmm7, [{t} + {as_}]",
            "tdpbf16ps tmm2, tmm7, tmm4",
            "mov {u}, {bs}",
            "shl {u}, 4",
            "add {b}, {u}",
            "add {o}, 8",
            "dec {n}",
            "jnz 4b",
            "5:",
            "mov {t}, [{p} + {c}]",
            "tilestored [{t} + {s}], tmm0",
            "mov {t}, [{p} + {c} + 8]",
            "tilestored [{t} + {s}], tmm1",
            "mov {t}, [{p} + {c} + 16]",
            "tilestored [{t} + {s}], tmm2",
            p = in(reg) product,
            s = out(reg) _, t = out(reg) _, u = out(reg) _, n = out(reg) _, a0 = out(reg) _, a1 = out(reg) _,
            a2 = out(reg) _, as_ = out(reg) _, b = out(reg) _, bs = out(reg) _, o = out(reg) _,
            a = const offset_of!(Product, a),
            c = const offset_of!(Product, c),
            steps = const offset_of!(Product, steps),
            b_ = const offset_of!(Product, b),
            a_stride = const offset_of!(Product, a_stride),
            c_stride = const offset_of!(Product, c_stride),
            count = const offset_of!(Product, count),
            add = const offset_of!(Product, add),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
