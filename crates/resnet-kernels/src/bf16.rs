//! Numbers of 16 bits.

/// The upper half of an f32: its sign and exponent, and 7 bits of its fraction. Rounded to nearest,
/// ties to even; a NaN stays one, subnormal numbers may become zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Bf16 {
        Bf16(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest such number.
    #[inline(always)]
    pub(crate) fn nearest(x: f32) -> Bf16 {
        let bits = x.to_bits();
        // A carry moves into the exponent, up to infinity.
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let quiet = bits >> 16 | 0x40;
        Bf16(if x.is_nan() { quiet } else { rounded } as u16)
    }

    /// Its value.
    #[inline(always)]
    pub(crate) fn value(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}
