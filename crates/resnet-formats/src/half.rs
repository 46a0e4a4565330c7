//! 16-bit floats as their bits: IEEE 754 binary16 (`f16`) and the upper half of binary32 (`bf16`).
//!
//! Widening is exact. Narrowing rounds to the nearest value, ties to the even one; what is too
//! large becomes infinite, as in IEEE 754. A NaN stays one and keeps its sign and upper payload
//! bits; narrowing makes it quiet.

/// The value of a binary16.
///
/// ```
/// assert_eq!(resnet_formats::half::f16_to_f32(0x3c00), 1.0);
/// ```
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    // The exponent is less by 112; f32 holds every product exactly, also of what is subnormal.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(sign | special | scaled.to_bits())
}

/// The nearest binary16.
///
/// ```
/// use resnet_formats::half::f32_to_f16;
/// assert_eq!(f32_to_f16(65519.0), 0x7bff); // the largest finite value, 65504
/// assert_eq!(f32_to_f16(65520.0), 0x7c00); // infinity
/// ```
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let exponent = magnitude >> 23;
    let rounded = if magnitude > 0x7f80_0000 {
        0x7e00 | magnitude >> 13 & 0x3ff
    } else if magnitude >= 0x4780_0000 {
        0x7c00 // 2^16 and above
    } else if exponent > 112 {
        // A normal number: 13 bits go, and a carry moves into the exponent, up to infinity.
        let rebased = magnitude - (112 << 23);
        (rebased + 0xfff + (rebased >> 13 & 1)) >> 13
    } else if exponent >= 102 {
        // A subnormal: how many times 2^-24.
        let shift = 126 - exponent;
        let mantissa = magnitude & 0x7f_ffff | 0x80_0000;
        let (whole, rest, half) =
            (mantissa >> shift, mantissa & ((1 << shift) - 1), 1 << (shift - 1));
        whole + u32::from(rest > half || rest == half && whole & 1 == 1)
    } else {
        0 // below 2^-25, half of the smallest subnormal
    };
    sign | rounded as u16
}

/// The value of a bf16.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16.
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}
