use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::super::testing::{TempDir, flat_png};
use super::super::super::{Dataset, Image, OpenOptions, Splits, fingerprint, index, open};

fn pictures(dir: &TempDir, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        dir.write(name, &flat_png(4 + n, 4, [n as u8, 0, 0]));
    }
}

fn opened(place: &Path) -> Splits {
    open(place.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

fn rows(data: &dyn Dataset) -> Vec<(String, u32)> {
    (0..data.len()).map(|index| (data.name(index), data.label(index))).collect()
}

fn print(splits: &Splits) -> String {
    fingerprint(&[splits.train.as_ref(), splits.test.as_ref().unwrap().as_ref()])
}

/// As if it had been changed some time ago.
fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn clean(name: &str) -> TempDir {
    let dir = TempDir::new(name);
    let files =
        ["train/a/1.png", "train/a/in/2.png", "train/b/3.png", "val/a/4.png", "val/b/5.png"];
    pictures(&dir, &files);
    dir.write("train/b/notes.txt", b"no picture");
    dir
}

#[test]
fn data_from_an_index_is_that_of_the_scan() {
    let dir = clean("index-same");
    let scanned = opened(dir.path());
    let made = index(dir.text()).unwrap();
    assert_eq!(made.file, dir.path().join(".resnet-index"));
    assert_eq!(made.splits, [("train".to_string(), 3), ("val".to_string(), 2)]);
    let indexed = opened(dir.path());
    assert_eq!(indexed.train.classes(), scanned.train.classes());
    assert_eq!(indexed.warnings, scanned.warnings);
    assert_eq!(indexed.warnings.len(), 1);
    assert_eq!(indexed.test_name, "val");
    for (a, b) in [
        (&indexed.train, &scanned.train),
        (indexed.test.as_ref().unwrap(), scanned.test.as_ref().unwrap()),
    ] {
        assert_eq!(rows(a.as_ref()), rows(b.as_ref()));
        assert_eq!((a.shape(), a.sizes()), (b.shape(), b.sizes()));
        let (mut x, mut y) = (Image::default(), Image::default());
        for index in (0..a.len()).rev().chain(0..a.len()) {
            assert_eq!(a.name(index), b.name(index));
            a.read(index, &mut x).unwrap();
            b.read(index, &mut y).unwrap();
            assert_eq!(x, y);
        }
    }
    // The fingerprint is known without the names, and is that of the names.
    assert_eq!(print(&indexed), print(&scanned));
    let begin = super::super::super::fingerprint::BEGIN;
    assert!(indexed.train.digest(begin).is_some() && scanned.train.digest(begin).is_none());
    // A folder that is moved keeps its index.
    let moved = TempDir::new("index-moved");
    std::fs::rename(dir.path(), moved.path().join("it")).unwrap();
    let there = opened(&moved.path().join("it"));
    assert_eq!(there.warnings.len(), 1);
    assert!(there.train.digest(begin).is_some());
    assert_eq!(print(&there), print(&scanned));
}

#[test]
fn what_changed_is_noticed() {
    let dir = clean("index-changed");
    index(dir.text()).unwrap();
    let again = |dir: &TempDir| {
        let told: Vec<String> =
            opened(dir.path()).warnings.iter().map(ToString::to_string).collect();
        told.into_iter().find(|told| told.contains("the index"))
    };
    assert_eq!(again(&dir), None);
    // A file more, in a folder inside a class; the time of a folder alone says so.
    dir.write("train/a/in/6.png", &flat_png(4, 4, [9, 9, 9]));
    age(&dir.path().join("train/a/in"), 50);
    let told = again(&dir).unwrap();
    assert!(
        told.contains("the index is old: train/a/in has changed since; it was made again"),
        "{told}"
    );
    assert_eq!((again(&dir), opened(dir.path()).train.len()), (None, 4));
    // A split more.
    pictures(&dir, &["test/a/1.png", "test/b/2.png"]);
    assert!(again(&dir).unwrap().contains("the folder has changed since"));
    assert_eq!(opened(dir.path()).test_name, "test");
    // The same picture in other bytes, which no folder tells.
    let splits = opened(dir.path());
    let file = dir.write("train/b/3.png", &flat_png(90, 4, [1, 1, 1]));
    let mut image = Image::default();
    let error = splits.train.read(3, &mut image).unwrap_err();
    assert!(error.to_string().contains("3.png: was changed since"), "{error}");
    assert!(error.is_of_system());
    index(dir.text()).unwrap();
    age(&file, 50);
    assert!(opened(dir.path()).train.read(3, &mut image).is_err(), "the time counts too");
}

#[test]
fn what_was_bad_is_looked_at_again_once_it_may_be_good() {
    let dir = TempDir::new("index-repaired");
    pictures(&dir, &["1.png", "2.png"]);
    let list = dir.write("l.csv", b"path,label\n1.png,a\n2.png,b\n3.png,b\n");
    index(list.to_str().unwrap()).unwrap();
    assert!(opened(&list).warnings[0].message.starts_with("cannot be read"));
    dir.write("3.png", &flat_png(4, 4, [3; 3]));
    let splits = opened(&list);
    assert_eq!((splits.train.len(), splits.warnings.len()), (3, 1));
    assert!(splits.warnings[0].message.contains("3.png has changed since"));
    assert_eq!(opened(&list).warnings, []);
}

#[test]
fn shards_and_lists_have_their_index_beside() {
    let dir = TempDir::new("index-beside");
    pictures(&dir, &["1.png", "2.png"]);
    let list = dir.write("l.csv", b"path,label\n1.png,a\n2.png,b\n");
    let made = index(list.to_str().unwrap()).unwrap();
    assert_eq!(made.file, dir.path().join("l.csv.resnet-index"));
    let begin = super::super::super::fingerprint::BEGIN;
    assert!(opened(&list).train.digest(begin).is_some());
    dir.write("l.csv", b"path,label\n1.png,b\n2.png,a\n3.png,a\n");
    assert!(opened(&list).warnings.iter().any(|w| w.message.contains("l.csv has changed since")));
    let tar = super::super::super::testing::tar(&[
        ("a/1", &flat_png(4, 4, [1; 3])),
        ("b/2", &flat_png(4, 4, [2; 3])),
    ]);
    for n in 0..3 {
        dir.write(&format!("s/x-{n}.tar"), &tar);
    }
    let range = dir.path().join("s/x-{0..2}.tar");
    let made = index(range.to_str().unwrap()).unwrap();
    assert_eq!(made.splits, [("all".to_string(), 6)]);
    let indexed = opened(&range).train;
    assert!(indexed.digest(begin).is_some());
    let mut image = Image::default();
    indexed.read(5, &mut image).unwrap();
    assert_eq!(image.pixels, [2; 48]);
    age(&dir.path().join("s/x-1.tar"), 50);
    assert!(opened(&range).warnings.iter().any(|w| w.message.contains("x-1.tar has changed")));
    assert!(index("builtin").unwrap_err().to_string().contains("needs no index"));
}

#[test]
fn damaged_indices_are_made_again() {
    let dir = clean("index-damaged");
    let file = index(dir.text()).unwrap().file;
    let whole = std::fs::read(&file).unwrap();
    let expected = rows(opened(dir.path()).train.as_ref());
    let read = || super::read(&file, dir.path(), "folder");
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(read().is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            std::fs::write(&file, &bytes).unwrap();
            assert!(read().is_err(), "{at}");
        }
    }
    assert!(super::read(&file, dir.path(), "tar").is_err());
    let splits = opened(dir.path());
    assert!(splits.warnings.iter().any(|w| w.message.contains("it was made again")));
    assert_eq!(rows(splits.train.as_ref()), expected);
    assert!(read().is_ok());
    // Lengths that lie, with a checksum that is right.
    for at in 12..120 {
        for lie in [u64::MAX, 1 << 40, 0] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
            let end = bytes.len() - 4;
            let mut sum = flate2::Crc::new();
            sum.update(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum.sum().to_le_bytes());
            std::fs::write(&file, &bytes).unwrap();
            let _ = read();
        }
    }
}
