use std::io::Write;

use super::super::testing::TempDir;
use super::*;
use crate::data::{Image, open as open_source};

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [0x803, count, height, width].iter().flat_map(|v| v.to_be_bytes()).collect();
    bytes.extend((0..count * height * width).map(|v| (v % 251) as u8));
    bytes
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let head = [0x801, labels.len() as u32].map(u32::to_be_bytes);
    [head.as_flattened(), labels].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn images_error(bytes: &[u8]) -> String {
    let read = read_images(Path::new("some.idx"), bytes);
    read.err().expect("read").to_string()
}

#[test]
fn plain_and_packed_are_the_same() {
    for pack in [|bytes: &[u8]| bytes.to_vec(), gzip] {
        let dir = TempDir::new("idx");
        dir.write("train-images-idx3-ubyte", &pack(&images(3, 2, 4)));
        dir.write("train-labels.idx1-ubyte.gz", &pack(&labels(&[1, 0, 2])));
        let splits = open_source(dir.text(), &OpenOptions::default()).unwrap();
        let mut image = Image::default();
        splits.train.read(1, &mut image).unwrap();
        assert_eq!(image.pixels, [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!((image.height, image.width, image.channels), (2, 4, 1));
        assert_eq!(splits.train.classes(), ["0", "1", "2"]);
        assert_eq!(splits.train.label(2), 2);
        assert!(splits.test.is_none());
    }
}

#[test]
fn names_come_from_the_folder() {
    let dir = TempDir::new("idx-names");
    dir.write("train-images-idx3-ubyte", &images(10, 1, 1));
    let ten: Vec<u8> = (0..10).collect();
    dir.write("train-labels-idx1-ubyte", &labels(&ten));
    let names = |dir: &Path| {
        open(dir, &OpenOptions::default()).map(|splits| splits.train.classes().to_vec())
    };
    assert_eq!(names(dir.path()).unwrap()[9], "9");
    dir.write("classes.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nthe tenth\n");
    assert_eq!(names(dir.path()).unwrap()[9], "the tenth");
    dir.write("classes.txt", b"a\nb\n");
    assert!(
        names(dir.path()).unwrap_err().to_string().contains("on each of 10 lines, found 2 lines")
    );
    let fashion = TempDir::new("Fashion");
    fashion.write("train-images-idx3-ubyte", &images(10, 1, 1));
    fashion.write("train-labels-idx1-ubyte", &labels(&ten));
    assert_eq!(names(fashion.path()).unwrap()[8], "Bag");
}

#[test]
fn every_truncation_is_refused() {
    let whole = images(3, 5, 7);
    assert!(read_images(Path::new("x"), whole.as_slice()).is_ok());
    for length in 0..whole.len() {
        images_error(&whole[..length]);
    }
    assert!(images_error(&[&whole[..], &[0]].concat()).contains("expected 3 entries of 35 bytes"));
    let packed = gzip(&whole);
    assert!(read_images(Path::new("x"), packed.as_slice()).is_ok());
    for length in 0..packed.len() {
        images_error(&packed[..length]);
    }
    assert!(images_error(&gzip(&[&whole[..], &[0]].concat())).contains("found more bytes"));
    assert!(images_error(&gzip(&whole[..whole.len() - 1])).contains("found 104 bytes"));
    for at in 10..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x10;
        // A few bits of a deflate stream mean nothing; what is read is never wrong.
        if let Ok(read) = read_images(Path::new("x"), damaged.as_slice()) {
            assert_eq!(read.pixels, whole[16..], "byte {at} of {}", packed.len());
        }
    }
}

#[test]
fn hostile_headers_allocate_nothing() {
    let head = |numbers: [u32; 4]| numbers.map(u32::to_be_bytes).as_flattened().to_vec();
    let most = u32::MAX;
    assert!(
        images_error(&head([0x803, most, most, most]))
            .contains("expected pictures of 1 to 65535 pixels")
    );
    assert!(images_error(&head([0x803, most, 65_535, 65_535])).contains("found 0 bytes"));
    let packed = gzip(&head([0x803, most, 65_535, 65_535]));
    assert!(images_error(&packed).contains("found at most"), "{}", images_error(&packed));
    assert!(images_error(&head([0x803, 0, 28, 28])).contains("at least one"));
    assert!(images_error(&head([0x803, 1, 0, 28])).contains("0 x 28"));
    assert!(images_error(&head([0x801, 1, 28, 28])).contains("0x801, which is labels"));
    assert!(images_error(&head([0xd00d, 1, 28, 28])).contains("found 0xd00d"));
    // More zeros than fit a claim of one picture: the rest is never unpacked.
    let bomb = gzip(&[head([0x803, 1, 2, 2]), vec![0; 1 << 22]].concat());
    assert!(images_error(&bomb).contains("found more bytes"));
}

#[test]
fn files_must_belong_together() {
    let dir = TempDir::new("idx-pairs");
    let fails = || open(dir.path(), &OpenOptions::default()).err().expect("opened").to_string();
    assert!(
        fails().contains("the file train-images-idx3-ubyte, plain or .gz, found an empty folder")
    );
    dir.write("train-images-idx3-ubyte", &images(3, 2, 2));
    assert!(fails().contains("the file train-labels-idx1-ubyte"));
    dir.write("train-labels-idx1-ubyte", &labels(&[0, 1]));
    assert!(fails().contains("expected 3 labels"));
    dir.write("train-labels-idx1-ubyte", &labels(&[0, 1, 1]));
    dir.write("t10k-images-idx3-ubyte", &images(2, 2, 3));
    assert!(fails().contains("t10k-labels-idx1-ubyte"));
    dir.write("t10k-labels-idx1-ubyte", &labels(&[0, 2]));
    assert!(fails().contains("expected pictures of 1x2x2, as in training, found 1x2x3"));
    dir.write("t10k-images-idx3-ubyte", &images(2, 2, 2));
    assert!(fails().contains("expected labels below 2, found 2"));
    dir.write("t10k-labels-idx1-ubyte", &labels(&[0, 1]));
    assert_eq!(open(dir.path(), &OpenOptions::default()).unwrap().test.unwrap().len(), 2);
    dir.write("train-labels-idx1-ubyte", &labels(&[1, 1, 1]));
    let error = open_source(dir.text(), &OpenOptions::default()).err().unwrap().to_string();
    assert!(error.contains("all 3 training pictures are of the class `1`"), "{error}");
}
