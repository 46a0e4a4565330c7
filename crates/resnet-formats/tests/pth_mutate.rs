//! Damaged PyTorch files: cut anywhere, each byte changed, and a hundred thousand random changes.
//! Nothing may panic.

mod craft;

use craft::{Lcg, check_pth, damaged, fixtures, seeds};
use resnet_formats::pth;

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for (name, bytes) in fixtures() {
        for len in 0..bytes.len() {
            assert!(pth::read(&bytes[..len]).is_err(), "{name} cut at {len}");
        }
    }
}

#[test]
fn a_changed_byte_never_panics() {
    for (_, bytes) in fixtures() {
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                check_pth(&bytes);
            }
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let seeds = seeds();
    let mut random = Lcg(1);
    let mut read = 0;
    for round in 0..100_000 {
        let bytes = damaged(&seeds[round % seeds.len()], &mut random);
        read += usize::from(check_pth(&bytes));
    }
    // Enough of them come through for the round trip to mean something, and most are found out.
    assert!((1_000..90_000).contains(&read), "{read} of 100000 were read");
}
