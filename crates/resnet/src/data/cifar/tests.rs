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
    dir.write("notes.txt", b"none of them");
    assert!(message(open(&SMALL, dir.path())).contains("found notes.txt; name the folder"));
    write_small(&dir);
    dir.write("test_batch.bin", &record(&[10], [1, 2, 3]));
    assert!(
        message(open(&SMALL, dir.path()))
            .contains("expected labels below 10, found 10 in record 0")
    );
    std::fs::remove_file(dir.path().join("data_batch_2.bin")).unwrap();
    assert!(message(open(&SMALL, dir.path())).contains("data_batch_2.bin: expected this file"));
}

/// A batch as Python 2 pickled it, in protocol 2.
fn pickled(key: &str, labels: &[u8], planes: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let numbers: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
    let rows = (labels.len() as u16).to_le_bytes();
    [
        b"\x80\x02}q\x00(",
        text("batch_label").as_slice(),
        &text("batch 1 of 5"),
        b"q\x01",
        &text(key),
        b"]q\x02(",
        &numbers,
        b"e",
        &text("data"),
        b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85",
        &text("b"),
        b"\x87Rq\x05(K\x01M",
        &rows,
        b"M\x00\x0c\x86cnumpy\ndtype\nq\x06",
        &text("u1"),
        b"K\x00K\x01\x87R(K\x03",
        &text("|"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        &(planes.len() as u32).to_le_bytes(),
        planes,
        b"tbu.",
    ]
    .concat()
}

/// The files of [`write_small`] in the version for Python.
fn small_in_python() -> [(&'static str, Vec<u8>); 3] {
    let planes = |pictures: &[[u8; 3]]| -> Vec<u8> {
        pictures.iter().flat_map(|&planes| record(&[], planes)).collect()
    };
    [
        ("data_batch_1", pickled("labels", &[3, 9], &planes(&[[1, 2, 3], [4, 5, 6]]))),
        ("data_batch_2", pickled("labels", &[0], &planes(&[[7, 8, 9]]))),
        ("test_batch", pickled("labels", &[1], &planes(&[[10, 11, 12]]))),
    ]
}

fn same(splits: &Splits, others: &Splits) {
    let both = [
        (&splits.train, &others.train),
        (splits.test.as_ref().unwrap(), others.test.as_ref().unwrap()),
    ];
    for (a, b) in both {
        let (mut x, mut y) = (Image::default(), Image::default());
        assert_eq!((a.len(), a.classes()), (b.len(), b.classes()));
        for index in 0..a.len() {
            a.read(index, &mut x).unwrap();
            b.read(index, &mut y).unwrap();
            assert_eq!((a.label(index), &x), (b.label(index), &y));
        }
    }
}

#[test]
fn the_version_for_python_and_the_archives_hold_the_same() {
    let binary = TempDir::new("cifar-binary");
    write_small(&binary);
    let expected = open(&SMALL, binary.path()).unwrap();
    let python = TempDir::new("cifar-python");
    let files = small_in_python();
    for (name, bytes) in &files {
        python.write(&format!("cifar-10-batches-py/{name}"), bytes);
    }
    python.write("cifar-10-batches-py/batches.meta", b"not read");
    same(&open(&SMALL, python.path()).unwrap(), &expected);
    same(&open(&SMALL, &python.path().join("cifar-10-batches-py")).unwrap(), &expected);
    let gz = |members: &[(String, Vec<u8>)]| {
        let members: Vec<(&str, &[u8])> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &super::super::testing::tar(&members)).unwrap();
        packer.finish().unwrap()
    };
    let of_python: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|(name, bytes)| (format!("cifar-10-batches-py/{name}"), bytes.clone()))
        .collect();
    let of_binary: Vec<(String, Vec<u8>)> = SMALL
        .train
        .iter()
        .chain([&SMALL.test])
        .map(|(name, _)| {
            let bytes = std::fs::read(binary.path().join(name)).unwrap();
            (format!("cifar-10-batches-bin/{name}"), bytes)
        })
        .collect();
    for members in [of_python, of_binary] {
        let whole = gz(&members);
        let file = python.write("any name.tar.gz", &whole);
        same(&open(&SMALL, &file).unwrap(), &expected);
        assert!(HUNDRED.find(&file).is_none());
        for length in (0..whole.len()).step_by(23) {
            python.write("any name.tar.gz", &whole[..length]);
            let text = message(open(&SMALL, &file));
            assert!(text.contains("any name.tar.gz"), "{text}");
        }
        let lacking = python.write("any name.tar.gz", &gz(&members[1..]));
        assert!(open(&SMALL, &lacking).is_err());
    }
}

#[test]
fn pickles_are_data_and_never_run() {
    let whole = pickled("labels", &[3], &[7; 3072]);
    let batch = pickle::batch(&whole, "labels").unwrap();
    assert_eq!((batch.labels, batch.planes), (vec![3], [7; 3072].as_slice()));
    assert!(pickle::batch(&whole, "fine_labels").unwrap_err().contains("`fine_labels`"));
    for length in 0..whole.len() {
        assert!(pickle::batch(&whole[..length], "labels").is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for change in 1..=255 {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let _ = pickle::batch(&bytes, "labels");
            if at > 400 && at < 3300 && change > 3 {
                break;
            }
        }
    }
    let call = b"cos\nsystem\nU\x02ls\x85R.";
    assert!(pickle::batch(call, "labels").unwrap_err().contains("without a list `labels`"));
    for endless in [b"(".repeat(5000), b"N".repeat(3 << 20), b"]".repeat(3 << 20)] {
        assert!(pickle::batch(&endless, "labels").is_err());
    }
    // A list that holds itself.
    assert!(pickle::batch(b"]q\x00h\x00a.", "labels").is_err());
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
