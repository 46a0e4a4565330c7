//! 16-bit floats: every value, and every rounding between neighbours.

use resnet_formats::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use resnet_formats::{Array, Data, DataType};
use std::borrow::Cow;

#[test]
fn widening_f16_gives_the_formula() {
    for bits in 0..=u16::MAX {
        let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        let found = f64::from(f16_to_f32(bits));
        assert!(found.abs() == magnitude || found.is_nan() && magnitude.is_nan(), "{bits:04x}");
        assert_eq!(found.is_sign_negative(), bits >> 15 == 1, "{bits:04x}");
    }
}

#[test]
fn every_16_bit_value_survives_the_way_through_f32() {
    for bits in 0..=u16::MAX {
        // Narrowing makes a NaN quiet; all else comes back as it was.
        let f16 = if f16_to_f32(bits).is_nan() { bits | 0x200 } else { bits };
        assert_eq!(f32_to_f16(f16_to_f32(bits)), f16, "{bits:04x}");
        let bf16 = if bf16_to_f32(bits).is_nan() { bits | 0x40 } else { bits };
        assert_eq!(f32_to_bf16(bf16_to_f32(bits)), bf16, "{bits:04x}");
    }
}

/// Half way between two neighbours goes to the even one, a little less down, a little more up.
fn between(widen: fn(u16) -> f32, narrow: fn(f32) -> u16, infinity: u16, after_largest: f64) {
    for bits in 0..infinity {
        let low = f64::from(widen(bits));
        let high = if bits + 1 == infinity { after_largest } else { widen(bits + 1).into() };
        let middle = (low + high) / 2.0;
        let middle = middle as f32;
        let even = if bits & 1 == 0 { bits } else { bits + 1 };
        for sign in [0, 0x8000] {
            let signed = |x: f32| narrow(if sign == 0 { x } else { -x });
            assert_eq!(signed(middle), even | sign, "{bits:04x}");
            assert_eq!(signed(middle.next_down()), bits | sign, "{bits:04x}");
            assert_eq!(signed(middle.next_up()), (bits + 1) | sign, "{bits:04x}");
        }
    }
}

#[test]
fn narrowing_rounds_to_the_nearest_even() {
    between(f16_to_f32, f32_to_f16, 0x7c00, 65536.0);
    between(bf16_to_f32, f32_to_bf16, 0x7f80, 2f64.powi(128));
}

#[test]
fn nans_stay_and_large_numbers_become_infinite() {
    assert!(f16_to_f32(f32_to_f16(f32::NAN)).is_nan());
    assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    assert!(f16_to_f32(f32_to_f16(f32::from_bits(0xff80_0001))).is_nan());
    assert_eq!(f32_to_f16(f32::MAX), 0x7c00);
    assert_eq!(f32_to_f16(f32::NEG_INFINITY), 0xfc00);
    assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
    assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
}

#[test]
fn arrays_convert_on_demand() {
    let array = Array::f32(vec![2, 2], vec![1.0, -0.5, 0.1, 70000.0]);
    assert!(matches!(array.to_f32(), Some(Cow::Borrowed(_))));
    let half = array.to_float(DataType::F16).unwrap();
    assert_eq!(half.data(), &Data::F16(vec![0x3c00, 0xb800, 0x2e66, 0x7c00]));
    assert_eq!(half.shape(), [2, 2]);
    assert!(half.as_f32().is_none());
    assert_eq!(half.to_f32().unwrap()[..2], [1.0, -0.5]);
    let wide = half.to_float(DataType::F64).unwrap();
    assert_eq!(
        wide.data(),
        &Data::F64(vec![1.0, -0.5, f64::from(f16_to_f32(0x2e66)), f64::INFINITY])
    );

    let precise = Array::new(vec![1], Data::F64(vec![0.1])).unwrap();
    assert_eq!(precise.to_float(DataType::F64).unwrap(), precise);
    assert_eq!(precise.to_f32().unwrap()[..], [0.1f32]);
    assert!(Array::counter(1).to_f32().is_none());
    assert!(array.to_float(DataType::I64).is_none());
}
