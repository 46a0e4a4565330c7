use super::super::testing::{TempDir, flat_png, jpeg, pattern, png, shared};
use super::*;

/// Pictures of different content, 16 pixels a side.
fn write(dir: &TempDir, name: &str, tint: u8) {
    dir.write(name, &flat_png(16, 16, [tint, 0, 0]));
}

fn found(dir: &TempDir, depth: Depth) -> Check {
    let source = format!("folder:{}", dir.text());
    check(&source, depth, &|_| {}).unwrap()
}

fn items(check: &Check, kind: Kind, dir: &TempDir) -> Vec<String> {
    let root = format!("{}/", dir.text());
    let of_kind = check.problems.iter().filter(|p| p.kind == kind);
    of_kind.flat_map(|p| &p.items).map(|item| item.replace(&root, "")).collect()
}

fn clean(name: &str) -> TempDir {
    let dir = TempDir::new(name);
    for (i, class) in ["a", "b"].iter().enumerate() {
        for n in 0..3 {
            write(&dir, &format!("train/{class}/{n}.png"), (10 * i + n) as u8);
            write(&dir, &format!("val/{class}/{n}.png"), (100 + 10 * i + n) as u8);
        }
    }
    dir
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let dir = clean("check-clean");
    for depth in [Depth::Quick, Depth::Full] {
        let check = found(&dir, depth);
        assert_eq!(check.problems, []);
        assert_eq!(check.severity(), None);
        let sizes: Vec<_> = check.splits.iter().map(|s| (s.split.as_str(), s.images)).collect();
        assert_eq!(sizes, [("train", 6), ("val", 6)]);
        assert_eq!(check.splits[0].classes[1].class, "b");
        assert_eq!(check.imbalance(), 1.0);
    }
}

#[test]
fn the_same_picture_twice_is_found_by_bytes_and_by_pixels() {
    let dir = clean("check-same");
    // The same pixels in other bytes: a text chunk more.
    let rows = vec![[0, 0, 0].repeat(16); 16];
    let same = png([16, 16], 8, 2, &[(b"tEXt", b"Comment\0again")], &rows);
    dir.write("train/a/again.png", &same);
    write(&dir, "val/b/leak.png", 11);
    write(&dir, "train/b/conflict.png", 2);
    let quick = found(&dir, Depth::Quick);
    assert_eq!(quick.compared, "bytes");
    assert_eq!(items(&quick, Kind::Duplicate, &dir), [""; 0]);
    let full = found(&dir, Depth::Full);
    assert_eq!(full.compared, "pixels");
    assert_eq!(items(&full, Kind::Duplicate, &dir), ["train/a/0.png = train/a/again.png"]);
    for check in [quick, full] {
        assert_eq!(items(&check, Kind::Leak, &dir), ["train/b/1.png = val/b/leak.png"]);
        assert_eq!(items(&check, Kind::Conflict, &dir), ["train/a/2.png = train/b/conflict.png"]);
        assert_eq!(check.severity(), Some(Severity::Error));
    }
}

/// Pictures that the system does not read.
struct Unread(std::io::ErrorKind);

impl Dataset for Unread {
    fn len(&self) -> usize {
        3
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn read(&self, index: usize, _: &mut Image) -> Result<(), DataError> {
        Err(DataError::io(format!("{index}.jpg"), self.0.into()))
    }
}

#[test]
fn an_error_of_the_system_ends_the_check_and_is_no_finding() {
    let look = |kind| {
        let picture = |index| Picture {
            name: String::new(),
            class: String::new(),
            place: Place::Index(index),
        };
        let part = Pictures {
            split: "train".into(),
            classes: Vec::new(),
            pictures: (0..3).map(picture).collect(),
            from: From::Data(Arc::new(Unread(kind))),
        };
        look(&[part], Depth::Full, &|_| {})
    };
    let error = look(std::io::ErrorKind::OutOfMemory).unwrap_err();
    assert!(error.is_of_system() && error.to_string().starts_with("0.jpg"), "{error}");
    let seen = look(std::io::ErrorKind::PermissionDenied).unwrap();
    assert!(seen[0].iter().all(|seen| seen.as_ref().is_err_and(|why| why.contains("denied"))));
}

#[test]
fn damaged_files_are_named_with_the_reason() {
    let dir = clean("check-damaged");
    let whole = jpeg(&pattern(64, 64, 3), 90);
    // The header is whole, the picture is not: a byte of the packed pixels.
    let mut damaged = flat_png(64, 64, [9, 8, 7]);
    damaged[45] ^= 0x55;
    dir.write("train/a/damaged.png", &damaged);
    dir.write("train/a/empty.jpg", b"");
    dir.write("train/a/empty.tif", b"");
    dir.write("train/a/cut.jpg", &whole[..100]);
    dir.write("train/b/notes.txt", b"nothing to see");
    dir.write("train/beside.png", &flat_png(4, 4, [1, 2, 3]));
    let quick = items(&found(&dir, Depth::Quick), Kind::Corrupt, &dir);
    assert_eq!(quick.len(), 3, "{quick:?}");
    assert!(quick[2].starts_with("train/a/empty.tif: is empty"), "{quick:?}");
    assert!(quick[1].starts_with("train/a/empty.jpg: is empty"), "{quick:?}");
    let full = found(&dir, Depth::Full);
    let corrupt = items(&full, Kind::Corrupt, &dir);
    assert_eq!(corrupt.len(), 4, "{corrupt:?}");
    assert!(
        corrupt.iter().any(|i| i.starts_with("train/a/damaged.png: is damaged")),
        "{corrupt:?}"
    );
    assert_eq!(full.splits[0].images, 6, "what cannot be read does not count");
    let foreign = items(&full, Kind::Foreign, &dir);
    assert_eq!(foreign.len(), 2);
    assert!(foreign[0].starts_with("train/beside.png: lies beside"), "{foreign:?}");
    assert!(foreign[1].starts_with("train/b/notes.txt: is not a JPEG"), "{foreign:?}");
}

#[test]
fn classes_are_compared_between_splits() {
    let dir = clean("check-classes");
    write(&dir, "val/c/1.png", 200);
    write(&dir, "train/d/1.png", 201);
    std::fs::create_dir_all(dir.path().join("train/e")).unwrap();
    for n in 0..4 {
        write(&dir, &format!("train/a/more{n}.png"), 210 + n);
    }
    let check = found(&dir, Depth::Quick);
    assert_eq!(items(&check, Kind::UnknownClass, &dir), ["`c` of val"]);
    assert_eq!(items(&check, Kind::MissingClass, &dir), ["`d` in val"]);
    assert_eq!(items(&check, Kind::EmptyClass, &dir), ["`e`"]);
    assert_eq!(items(&check, Kind::Imbalance, &dir), ["`d`: 1, the largest 7"]);
    assert_eq!(check.imbalance(), 7.0);
    let counts: Vec<usize> = check.splits[1].classes.iter().map(|c| c.images).collect();
    assert_eq!(counts, [3, 3, 0, 0, 1], "a, b, d, e, then c");
}

#[test]
fn tiny_pictures_and_one_class() {
    let dir = TempDir::new("check-tiny");
    for n in 0..3 {
        dir.write(&format!("only/{n}.png"), &flat_png(64, 80, [n, 0, 0]));
    }
    dir.write("only/icon.png", &flat_png(300, 12, [9, 0, 0]));
    let check = found(&dir, Depth::Full);
    assert_eq!(check.splits[0].split, "all");
    assert_eq!(items(&check, Kind::Tiny, &dir), ["only/icon.png: 300 x 12 pixels"]);
    assert_eq!(items(&check, Kind::OneClass, &dir), ["`only`"]);
}

#[test]
fn data_in_memory_is_checked_too() {
    let check = check("builtin", Depth::Quick, &|_| {}).unwrap();
    assert_eq!(check.compared, "pixels");
    assert_eq!(check.splits.len(), 2);
    assert_eq!((check.splits[0].images, check.splits[1].images), (12_000, 2_000));
}

#[test]
fn the_stray_gif_of_the_ants_and_bees_is_a_warning() {
    let Some(data) = shared("hymenoptera") else {
        return;
    };
    let source = data.display().to_string();
    let check = check(&source, Depth::Full, &|_| {}).unwrap();
    assert_eq!((check.splits[0].images, check.splits[1].images), (244, 153));
    let gif: Vec<&Problem> =
        check.problems.iter().filter(|p| p.kind == Kind::Placeholder).collect();
    assert_eq!(gif.len(), 1);
    assert!(gif[0].items[0].ends_with("train/ants/imageNotFound.gif"), "{gif:?}");
    assert_eq!(check.severity(), Some(Severity::Warning), "{:?}", check.problems);
}

#[test]
fn the_check_reads_the_splits_that_training_reads() {
    let dir = clean("check-names");
    std::fs::rename(dir.path().join("val"), dir.path().join("Holdout_Set")).unwrap();
    write(&dir, "elsewhere/a/1.png", 250);
    write(&dir, "Holdout_Set/c/1.png", 251);
    let check = found(&dir, Depth::Quick);
    let splits: Vec<_> = check.splits.iter().map(|s| s.split.as_str()).collect();
    assert_eq!(splits, ["train", "Holdout_Set"]);
    assert_eq!(items(&check, Kind::UnknownClass, &dir), ["`c` of Holdout_Set"]);
    let unused = items(&check, Kind::Unused, &dir);
    assert_eq!(unused.len(), 1);
    assert!(unused[0].starts_with("elsewhere: is not used"), "{unused:?}");
    // What training refuses, a check refuses too.
    std::fs::remove_dir_all(dir.path().join("Holdout_Set")).unwrap();
    let source = format!("folder:{}", dir.text());
    let error = check_error(&source);
    assert!(error.contains("elsewhere holds classes of train/"), "{error}");
    assert_eq!(
        super::super::open(&source, &OpenOptions::default()).err().unwrap().to_string(),
        error
    );
}

fn check_error(source: &str) -> String {
    check(source, Depth::Quick, &|_| {}).unwrap_err().to_string()
}

#[test]
fn a_second_split_without_pictures_is_an_error_as_in_training() {
    let dir = clean("check-empty-split");
    for class in ["a", "b"] {
        for n in 0..3 {
            std::fs::remove_file(dir.path().join(format!("val/{class}/{n}.png"))).unwrap();
        }
    }
    let check = found(&dir, Depth::Quick);
    assert_eq!(items(&check, Kind::EmptyClass, &dir), ["all of val"]);
    assert_eq!(check.severity(), Some(Severity::Error));
}

/// A picture with a few large shapes, which a seed places.
fn scene(width: usize, height: usize, seed: usize, brighter: f32) -> Image {
    let pixel = |at: usize| {
        let (x, y) = (at % width, at / width);
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        let wave = |k: usize| {
            let turn = (seed * 7 + k * 3) as f32;
            ((x * (2.0 + turn % 5.0) + y * (turn % 7.0) + turn) * 2.0).sin() * 50.0
        };
        let v = 110.0 + brighter + wave(1) + wave(2);
        [v as u8, (v * 0.9) as u8, (255.0 - v) as u8 / 2]
    };
    let pixels = (0..width * height).flat_map(pixel).collect();
    Image { width, height, channels: 3, pixels }
}

#[test]
fn pictures_that_look_the_same_in_two_splits_are_found() {
    let dir = TempDir::new("check-near");
    for (split, class, seed) in
        [("train", "a", 1), ("train", "b", 2), ("val", "a", 3), ("val", "b", 4), ("train", "a", 5)]
    {
        let file = format!("{split}/{class}/{seed}.jpg");
        dir.write(&file, &jpeg(&scene(160, 120, seed, 0.0), 90));
    }
    assert_eq!(items(&found(&dir, Depth::Full), Kind::Near, &dir), [""; 0]);
    // Smaller, brighter and packed harder; and one in its own split, which is no matter.
    dir.write("val/a/again.jpg", &jpeg(&scene(120, 90, 1, 12.0), 60));
    dir.write("train/b/again.jpg", &jpeg(&scene(120, 90, 2, 12.0), 60));
    // Empty pictures are all alike and tell nothing.
    dir.write("train/a/white.png", &flat_png(90, 60, [255; 3]));
    dir.write("val/a/white.png", &flat_png(60, 90, [254; 3]));
    let check = found(&dir, Depth::Full);
    assert_eq!(items(&check, Kind::Near, &dir), ["train/a/1.jpg ~ val/a/again.jpg"]);
    assert_eq!(check.severity(), Some(Severity::Warning));
    assert_eq!(found(&dir, Depth::Quick).problems, []);
}

#[test]
fn pictures_that_look_the_same_are_counted_by_picture_not_by_pair() {
    let dir = TempDir::new("check-frames");
    for (split, first) in [("train", 0), ("val", 10)] {
        for n in 0..4 {
            let frame = jpeg(&scene(96, 72, 1, (first + n) as f32), 90);
            dir.write(&format!("{split}/a/{n}.jpg"), &frame);
        }
    }
    let check = found(&dir, Depth::Full);
    let near = items(&check, Kind::Near, &dir);
    for (n, item) in near.iter().enumerate() {
        let found = item.starts_with("train/a/") && item.contains(" and 3 more ~ ");
        assert!(found && item.ends_with(&format!("val/a/{n}.jpg")), "{near:?}");
    }
    let problem = check.problems.iter().find(|problem| problem.kind == Kind::Near).unwrap();
    assert_eq!((near.len(), problem.count), (4, 4));
    assert!(problem.message.starts_with("4 pictures that look like one in another split"));
}
