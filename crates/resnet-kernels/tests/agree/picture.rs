//! Pictures: every instruction set gives the bytes and the bits of the plain loops.

use resnet_kernels::Isa;
use resnet_kernels::picture::{Area, Normalizer, Pixels, Resize, Resizer};
use resnet_kernels::reference::picture as plain;

use crate::support::{Random, assert_same_bits};

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    // Runs of the ends are as likely as others: they show sums that leave a byte.
    let byte = |random: &mut Random| match random.below(3) {
        0 => 0,
        1 => 255,
        _ => random.next() as u8,
    };
    (0..len).map(|_| byte(random)).collect()
}

/// An area of a picture that is `columns` wide.
fn cut(bytes: &[u8], columns: usize, channels: usize, (rows, part): &Area) -> Vec<u8> {
    bytes
        .chunks_exact(columns * channels)
        .skip(rows.start)
        .take(rows.len())
        .flat_map(|row| &row[part.start * channels..part.end * channels])
        .copied()
        .collect()
}

fn mirrored(bytes: &[u8], columns: usize, channels: usize) -> Vec<u8> {
    let rows = bytes.chunks_exact(columns * channels);
    rows.flat_map(|row| row.chunks_exact(channels).rev().flatten().copied()).collect()
}

fn range(random: &mut Random, len: usize) -> std::ops::Range<usize> {
    let start = random.below(len);
    start..start + 1 + random.below(len - start)
}

struct Case {
    size: (usize, usize),
    channels: usize,
    part: Area,
    to: (usize, usize),
    window: Area,
}

/// Resizes what is read and no more, and what is read with an edge around it.
fn check(random: &mut Random, case: &Case) {
    let Case { size, channels, part, to, window } = case;
    let picture = bytes(random, size.0 * size.1 * channels);
    let part_bytes = cut(&picture, size.1, *channels, part);
    let part_size = (part.0.len(), part.1.len());
    let whole = plain::resize(&part_bytes, part_size, *channels, *to);
    let expected = cut(&whole, to.1, *channels, window);
    for mirror in [false, true] {
        let wanted =
            Resize { part: part.clone(), size: *to, window: window.clone(), mirrored: mirror };
        let expected = match mirror {
            false => expected.clone(),
            true => mirrored(&expected, window.1.len(), *channels),
        };
        let read = wanted.reads();
        let edge = (
            random.below(read.0.start + 1)..read.0.end + random.below(size.0 - read.0.end + 1),
            random.below(read.1.start + 1)..read.1.end + random.below(size.1 - read.1.end + 1),
        );
        for area in [read, edge] {
            let bytes = cut(&picture, size.1, *channels, &area);
            let pixels = Pixels { bytes: &bytes, area: area.clone(), channels: *channels };
            for isa in Isa::available() {
                let mut resizer = Resizer::new(isa).unwrap();
                let found = resizer.resize(&pixels, &wanted);
                let wrong = found.iter().zip(&expected).position(|(a, b)| a != b);
                assert!(
                    wrong.is_none() && found.len() == expected.len(),
                    "{isa}: {size:?} x {channels}, {wanted:?} of {area:?}: byte {wrong:?}"
                );
            }
        }
    }
}

#[test]
fn resizing_gives_the_same_bytes_on_every_instruction_set() {
    let mut random = Random(7);
    for round in 0..400 {
        // Most are small; some shrink far, so that few outputs fit in a vector.
        let most = if round % 8 == 0 { 700 } else { 90 };
        let size = (1 + random.below(90), 1 + random.below(most));
        let to = (1 + random.below(60), 1 + random.below(if round % 5 == 0 { 9 } else { 90 }));
        let part = (range(&mut random, size.0), range(&mut random, size.1));
        let window = (range(&mut random, to.0), range(&mut random, to.1));
        let channels = if round % 4 == 0 { 1 } else { 3 };
        check(&mut random, &Case { size, channels, part, to, window });
    }
}

#[test]
fn whole_photos_are_resized_to_the_same_bytes() {
    let mut random = Random(8);
    for (size, to) in [((280, 370), (224, 224)), ((500, 375), (341, 256)), ((64, 5000), (7, 224))] {
        let (part, window) = ((0..size.0, 0..size.1), (0..to.0, 0..to.1));
        check(&mut random, &Case { size, channels: 3, part, to, window });
    }
}

#[test]
fn a_resizer_forgets_the_picture_before() {
    let mut random = Random(9);
    for isa in Isa::available() {
        let mut resizer = Resizer::new(isa).unwrap();
        for _ in 0..30 {
            let (rows, columns) = (1 + random.below(50), 1 + random.below(50));
            let to = (1 + random.below(50), 1 + random.below(50));
            let bytes = bytes(&mut random, rows * columns * 3);
            let area = (0..rows, 0..columns);
            let window = (0..to.0, 0..to.1);
            let wanted = Resize { part: area.clone(), size: to, window, mirrored: false };
            let found = resizer.resize(&Pixels { bytes: &bytes, area, channels: 3 }, &wanted);
            assert_eq!(found, plain::resize(&bytes, (rows, columns), 3, to), "{isa}");
        }
    }
}

#[test]
fn normalising_gives_the_same_bits_on_every_instruction_set() {
    let mut random = Random(10);
    let published = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
    let mut cases = vec![
        published,
        (vec![0.0], vec![1.0]),
        (vec![0.5; 3], vec![1.0 / 255.0; 3]),
        (vec![0.3, f32::NAN, 0.0], vec![0.0, 1e-42, f32::INFINITY]),
    ];
    for _ in 0..40 {
        let channels = if random.below(2) == 0 { 1 } else { 3 };
        let numbers = random.reals(2 * channels);
        cases.push((numbers[..channels].to_vec(), numbers[channels..].to_vec()));
    }
    for (mean, std) in &cases {
        let all = (0..=255).flat_map(|v| std::iter::repeat_n(v, mean.len())).collect::<Vec<u8>>();
        for len in [0, 1, 2, 5, 16, 33, 224, 256] {
            let bytes = match len {
                256 => all.clone(),
                pixels => bytes(&mut random, pixels * mean.len()),
            };
            let expected = plain::normalize(&bytes, mean, std);
            for isa in Isa::available() {
                let mut found = vec![-7.0; bytes.len()];
                Normalizer::new(isa, mean, std).unwrap().normalize(&bytes, &mut found);
                let nan = |x: &f32| if x.is_nan() { 9e9 } else { *x };
                let (found, expected): (Vec<_>, Vec<_>) =
                    (found.iter().map(nan).collect(), expected.iter().map(nan).collect());
                assert_same_bits(&format!("{isa} {mean:?} {std:?}"), &found, &expected);
            }
        }
    }
}

#[test]
#[should_panic(expected = "are read")]
fn pixels_that_are_not_there_are_refused() {
    let window = (0..2, 0..2);
    let wanted = Resize { part: (0..4, 0..4), size: (2, 2), window, mirrored: false };
    let bytes = vec![0; 4 * 3 * 3];
    let pixels = Pixels { bytes: &bytes, area: (0..4, 0..3), channels: 3 };
    Resizer::new(Isa::Scalar).unwrap().resize(&pixels, &wanted);
}
