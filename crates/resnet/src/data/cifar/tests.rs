use super::super::testing::{TempDir, shared};
use super::*;
use crate::data::Image;

const SMALL: Layout = Layout {
    train: &[("data_batch_1.bin", 2), ("data_batch_2.bin", 1)],
    test: ("test_batch.bin", 1),
    ..TEN
};

fn record(labels: &[u8], planes: [u8; 3]) -> Vec<u8> {
    let mut bytes = labels.to_vec();
    for plane in planes {
        bytes.extend_from_slice(&[plane; 1024]);
    }
    *bytes.last_mut().unwrap() = 99;
    bytes
}

fn write_small(dir: &TempDir) -> Vec<u8> {
    let first = [record(&[3], [1, 2, 3]), record(&[9], [4, 5, 6])].concat();
    dir.write("data_batch_1.bin", &first);
    dir.write("data_batch_2.bin", &record(&[0], [7, 8, 9]));
    dir.write("test_batch.bin", &record(&[1], [10, 11, 12]));
    first
}

fn message(result: Result<Splits, DataError>) -> String {
    result.err().expect("opened").to_string()
}

#[test]
fn planes_become_pixels() {
    let dir = TempDir::new("cifar");
    write_small(&dir);
    let splits = open(&SMALL, dir.path()).unwrap();
    let mut image = Image::default();
    splits.train.read(1, &mut image).unwrap();
    assert_eq!((image.width, image.height, image.channels), (32, 32, 3));
    assert_eq!(image.pixels[..3], [4, 5, 6]);
    assert_eq!(image.pixels[3069..], [4, 5, 99]);
    let labels: Vec<u32> = (0..3).map(|i| splits.train.label(i)).collect();
    assert_eq!(labels, [3, 9, 0]);
    assert_eq!(splits.train.classes()[3], "cat");
    assert_eq!(splits.test.unwrap().len(), 1);
}

#[test]
fn hundred_uses_the_fine_label() {
    let layout = Layout { train: &[("train.bin", 1)], test: ("test.bin", 1), ..HUNDRED };
    let dir = TempDir::new("cifar100");
    dir.write("cifar-100-binary/train.bin", &record(&[4, 30], [1, 2, 3]));
    dir.write("cifar-100-binary/test.bin", &record(&[11, 98], [1, 2, 3]));
    let splits = open(&layout, dir.path()).unwrap();
    assert_eq!(splits.train.classes()[splits.train.label(0) as usize], "dolphin");
    assert_eq!(splits.test.unwrap().label(0), 98);
}

#[test]
fn names_come_from_the_folder() {
    let dir = TempDir::new("cifar-names");
    write_small(&dir);
    dir.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    assert_eq!(open(&SMALL, dir.path()).unwrap().train.classes()[9], "j");
    dir.write("batches.meta.txt", b"a\nb\n");
    let text = message(open(&SMALL, dir.path()));
    assert!(text.contains("batches.meta.txt: expected 10 class names, found 2"), "{text}");
}

#[test]
fn every_truncation_is_refused() {
    let dir = TempDir::new("cifar-cut");
    let whole = write_small(&dir);
    for length in (0..whole.len()).step_by(97).chain([3072, 3073, 3074, 6145]) {
        dir.write("data_batch_1.bin", &whole[..length]);
        let text = message(open(&SMALL, dir.path()));
        let expected = format!("expected 6146 bytes (2 records of 3073), found {length} bytes");
        assert!(text.contains(&expected), "{text}");
    }
    dir.write("data_batch_1.bin", &[whole.as_slice(), &[0]].concat());
    assert!(message(open(&SMALL, dir.path())).contains("found 6147 bytes"));
}

#[test]
fn wrong_content_is_named() {
    let dir = TempDir::new("cifar-wrong");
    assert!(message(open(&SMALL, dir.path())).contains("found an empty folder"));
    dir.write("data_batch_1", b"pickle");
    assert!(message(open(&SMALL, dir.path())).contains("version for Python"));
    write_small(&dir);
    dir.write("test_batch.bin", &record(&[10], [1, 2, 3]));
    assert!(
        message(open(&SMALL, dir.path()))
            .contains("expected labels below 10, found 10 in record 0")
    );
    std::fs::remove_file(dir.path().join("data_batch_2.bin")).unwrap();
    assert!(message(open(&SMALL, dir.path())).contains("data_batch_2.bin: expected this file"));
}

/// The lossless sheets hold the official pictures; the first test picture is a cat.
#[test]
fn real_pictures_through_the_binary_layout() {
    let Some(folder) = shared("cifar-10") else {
        return;
    };
    let mut sheet = Image::default();
    crate::data::read_picture(&folder.join("test_batch.webp"), &mut sheet).unwrap();
    let labels = std::fs::read(folder.join("test_batch.labels")).unwrap();
    let mut bytes = Vec::new();
    for index in 0..100 {
        bytes.push(labels[index]);
        for channel in 0..3 {
            for pixel in 0..1024 {
                let (y, x) = (pixel / 32, index * 32 + pixel % 32);
                bytes.push(sheet.pixels[(y * 3200 + x) * 3 + channel]);
            }
        }
    }
    let layout = Layout { train: &[("test_batch.bin", 100)], test: ("test_batch.bin", 100), ..TEN };
    let dir = TempDir::new("cifar-real");
    dir.write("test_batch.bin", &bytes);
    std::fs::copy(folder.join("batches.meta.txt"), dir.path().join("batches.meta.txt")).unwrap();
    let train = open(&layout, dir.path()).unwrap().train;
    assert_eq!(train.classes()[train.label(0) as usize], "cat");
    let mut image = Image::default();
    train.read(0, &mut image).unwrap();
    assert_eq!(image.pixels[..3], sheet.pixels[..3]);
    assert_eq!(image.pixels[32 * 3..32 * 3 + 3], sheet.pixels[3200 * 3..3200 * 3 + 3]);
}
