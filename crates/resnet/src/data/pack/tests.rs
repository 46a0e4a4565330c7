use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::data::open;
use crate::data::testing::{TempDir, flat_png, jpeg, pattern};

/// A folder of class folders with pictures of many sizes and formats.
fn photos(name: &str) -> TempDir {
    let dir = TempDir::new(name);
    for split in ["train", "val"] {
        for (at, class) in ["ant", "bee 2", "çat"].into_iter().enumerate() {
            for number in 0..7 {
                let image = pattern(40 + number, 30 + 9 * at, 3);
                dir.write(&format!("{split}/{class}/{number}.jpg"), &jpeg(&image, 80));
            }
            dir.write(&format!("{split}/{class}/x.png"), &flat_png(9, 9, [at as u8, 1, 2]));
        }
    }
    dir
}

fn options(format: PackFormat) -> PackOptions {
    PackOptions { format, shard_size: 8 << 10, shrink: None }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

fn packed(source: &Path, dest: &Path, options: &PackOptions) -> Result<PackReport, String> {
    pack(&text(source), dest, options, &|_, _, _| ()).map_err(|error| error.to_string())
}

/// Labels and files of every split.
fn content(source: &str) -> Vec<(u32, Vec<u8>)> {
    let splits = open(source, &OpenOptions::default()).unwrap();
    let mut all = Vec::new();
    for data in [&splits.train, splits.test.as_ref().unwrap()] {
        assert_eq!(data.classes(), ["ant", "bee 2", "çat"]);
        for index in 0..data.len() {
            let mut file = vec![7];
            assert!(data.file(index, &mut file).unwrap());
            all.push((data.label(index), file));
        }
    }
    all
}

#[test]
fn shards_hold_the_same_pictures_in_the_same_order() {
    let dir = photos("pack");
    let own = content(dir.text());
    assert_eq!(own.len(), 48);
    let to = TempDir::new("packed");
    let mut from = dir.path().to_path_buf();
    for (name, format) in
        [("tar", PackFormat::Tar), ("parquet", PackFormat::Parquet), ("tar again", PackFormat::Tar)]
    {
        // Each from the one before.
        let dest = to.path().join(name);
        let report = packed(&from, &dest, &options(format)).unwrap();
        assert_eq!((report.splits[0].1, report.splits[1].1), (24, 24));
        assert_eq!(report.splits[1].0, "val");
        assert!(report.splits.iter().all(|(_, _, shards)| *shards > 2) && report.kept == 0);
        assert_eq!(content(&text(&dest)), own, "{name}");
        let names = crate::base::files::names(&dest);
        assert!(names.contains(&"pack.json".to_string()), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
        from = dest;
    }
    let one = std::fs::read(to.path().join("tar/train-000001.tar")).unwrap();
    assert_eq!(one, std::fs::read(to.path().join("tar again/train-000001.tar")).unwrap());
    // What is there is read again, and kept.
    let report = packed(dir.path(), &to.path().join("tar"), &options(PackFormat::Tar)).unwrap();
    assert!(report.kept > 4);
}

#[test]
fn packing_goes_on_where_it_was_killed() {
    for format in [PackFormat::Tar, PackFormat::Parquet] {
        let dir = photos("pack-killed");
        let (whole, dest) = (TempDir::new("pack-whole"), TempDir::new("pack-resumed"));
        packed(dir.path(), whole.path(), &options(format)).unwrap();
        // A panic stands for a signal, before each picture that is told of.
        let told = AtomicUsize::new(0);
        pack(dir.text(), &dest.path().join("counted"), &options(format), &|_, _, _| {
            told.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let folder = dest.path().join("killed");
        let mut kept = Vec::new();
        for stop in 0..told.into_inner() {
            let seen = AtomicUsize::new(0);
            let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pack(dir.text(), &folder, &options(format), &|_, _, _| {
                    let is_last = seen.fetch_add(1, Ordering::Relaxed) >= stop / 2;
                    assert!(!is_last, "killed");
                })
            }));
            match killed {
                Ok(done) => kept.push(done.unwrap().kept),
                Err(_) => assert!(open(&text(&folder), &OpenOptions::default()).is_err()),
            }
        }
        let report = packed(dir.path(), &folder, &options(format)).unwrap();
        assert!(report.kept > 4, "{kept:?}");
        let names = crate::base::files::names(&folder);
        assert_eq!(names, crate::base::files::names(whole.path()));
        for name in names {
            let read = |folder: &Path| std::fs::read(folder.join(&name)).unwrap();
            assert_eq!(read(&folder), read(whole.path()), "{name}");
        }
    }
}

#[test]
fn a_shard_that_was_changed_is_written_again_or_found() {
    let dir = photos("pack-changed");
    let dest = TempDir::new("pack-damaged");
    let folder = dest.path().join("to");
    let stop = |stage, _, _| assert!(stage == PackStage::Write, "killed");
    let kill = || {
        let run = || pack(dir.text(), &folder, &options(PackFormat::Tar), &stop);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    };
    kill();
    let shard = folder.join(UNFINISHED).join("train-000001.tar");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..1024]).unwrap();
    kill();
    assert_eq!(std::fs::read(&shard).unwrap(), bytes);
    let mut other = bytes.clone();
    other[600] ^= 1;
    std::fs::write(&shard, &other).unwrap();
    let error = packed(dir.path(), &folder, &options(PackFormat::Tar)).unwrap_err();
    assert!(error.contains("expected what was written, found"), "{error}");
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let dir = photos("pack-refused");
    let to = TempDir::new("pack-refused-to");
    let tar = options(PackFormat::Tar);
    let inside = packed(dir.path(), &dir.path().join("train/packed"), &tar).unwrap_err();
    assert!(inside.contains("expected a folder outside of the data"), "{inside}");
    to.write("notes/x.txt", b"mine");
    let other = packed(dir.path(), &to.path().join("notes"), &tar).unwrap_err();
    assert!(other.contains("found x.txt; choose another folder"), "{other}");
    let dest = to.path().join("dest");
    packed(dir.path(), &dest, &tar).unwrap();
    let differs = packed(dir.path(), &dest, &options(PackFormat::Parquet)).unwrap_err();
    assert!(differs.contains("found shards that were packed with other options"), "{differs}");
    dir.write("train/ant/new.png", &flat_png(9, 9, [1, 2, 3]));
    let differs = packed(dir.path(), &dest, &tar).unwrap_err();
    assert!(differs.contains("found shards of other data"), "{differs}");
    let none = PackOptions { shard_size: 0, ..tar.clone() };
    assert!(packed(dir.path(), &to.path().join("x"), &none).is_err());
    std::fs::write(dest.join("pack.json"), "{").unwrap();
    let damaged = packed(dir.path(), &dest, &tar).unwrap_err();
    assert!(damaged.contains("pack.json: expected the state of a packing"), "{damaged}");
}

#[test]
fn pictures_become_smaller_or_files() {
    let dir = photos("pack-small");
    let to = TempDir::new("pack-small-to");
    let shrink = Some(Shrink { shorter_side: 32, quality: 90 });
    let small = PackOptions { shrink, ..options(PackFormat::Parquet) };
    packed(dir.path(), to.path(), &small).unwrap();
    let (old, new) = (content(dir.text()), content(to.text()));
    let mut image = Image::default();
    let mut shrunk = 0;
    for ((label, old), (again, new)) in old.iter().zip(&new) {
        assert_eq!(label, again);
        super::super::decode_picture("", old, &mut image).unwrap();
        let shorter = image.width.min(image.height);
        super::super::decode_picture("", new, &mut image).unwrap();
        assert_eq!(image.width.min(image.height), shorter.min(32));
        assert_eq!(old == new, shorter <= 32);
        shrunk += usize::from(shorter > 32);
    }
    assert!(shrunk > 5);
    // Pictures without files become PNGs of the same pixels.
    let builtin = TempDir::new("pack-builtin");
    let tar = PackOptions { shard_size: 1 << 20, ..options(PackFormat::Tar) };
    let report = pack("builtin", builtin.path(), &tar, &|_, _, _| ()).unwrap();
    assert!(report.warnings.iter().any(|w| w.message.contains("grey pictures become PNGs")));
    let (own, read) =
        (open("builtin", &OpenOptions::default()), open(builtin.text(), &OpenOptions::default()));
    let (own, read) = (own.unwrap().test.unwrap(), read.unwrap().test.unwrap());
    assert_eq!((own.len(), own.classes()), (read.len(), read.classes()));
    for index in [0, 17, own.len() - 1] {
        let mut other = Image::default();
        own.read(index, &mut image).unwrap();
        read.read(index, &mut other).unwrap();
        let grey: Vec<u8> = other.pixels.chunks(3).map(|rgb| rgb[0]).collect();
        assert_eq!((&image.pixels, own.label(index)), (&grey, read.label(index)));
    }
}
