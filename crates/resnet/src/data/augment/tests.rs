use super::super::testing::{pattern, shared};
use super::*;
use crate::data::read_picture;

fn plain(shape: Shape) -> Preprocess {
    Preprocess {
        shape,
        resize: None,
        normalize: Normalize::Channel {
            mean: vec![0.0; shape.c],
            std: vec![1.0 / 255.0; shape.c], // so that numbers are bytes
        },
    }
}

fn transform(preprocess: Preprocess, augment: Augment) -> Transform {
    Transform::new(preprocess, augment).unwrap()
}

fn eval(transform: &Transform, image: &Image) -> Vec<f32> {
    let mut out = vec![f32::NAN; transform.shape().len()];
    transform.eval(image, &mut out);
    out
}

fn train(transform: &Transform, key: (u64, u64, u64), image: &Image) -> Vec<f32> {
    let mut out = vec![f32::NAN; transform.shape().len()];
    transform.train(key.0, key.1, key.2, image, &mut out);
    out
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().map(|x| x.round() as u8).collect()
}

#[test]
fn bytes_become_normalised_numbers() {
    let mut preprocess = plain(Shape::new(3, 2, 2));
    preprocess.normalize =
        Normalize::Channel { mean: vec![0.5, 0.25, 0.0], std: vec![0.5, 0.125, 2.0] };
    let image = Image {
        width: 2,
        height: 2,
        channels: 3,
        pixels: vec![0, 0, 0, 255, 255, 255, 51, 51, 51, 102, 102, 102],
    };
    let out = eval(&transform(preprocess, Augment::default()), &image);
    let expected = [-1.0, -2.0, 0.0, 1.0, 6.0, 0.5, -0.6, -0.4, 0.1, -0.2, 1.2, 0.2];
    assert!(out.iter().zip(expected).all(|(x, y): (&f32, f32)| (x - y).abs() < 1e-6), "{out:?}");
}

#[test]
fn grey_and_colour_are_converted() {
    let grey = Image { width: 2, height: 1, channels: 1, pixels: vec![10, 20] };
    let to_rgb = transform(plain(Shape::new(3, 1, 2)), Augment::default());
    assert_eq!(bytes(&eval(&to_rgb, &grey)), [10, 10, 10, 20, 20, 20]);
    let color =
        Image { width: 3, height: 1, channels: 3, pixels: vec![255, 0, 0, 0, 255, 0, 0, 0, 255] };
    let to_grey = transform(plain(Shape::new(1, 1, 3)), Augment::default());
    assert_eq!(bytes(&eval(&to_grey, &color)), [76, 150, 29]); // 0.299, 0.587, 0.114 of 255
}

/// Each output is found in the padded, mirrored picture at one place, and every place and both
/// sides come up.
#[test]
fn crops_of_the_padded_picture() {
    let image = pattern(5, 4, 3);
    let pad = 2;
    let augmented =
        transform(plain(Shape::new(3, 4, 5)), Augment { pad, flip: true, ..Augment::default() });
    let place = |dy: isize, dx: isize, flip: bool| -> Vec<u8> {
        let mut out = Vec::new();
        for y in 0..4 {
            for x in 0..5 {
                let x = if flip { 4 - x } else { x };
                let (y, x) = (y + dy - pad as isize, x + dx - pad as isize);
                for c in 0..3 {
                    let inside = (0..4).contains(&y) && (0..5).contains(&x);
                    out.push(if inside { image.pixels[((y * 5 + x) * 3 + c) as usize] } else { 0 });
                }
            }
        }
        out
    };
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..2000 {
        let out = bytes(&train(&augmented, (1, 0, index), &image));
        let found = (0..50).find(|n| place(n / 2 % 5, n / 10, n % 2 == 1) == out);
        seen.insert(found.expect("the output is no crop"));
    }
    assert_eq!(seen.len(), 50);
}

#[test]
fn padding_is_the_mean() {
    let mut preprocess = plain(Shape::new(1, 2, 2));
    preprocess.normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.25] };
    let white = Image { width: 2, height: 2, channels: 1, pixels: vec![255; 4] };
    let augmented = transform(preprocess, Augment { pad: 2, ..Augment::default() });
    let mut values: Vec<f32> =
        (0..50).flat_map(|index| train(&augmented, (0, 0, index), &white)).collect();
    values.sort_by(f32::total_cmp);
    values.dedup();
    assert_eq!(values, [0.0, 2.0]);
}

/// The mean picture is subtracted before the crop, so it moves and turns with the picture.
#[test]
fn pixel_mean_moves_with_the_picture() {
    let image = pattern(4, 4, 3);
    let mean: Vec<f32> = image.pixels.iter().map(|&v| f32::from(v) / 255.0).collect();
    let mut preprocess = plain(Shape::new(3, 4, 4));
    preprocess.normalize = Normalize::Pixel { mean: mean.clone() };
    let augmented =
        transform(preprocess.clone(), Augment { pad: 2, flip: true, ..Augment::default() });
    for index in 0..50 {
        assert!(train(&augmented, (0, 0, index), &image).iter().all(|&x| x == 0.0));
    }
    let black = Image { width: 4, height: 4, channels: 3, pixels: vec![0; 48] };
    let out = eval(&transform(preprocess.clone(), Augment::default()), &black);
    assert!(out.iter().zip(&mean).all(|(x, m)| x == &-m));
    // A picture of another size: the mean lies on the crop.
    let large = Image { width: 9, height: 7, channels: 3, pixels: vec![0; 189] };
    let out = eval(&transform(preprocess, Augment::default()), &large);
    assert!(out.iter().zip(&mean).all(|(x, m)| x == &-m));
}

#[test]
fn training_is_a_function_of_its_key() {
    let image = pattern(40, 30, 3);
    let crop = Augment {
        flip: true,
        random_resized_crop: Some(RandomResizedCrop::default()),
        ..Augment::default()
    };
    let pad = Augment { pad: 3, flip: true, ..Augment::default() };
    for augment in [crop, pad] {
        let augmented = transform(plain(Shape::new(3, 16, 16)), augment);
        let first = train(&augmented, (1, 2, 3), &image);
        assert_eq!(first, train(&augmented, (1, 2, 3), &image));
        for key in [(0, 2, 3), (1, 0, 3), (1, 2, 0), (1, 3, 2)] {
            assert_ne!(first, train(&augmented, key, &image));
        }
    }
}

#[test]
fn without_augmentation_training_is_evaluation() {
    let augmented = transform(plain(Shape::new(3, 16, 16)), Augment::default());
    for image in [pattern(16, 16, 3), pattern(40, 30, 3), pattern(5, 31, 1)] {
        assert_eq!(train(&augmented, (1, 2, 3), &image), eval(&augmented, &image));
    }
}

#[test]
fn resizing_equals_pillow() {
    let mut down = plain(Shape::new(3, 28, 28));
    down.resize = Some(32);
    let mut up = plain(Shape::new(1, 24, 24));
    up.resize = Some(24);
    let cases: [(Preprocess, Image, &[u8]); 2] = [
        (down, pattern(61, 47, 3), include_bytes!("../fixtures/resize_down.rgb")),
        (up, pattern(13, 20, 1), include_bytes!("../fixtures/resize_up.gray")),
    ];
    for (preprocess, image, expected) in cases {
        let out = bytes(&eval(&transform(preprocess, Augment::default()), &image));
        assert_eq!(out, expected);
    }
}

#[test]
fn centres_round_as_torchvision() {
    let cases = [
        (32, 28, 2),
        (31, 28, 2),
        (33, 28, 2),
        (29, 28, 0),
        (28, 28, 0),
        (27, 28, 0),
        (25, 28, -1),
        (24, 28, -2),
    ];
    for (size, crop, start) in cases {
        assert_eq!(centre(size, crop), start, "{crop} of {size}");
    }
}

#[test]
fn any_picture_fits_any_input() {
    let sizes =
        [(1, 1), (1, 3), (7, 1), (2, 50), (8, 8), (9, 8), (100, 3), (65_535, 1), (1, 65_535)];
    let crop = Some(RandomResizedCrop::default());
    let augments = [
        Augment::default(),
        Augment { pad: 4, flip: true, ..Augment::default() },
        Augment { flip: true, random_resized_crop: crop, ..Augment::default() },
    ];
    for (width, height) in sizes {
        let image = Image { width, height, channels: 1, pixels: vec![200; width * height] };
        for (shape, resize) in [
            (Shape::new(1, 8, 8), None),
            (Shape::new(1, 8, 8), Some(11)),
            (Shape::new(3, 4, 9), None),
        ] {
            for augment in &augments {
                let transform = transform(Preprocess { resize, ..plain(shape) }, augment.clone());
                assert!(
                    eval(&transform, &image).iter().all(|x| (x - 200.0).abs() < 0.01),
                    "{width} x {height}"
                );
                for index in 0..3 {
                    let out = train(&transform, (0, 0, index), &image);
                    assert!(
                        out.iter()
                            .all(|&x| (x - 200.0).abs() < 0.01 || (augment.pad > 0 && x == 0.0))
                    );
                }
            }
        }
    }
}

#[test]
fn random_parts_have_the_asked_area_and_ratio() {
    let crop = RandomResizedCrop { scale: (0.25, 0.5), ratio: (0.5, 2.0) };
    for index in 0..1000 {
        let [top, left, rows, columns] = crop.draw(&mut Rng::new(3, &[index]), 100, 120);
        assert!(top + rows <= 100 && left + columns <= 120);
        let (area, ratio) = ((rows * columns) as f64 / 12_000.0, columns as f64 / rows as f64);
        assert!((0.24..0.51).contains(&area) && (0.48..2.05).contains(&ratio), "{area} {ratio}");
    }
    // Nothing of the ratio has the area: the middle part.
    assert_eq!(RandomResizedCrop::default().draw(&mut Rng::new(0, &[]), 3, 300), [0, 148, 3, 4]);
}

#[test]
fn nonsense_is_refused() {
    let refused =
        |augment| Transform::new(plain(Shape::new(1, 8, 8)), augment).unwrap_err().to_string();
    assert!(refused(Augment { pad: 9, ..Augment::default() }).contains("pad is 9"));
    for (scale, ratio) in [
        ((0.0, 1.0), (1.0, 1.0)),
        ((0.5, 1.5), (1.0, 1.0)),
        ((0.5, 0.4), (1.0, 1.0)),
        ((0.5, 1.0), (2.0, f64::NAN)),
    ] {
        let crop = Some(RandomResizedCrop { scale, ratio });
        assert!(
            refused(Augment { random_resized_crop: crop, ..Augment::default() })
                .contains("random_resized_crop")
        );
    }
    let unknown = serde_json::from_str::<Augment>(r#"{"pads": 4}"#).unwrap_err().to_string();
    assert!(unknown.contains("pads"), "{unknown}");
    let some: Augment =
        serde_json::from_str(r#"{"flip": true, "random_resized_crop": {"scale": [0.2, 1.0]}}"#)
            .unwrap();
    assert_eq!(
        some.random_resized_crop,
        Some(RandomResizedCrop { scale: (0.2, 1.0), ..RandomResizedCrop::default() })
    );
}

/// The stored input of two photos, made with Pillow and torch: decoding, resizing, cropping and
/// normalising together.
#[test]
fn real_photos_as_pytorch_sees_them() {
    let Some(golden) = shared("golden/resnet50-imagenet.safetensors") else {
        return;
    };
    let file = std::fs::read(golden).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let offset = header["input"]["data_offsets"][0].as_u64().unwrap() as usize;
    let numbers = file[8 + length + offset..].as_chunks::<4>().0;
    let samples = shared("imagenet/samples").expect("beside the stored input");
    let preprocess = Preprocess {
        shape: Shape::new(3, 224, 224),
        resize: Some(256),
        normalize: Normalize::Channel {
            mean: [123.68, 116.779, 103.939].map(|v| v / 255.0).to_vec(),
            std: vec![1.0 / 255.0; 3],
        },
    };
    let transform = transform(preprocess, Augment::default());
    for (number, part) in ["tench", "husky"].into_iter().enumerate() {
        let photo = std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path());
        let photo =
            photo.into_iter().find(|path| path.to_string_lossy().contains(part)).expect(part);
        let mut image = Image::default();
        read_picture(&photo, &mut image).unwrap();
        let out = eval(&transform, &image);
        let (mut worst, mut sum) = (0f32, 0f64);
        for (at, x) in out.iter().enumerate() {
            let (pixel, c) = (at / 3, at % 3);
            let expected = f32::from_le_bytes(numbers[(number * 3 + c) * 224 * 224 + pixel]);
            worst = worst.max((x - expected).abs());
            sum += f64::from((x - expected).abs());
        }
        let mean = sum / out.len() as f64;
        // JPEG decoders may round and smooth colour differently; the rest is the same.
        assert!(worst <= 4.0 && mean <= 0.05, "{part}: worst {worst}, mean {mean} of 255");
    }
}

#[test]
fn ten_crops_are_centre_and_corners_and_their_mirrors() {
    let preprocess = Preprocess { resize: Some(6), ..plain(Shape::new(1, 4, 4)) };
    let transform = transform(preprocess, Augment::default());
    // 6 rows of 8 pixels, whose value is their place.
    let image = Image { width: 8, height: 6, channels: 1, pixels: (0..48).collect() };
    let crop = |n: usize| {
        let mut out = vec![0.0; 16];
        transform.crop(n, &image, &mut out);
        bytes(&out)
    };
    let window = |top: u8, left: u8| -> Vec<u8> {
        let places = (0..4).flat_map(|y| (0..4).map(move |x| (top + y) * 8 + left + x));
        places.collect()
    };
    let corners = [(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)];
    for (n, (top, left)) in corners.into_iter().enumerate() {
        assert_eq!(crop(n), window(top, left), "crop {n}");
        let mirrored: Vec<u8> = window(top, left)
            .chunks(4)
            .flat_map(|row| row.iter().rev().copied().collect::<Vec<u8>>())
            .collect();
        assert_eq!(crop(n + 5), mirrored, "crop {n}");
    }
    assert_eq!(bytes(&eval(&transform, &image)), crop(0));
    assert_eq!(transform.seen(&image), [1.0, 2.0, 4.0, 4.0]);
    let double = Image { width: 16, height: 12, channels: 1, pixels: vec![0; 192] };
    assert_eq!(transform.seen(&double), [2.0, 4.0, 8.0, 8.0]);
}

/// An image that holds these rows and columns of another.
fn part_of(image: &Image, area: &Area) -> Image {
    let rows = image.pixels.chunks_exact(image.width * image.channels);
    let columns = area.1.start * image.channels..area.1.end * image.channels;
    let rows = rows.skip(area.0.start).take(area.0.len());
    Image {
        width: area.1.len(),
        height: area.0.len(),
        channels: image.channels,
        pixels: rows.flat_map(|row| row[columns.clone()].to_vec()).collect(),
    }
}

#[test]
fn a_view_of_the_part_it_reads_is_that_of_the_whole() {
    let crop = Some(RandomResizedCrop::default());
    let augments = [
        Augment { flip: true, random_resized_crop: crop, ..Augment::default() },
        Augment { flip: true, pad: 3, ..Augment::default() },
    ];
    let mut less = 0;
    for (width, height, channels) in
        [(61, 47, 3), (12, 40, 3), (9, 8, 3), (100, 3, 1), (8, 7, 1), (33, 64, 3)]
    {
        let image = pattern(width, height, channels);
        for resize in [None, Some(13)] {
            for (c, augment) in [1, 3].into_iter().zip(augments.iter().cycle()) {
                let preprocess = Preprocess { resize, ..plain(Shape::new(c, 8, 9)) };
                let transform = transform(preprocess, augment.clone());
                let views = (0..12).map(|index| View::Train { seed: 1, epoch: 2, index });
                let views = views.chain([View::Eval]).chain((0..CROPS).map(View::Crop));
                for view in views {
                    let mut expected = vec![f32::NAN; transform.shape().len()];
                    transform.look(view, &image, &Part::whole(&image), &mut expected);
                    let area = transform.reads(view, height, width);
                    let part = Part { size: (height, width), area };
                    let held = part_of(&image, &part.area);
                    less += usize::from(held.pixels.len() < image.pixels.len());
                    let mut out = vec![f32::NAN; expected.len()];
                    transform.look(view, &held, &part, &mut out);
                    assert_eq!(out, expected, "{view:?} of {width} x {height}, {part:?}");
                }
            }
        }
    }
    assert!(less > 100, "{less} views read less than all");
}

#[test]
#[should_panic(expected = "are read")]
fn a_part_that_lacks_what_is_read_is_refused() {
    let transform = transform(plain(Shape::new(3, 8, 8)), Augment::default());
    let image = pattern(8, 7, 3);
    let part = Part { size: (8, 8), area: (1..8, 0..8) };
    transform.look(View::Eval, &image, &part, &mut [0.0; 192]);
}
