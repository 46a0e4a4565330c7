//! JPEGs decoded here are those of zune-jpeg, to the bit, or are declined.

#[path = "craft/jpeg.rs"]
mod craft;

use craft::{Pixels, Random, Shape, damaged, expected, expected_scalar, jpeg, stages, whole};
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

/// Decodes the whole and parts by each decoder, and compares them.
fn check(bytes: &[u8], random: &mut Random, decoders: &mut [Decoder], name: &str) {
    let expected = expected(bytes).unwrap_or_else(|| panic!("{name} is refused"));
    for decoder in decoders {
        let pixels = whole(bytes, MOST, decoder).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((pixels.width, pixels.height), (expected.width, expected.height), "{name}");
        if pixels != expected {
            let different = pixels.bytes.iter().zip(&expected.bytes).position(|(a, b)| a != b);
            let place = different.unwrap_or(0) / 3;
            let (x, y) = (place % pixels.width, place / pixels.width);
            panic!("{name}: first difference in column {x}, row {y}");
        }
        for _ in 0..2 {
            check_part(bytes, &pixels, random, decoder);
        }
    }
}

/// Decoders with all stages there are.
fn decoders() -> Vec<Decoder> {
    stages().into_iter().map(|(_, stages)| Decoder::new(stages)).collect()
}

#[test]
fn generated_pictures_are_equal() {
    let mut random = Random::new(1);
    let mut decoders = decoders();
    for index in 0..600 {
        let shape = Shape::random(70, &mut random);
        let bytes = jpeg(&shape, &mut random);
        check(&bytes, &mut random, &mut decoders, &format!("{index}: {shape:?}"));
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
    let mut decoders = decoders();
    let (mut read, mut declined) = (0, 0);
    for (name, bytes) in shared("data/imagenet/samples", "JPEG") {
        match Picture::open(&bytes, MOST) {
            Ok(_) => {
                check(&bytes, &mut random, &mut decoders, &name);
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
    let mut decoders = decoders();
    for (name, bytes) in shared("cases/jpeg-scans", "jpg") {
        let is_one_scan = name.contains("-inter-") || name.contains("grey-");
        assert_eq!(whole(&bytes, MOST, &mut decoders[0]).is_ok(), is_one_scan, "{name}");
        if is_one_scan {
            check(&bytes, &mut random, &mut decoders, &name);
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
    let mut decoders = decoders();
    std::panic::set_hook(Box::new(|_| {})); // the other decoder may panic
    let mut accepted = 0;
    for index in 0..4000 {
        let shape = Shape::random(40, &mut random);
        let last = index % decoders.len();
        let bytes = jpeg(&shape, &mut random);
        let bytes = damaged(&bytes, &bytes, &mut random);
        accepted += usize::from(craft::check_damaged(&bytes, &mut random, &mut decoders[last]));
    }
    let _ = std::panic::take_hook();
    assert!(accepted > 100, "{accepted} were read");
}

/// A block whose numbers are small or large, some of them 0.
fn block(random: &mut Random, end: usize) -> [i16; 64] {
    let large = [2, 20, 300, 2047, 32768][random.below(5)];
    let mut block = [0; 64];
    for row in 0..end {
        for column in 0..end {
            let value = random.below(2 * large) as i32 - large as i32;
            block[8 * row + column] = if random.below(2) == 0 { 0 } else { value as i16 };
        }
    }
    block
}

#[test]
fn all_stages_agree() {
    let mut random = Random::new(6);
    let stages = stages();
    let portable = stages[0].1;
    let (mut fit, mut large) = (0, 0);
    for index in 0..20_000 {
        let end = [4, 8][index % 2];
        let coefficients = block(&mut random, end);
        let coarse = [4, 255][random.below(2)];
        let steps = std::array::from_fn(|_| 1 + random.below(coarse) as i16);
        let transform = |stages: &Stages| {
            let mut out = [1; 8 * 11];
            let transform = if end == 4 { stages.transform_corner } else { stages.transform };
            let fits = transform(&coefficients, &steps, &mut out, 11);
            fits.then_some(out)
        };
        let expected = transform(&portable);
        let of_all = portable_of_all(&coefficients, &steps, &portable);
        assert!(end == 8 || of_all == expected, "a corner is a block: {coefficients:?}");
        for (name, stages) in &stages {
            assert!(transform(stages) == expected, "{name}: {coefficients:?} {steps:?}");
        }
        match expected {
            Some(_) => fit += 1,
            None => large += 1,
        }
    }
    assert!(fit > 1000 && large > 1000, "{fit} blocks fit, {large} do not");
    for width in 1..200 {
        let rows = [(); 3].map(|()| (0..width).map(|_| random.bits() as u8).collect::<Vec<_>>());
        let colours = |stages: &Stages| {
            let mut out = vec![0; 3 * width];
            (stages.colours)(&rows[0], &rows[1], &rows[2], &mut out);
            out
        };
        for (name, stages) in &stages {
            assert!(colours(stages) == colours(&portable), "{name}: {width} pixels");
        }
    }
}

fn portable_of_all(
    coefficients: &[i16; 64],
    steps: &[i16; 64],
    stages: &Stages,
) -> Option<[u8; 88]> {
    let mut out = [1; 88];
    (stages.transform)(coefficients, steps, &mut out, 11).then_some(out)
}
