//! The products in plain loops.

use super::product::{Outer, Product, SIDE};
use crate::{Bf16, Number};

/// See [`Registers::multiply`](super::Registers::multiply).
///
/// # Safety
/// As there.
pub(super) unsafe fn multiply(product: &Product, rows: &[usize], columns: usize) {
    // SAFETY: as the caller vouches; every number that other units read is read here, but for those
    // they may leave out.
    let at = |from: *const Bf16, bytes: usize| unsafe { *from.byte_add(bytes) }.get();
    if product.overlaps {
        assert!(product.a_stride == 2 * SIDE && product.count.is_multiple_of(2));
        for step in (0..product.count).step_by(2) {
            // SAFETY: there are so many steps.
            let [[first, pairs], [second, rest]] =
                unsafe { [*product.steps.add(step), *product.steps.add(step + 1)] };
            assert!(second == first + 64 && [pairs, rest] == [16, 8]);
        }
    }
    for (i, &height) in rows.iter().enumerate() {
        for r in 0..height {
            for n in 0..columns {
                // SAFETY: as the caller vouches.
                let c = unsafe { product.c[i].byte_add(r * product.c_stride).add(n) };
                // SAFETY: as above; it is initialised where it is added to.
                let mut sum = if product.add != 0 { unsafe { *c } } else { 0.0 };
                for step in 0..product.count {
                    // SAFETY: there are so many steps.
                    let [offset, pairs] = unsafe { *product.steps.add(step) };
                    for k in 0..2 * pairs as usize {
                        let a = offset as usize + r * product.a_stride + 2 * k;
                        let b = 4 * ((step * SIDE + k / 2) * columns + n) + 2 * (k % 2);
                        sum += at(product.a[i], a) * at(product.b, b);
                    }
                }
                // SAFETY: as above.
                unsafe { *c = sum };
            }
        }
    }
}

/// See [`Registers::outer`](super::Registers::outer).
///
/// # Safety
/// As there.
pub(super) unsafe fn outer<const C: usize>(product: Outer<C>, rows: usize) {
    for r in 0..rows {
        for n in 0..C * SIDE {
            // SAFETY: as the caller vouches.
            let c = unsafe { product.c.byte_add(r * product.c_stride).add(n) };
            // SAFETY: as above; it is initialised where it is added to.
            let mut sum = if product.add { unsafe { *c } } else { 0.0 };
            for k in 0..product.count {
                // SAFETY: as above.
                let (a, b) = unsafe {
                    let a = *product.a.byte_add(k * product.a_pitch).add(r);
                    (a, *product.b[n / SIDE].byte_add(k * product.b_pitch).add(n % SIDE))
                };
                for half in [0, 16] {
                    let [a, b] = [a, b].map(|word| Bf16::from_bits((word >> half) as u16).get());
                    sum += a * b;
                }
            }
            // SAFETY: as above.
            unsafe { *c = sum };
        }
    }
}
