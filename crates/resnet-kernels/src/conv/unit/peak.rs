//! What a unit that multiplies bf16 can do at best: blocks whose operands stay in the first-level
//! cache.

use super::product::{MOST, PANEL, Product, SIDE, STEP};
use super::{Registers, Unit};
use crate::Bf16;

/// Steps of a block: 24 KiB of b, with a within a first-level cache of 32.
const STEPS: usize = 12;

/// Multiplies so many blocks of 2 x 2 tiles; returns the multiply-adds.
pub(crate) fn multiply(unit: Unit, blocks: usize) -> usize {
    let a = vec![Bf16::from_bits(0x3f00); 2 * SIDE * STEP];
    let b = vec![Bf16::from_bits(0x3e80); STEPS * STEP * PANEL];
    let mut c = vec![0f32; 2 * SIDE * PANEL];
    let table = [[0, STEP as u32 / 2]; STEPS];
    let mut registers = Registers::new(unit);
    for _ in 0..blocks {
        let (first, second) = c.split_at_mut(SIDE * PANEL);
        let mut product = Product {
            a: [std::ptr::null(); MOST],
            c: [std::ptr::null_mut(); MOST],
            steps: table.as_ptr(),
            b: b.as_ptr(),
            a_stride: STEP * size_of::<Bf16>(),
            c_stride: PANEL * size_of::<f32>(),
            count: STEPS,
            overlaps: false,
            add: 0,
            ahead: std::ptr::null(),
        };
        product.a[0] = a.as_ptr();
        product.a[1] = a[SIDE * STEP..].as_ptr();
        product.c[0] = first.as_mut_ptr();
        product.c[1] = second.as_mut_ptr();
        // SAFETY: each tile of a is 16 rows of 32 numbers, read at offset 0; b has 16 rows of 32
        // pairs for each step; each tile's sums are 16 rows of 32 numbers, apart from each other.
        unsafe { registers.multiply(&mut product, &[SIDE; 2], PANEL, None) };
    }
    blocks * STEPS * STEP * 2 * SIDE * PANEL
}
