//! JPEGs decoded here are those of zune-jpeg, to the bit, or are declined.

#[path = "craft/jpeg.rs"]
mod craft;

use craft::{Pixels, Random, Shape, damaged, expected, expected_scalar, jpeg, whole};
use resnet_formats::jpeg::{Decoder, Picture, Stages};
use std::path::Path;

const MOST: u64 = 1 << 24;

/// Decodes a part, and compares it with that of the whole.
fn check_part(bytes: &[u8], pixels: &Pixels, random: &mut Random, decoder: &mut Decoder) {
    let (columns, rows) = (random.range(pixels.width), random.range(pixels.height));
    let picture = Picture::open(bytes, MOST).unwrap();
    let mut part = vec![1; random.below(100)];
    decoder.decode(&picture, columns.clone(), rows.clone(), &mut part).unwrap();
    assert!(part == pixels.part(&columns, &rows), "part {columns:?} {rows:?}");
}

fn check(bytes: &[u8], random: &mut Random, decoder: &mut Decoder, name: &str) {
    let pixels = whole(bytes, MOST, decoder).unwrap_or_else(|error| panic!("{name}: {error}"));
    let expected = expected(bytes).unwrap_or_else(|| panic!("{name} is refused"));
    assert_eq!((pixels.width, pixels.height), (expected.width, expected.height), "{name}");
    if pixels != expected {
        let different = pixels.bytes.iter().zip(&expected.bytes).position(|(a, b)| a != b);
        let place = different.unwrap_or(0) / 3;
        let (x, y) = (place % pixels.width, place / pixels.width);
        panic!("{name}: first difference in column {x}, row {y}");
    }
    for _ in 0..3 {
        check_part(bytes, &pixels, random, decoder);
    }
}

#[test]
fn generated_pictures_are_equal() {
    let mut random = Random::new(1);
    let mut decoder = Decoder::new(Stages::PORTABLE);
    for index in 0..600 {
        let shape = Shape::random(70, &mut random);
        let bytes = jpeg(&shape, &mut random);
        check(&bytes, &mut random, &mut decoder, &format!("{index}: {shape:?}"));
    }
}

/// Files of a folder beside the repository, or nothing, said, where it is not there.
fn shared(folder: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let root = match std::env::var_os("RESNET_TEST_DATA") {
        Some(data) => Path::new(&data).parent().unwrap_or(Path::new(".")).to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
        eprintln!("skipped: there is no folder shared/{folder}");
        return Vec::new();
    };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|name| name == extension));
    files.sort();
    files.iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn photos_are_equal() {
    let mut random = Random::new(2);
    let mut decoder = Decoder::new(Stages::PORTABLE);
    let (mut read, mut declined) = (0, 0);
    for (name, bytes) in shared("data/imagenet/samples", "JPEG") {
        match Picture::open(&bytes, MOST) {
            Ok(_) => {
                check(&bytes, &mut random, &mut decoder, &name);
                read += 1;
            }
            Err(error) => {
                println!("{name}: {error}");
                declined += 1;
            }
        }
    }
    assert!(declined <= read / 10, "{read} photos were read, {declined} declined");
}

#[test]
fn scans_of_one_component_are_declined() {
    let mut random = Random::new(3);
    let mut decoder = Decoder::new(Stages::PORTABLE);
    for (name, bytes) in shared("cases/jpeg-scans", "jpg") {
        let is_one_scan = name.contains("-inter-") || name.contains("grey-");
        assert_eq!(whole(&bytes, MOST, &mut decoder).is_ok(), is_one_scan, "{name}");
        if is_one_scan {
            check(&bytes, &mut random, &mut decoder, &name);
        }
    }
}

#[test]
fn vectors_and_loops_of_the_other_decoder_agree() {
    let mut random = Random::new(4);
    for index in 0..100 {
        let shape = Shape::random(70, &mut random);
        let bytes = jpeg(&shape, &mut random);
        assert!(expected(&bytes) == expected_scalar(&bytes), "{index}: {shape:?}");
    }
}

#[test]
fn damaged_pictures_are_declined_or_equal() {
    let mut random = Random::new(5);
    let mut decoder = Decoder::new(Stages::PORTABLE);
    std::panic::set_hook(Box::new(|_| {})); // the other decoder may panic
    let mut accepted = 0;
    for _ in 0..3000 {
        let shape = Shape::random(40, &mut random);
        let bytes = jpeg(&shape, &mut random);
        let bytes = damaged(&bytes, &bytes, &mut random);
        accepted += usize::from(craft::check_damaged(&bytes, &mut random, &mut decoder));
    }
    let _ = std::panic::take_hook();
    assert!(accepted > 100, "{accepted} were read");
}
