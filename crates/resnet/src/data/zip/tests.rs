use std::path::Path;

use super::super::testing::{TempDir, flat_png, zip};
use super::super::{Image, OpenOptions, Splits};

fn open(place: &Path) -> Result<Splits, String> {
    super::super::open(place.to_str().unwrap(), &OpenOptions::default())
        .map_err(|error| error.to_string())
}

#[test]
fn zipped_class_folders_are_a_folder() {
    let dir = TempDir::new("zip-folders");
    let names = [
        "data/train/b/2.png",
        "data/train/b/10.png",
        "data/train/a/in/x.png",
        "data/train/a/in.png",
        "data/val/b/1.png",
        "data/val/a/1.png",
    ];
    let pictures: Vec<Vec<u8>> = (0..6).map(|n| flat_png(4 + n, 4, [n as u8; 3])).collect();
    for (name, picture) in names.iter().zip(&pictures) {
        dir.write(name, picture);
    }
    let folder = open(&dir.path().join("data")).unwrap();
    let mut members: Vec<(&str, &[u8], bool)> = vec![
        ("data/", b"", false),
        ("__MACOSX/data/train/b/._2.png", b"x", false),
        ("data/train/.DS_Store", b"x", true),
    ];
    members.extend(
        names
            .iter()
            .zip(&pictures)
            .enumerate()
            .map(|(n, (name, picture))| (*name, picture.as_slice(), n % 2 == 0)),
    );
    let splits = open(&dir.write("x.zip", &zip(&members))).unwrap();
    assert_eq!(splits.warnings, []);
    for (ours, theirs) in
        [(splits.train, folder.train), (splits.test.unwrap(), folder.test.unwrap())]
    {
        assert_eq!(ours.len(), theirs.len());
        let (mut a, mut b) = (Image::default(), Image::default());
        for index in 0..ours.len() {
            let inside = ours.name(index).replace("x.zip/", "");
            assert_eq!((inside, ours.label(index)), (theirs.name(index), theirs.label(index)));
            ours.read(index, &mut a).unwrap();
            theirs.read(index, &mut b).unwrap();
            assert_eq!(a, b);
        }
    }
    // A file a split.
    let dir = TempDir::new("zip-splits");
    dir.write("train.zip", &zip(&[("a/1", &pictures[0], true), ("b/2", &pictures[1], false)]));
    dir.write(
        "val.zip",
        &zip(&[("val/a/1", &pictures[2], true), ("val/b/2", &pictures[3], false)]),
    );
    let splits = open(dir.path()).unwrap();
    assert_eq!(
        (splits.train.len(), splits.test.unwrap().len(), splits.test_name.as_str()),
        (2, 2, "val")
    );
}

#[test]
fn hostile_and_cut_files_are_refused() {
    let dir = TempDir::new("zip-hostile");
    let (one, two) = (flat_png(40, 40, [1; 3]), flat_png(40, 40, [2; 3]));
    let whole = zip(&[("a/1.png", &one, true), ("b/2.png", &two, false)]);
    let try_it = |bytes: &[u8]| {
        let splits = open(&dir.write("x.zip", bytes))?;
        let mut image = Image::default();
        let reads = (0..splits.train.len()).map(|at| splits.train.read(at, &mut image));
        reads.map(|read| read.map_err(|error| error.to_string())).collect::<Result<Vec<_>, _>>()
    };
    try_it(&whole).unwrap();
    for length in 0..whole.len() {
        let error = try_it(&whole[..length]).unwrap_err();
        assert!(error.contains("x.zip: expected a zip file with a directory"), "{error}");
    }
    for at in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let _ = try_it(&bytes);
        }
    }
    let directory = whole.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = whole.clone();
        bytes[directory + at..directory + at + value.len()].copy_from_slice(value);
        try_it(&bytes).unwrap_err()
    };
    // Sizes that its bytes cannot hold, a wrong sum, a method that is not read, encryption.
    assert!(with(24, &0x1fff_ffffu32.to_le_bytes()).contains("packed bytes cannot hold"));
    assert!(with(24, &1_000u32.to_le_bytes()).contains("is damaged: its checksum is wrong"));
    assert!(with(16, &7u32.to_le_bytes()).contains("is damaged: its checksum is wrong"));
    assert!(
        with(42, &0xffff_fff0u32.to_le_bytes()).contains("expected members before its directory")
    );
    assert!(with(42, &0xffff_ffffu32.to_le_bytes()).contains("expected a zip64 field"));
    assert!(with(42, &9u32.to_le_bytes()).contains("its header in the zip file"));
    let told = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[directory + at] = value;
        let file = dir.write("x.zip", &bytes);
        let options = OpenOptions { one_class: true, ..OpenOptions::default() };
        super::super::open(file.to_str().unwrap(), &options).unwrap().warnings[0].message.clone()
    };
    assert!(told(10, 12).starts_with("is packed by method 12"));
    assert!(told(8, 1).starts_with("is encrypted"));
    let flat = dir.write("x.zip", &zip(&[("1.png", &one, true)]));
    assert!(open(&flat).err().unwrap().contains("expected pictures in class folders"));
}
