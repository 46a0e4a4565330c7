use resnet_engine::graph::Shape;

use super::super::testing::{TempDir, cases, flat_png, jpeg, pattern, shared};
use super::super::{BadFiles, Dataset, Image, OpenOptions, Splits};

const RED: [u8; 3] = [200, 0, 0];

fn pictures(dir: &TempDir, names: &[&str]) {
    for name in names {
        dir.write(name, &flat_png(4, 4, RED));
    }
}

fn open_dir(dir: &TempDir) -> Result<Splits, String> {
    super::super::open(&format!("folder:{}", dir.text()), &OpenOptions::default())
        .map_err(|error| error.to_string())
}

fn fails(dir: &TempDir) -> String {
    open_dir(dir).err().expect("it was opened")
}

fn names(data: &dyn Dataset, dir: &TempDir) -> Vec<String> {
    let root = format!("{}/", dir.text());
    (0..data.len()).map(|index| data.name(index).replace(&root, "")).collect()
}

fn warnings(splits: &Splits, dir: &TempDir) -> Vec<String> {
    let root = format!("{}/", dir.text());
    splits.warnings.iter().map(|warning| warning.to_string().replace(&root, "")).collect()
}

#[test]
fn classes_and_files_are_sorted() {
    let dir = TempDir::new("sorted");
    pictures(
        &dir,
        &["train/b/2.png", "train/b/10.png", "train/a/deep/er/x.png", "train/a/z.jpg", "train/B/1"],
    );
    pictures(
        &dir,
        &["val/b/1.png", "val/a/1.png", "val/B/1.png", "train/.hidden/1.png", "train/a/.x.png"],
    );
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.classes(), ["B", "a", "b"]);
    let files =
        ["train/B/1", "train/a/deep/er/x.png", "train/a/z.jpg", "train/b/10.png", "train/b/2.png"];
    assert_eq!(names(splits.train.as_ref(), &dir), files);
    let labels: Vec<u32> = (0..5).map(|index| splits.train.label(index)).collect();
    assert_eq!(labels, [0, 1, 1, 2, 2]);
    assert_eq!(splits.train.shape(), Some(Shape::new(3, 4, 4)));
    assert_eq!((splits.test_name.as_str(), splits.val.is_none()), ("val", true));
    assert_eq!(splits.test.as_ref().unwrap().len(), 3);
    assert_eq!(warnings(&splits, &dir), [""; 0]);
    let mut image = Image::default();
    splits.train.read(4, &mut image).unwrap();
    assert_eq!(image.pixels, RED.repeat(16));
}

#[test]
fn second_splits_have_many_names() {
    for name in ["val", "valid", "validation", "test", "Val", "dev", "eval", "holdout", "Test_Set"]
    {
        let dir = TempDir::new("names");
        pictures(&dir, &["train/a/1", "train/b/1", &format!("{name}/a/1"), &format!("{name}/b/1")]);
        let splits = open_dir(&dir).unwrap();
        assert_eq!(splits.test_name, name);
        assert_eq!(splits.test.unwrap().len(), 2);
        assert!(splits.val.is_none());
    }
    let dir = TempDir::new("three");
    pictures(
        &dir,
        &[
            "train/a/1",
            "train/b/1",
            "valid/a/1",
            "valid/b/1",
            "validation/a/1",
            "test/a/1",
            "test/b/1",
            "test/b/2",
        ],
    );
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.test_name, "test");
    assert_eq!((splits.test.as_ref().unwrap().len(), splits.val.as_ref().unwrap().len()), (3, 2));
    assert_eq!(warnings(&splits, &dir), ["validation: is not used, as there is valid/ too"]);
}

#[test]
fn a_single_split_is_enough() {
    let dir = TempDir::new("single");
    pictures(&dir, &["cats/1.png", "dogs/1.png", "dogs/2.png"]);
    let splits = super::super::open(dir.text(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["cats", "dogs"]);
    assert!(splits.test.is_none() && splits.val.is_none());
}

#[test]
fn splits_must_agree_on_classes() {
    let dir = TempDir::new("agree");
    pictures(&dir, &["train/ants/1", "train/bees/1", "train/wasps/1", "val/bees/1", "val/wasps/1"]);
    let splits = open_dir(&dir).unwrap();
    assert_eq!(
        warnings(&splits, &dir),
        ["val: has no pictures of class `ants`, which is in train/"]
    );
    // The labels are those of train/, although val/ lacks the first class.
    assert_eq!(splits.test.as_ref().unwrap().label(0), 1);
    pictures(&dir, &["val/Wasps/1"]);
    let error = fails(&dir);
    assert!(error.contains("val: class `Wasps` is not among the 3 classes of train/"), "{error}");
    assert!(error.contains("rename it, if `wasps` is meant"), "{error}");
}

#[test]
fn folders_without_use_are_refused() {
    let dir = TempDir::new("useless");
    assert!(fails(&dir).contains("expected a folder for each class, found an empty folder"));
    pictures(&dir, &["loose.png"]);
    assert!(fails(&dir).contains("found loose.png"));
    pictures(&dir, &["val/a/1", "val/b/1"]);
    assert!(fails(&dir).contains("expected train/ beside val/"));
    pictures(&dir, &["train/a/1"]);
    std::fs::remove_dir_all(dir.path().join("val/b")).unwrap();
    assert!(fails(&dir).contains("all 1 training pictures are of the class `a`"));
    std::fs::create_dir_all(dir.path().join("train/b")).unwrap();
    assert!(fails(&dir).contains("train/b: expected pictures, found an empty folder"));
    dir.write("train/b/note.txt", b"hello");
    let error = fails(&dir);
    assert!(
        error.contains("found only files that cannot be used")
            && error.contains("note.txt is not a JPEG"),
        "{error}"
    );

    let nested = TempDir::new("nested");
    pictures(&nested, &["set/train/a/1", "set/train/b/1"]);
    assert!(fails(&nested).contains("set, which has train/; name that folder"));
}

#[test]
fn a_second_split_under_another_name_is_used() {
    for (train, second) in [
        ("Train", "Val"),
        ("training", "testing"),
        ("training_set", "test_set"),
        ("TRAIN", "Validation"),
        ("train", "holdout"),
    ] {
        let dir = TempDir::new("other-names");
        let class = |split: &str, class: &str| format!("{split}/{class}/1");
        let files = [class(train, "a"), class(train, "b"), class(second, "a"), class(second, "b")];
        pictures(&dir, &files.each_ref().map(String::as_str));
        let splits = open_dir(&dir).unwrap();
        assert_eq!(splits.train.classes(), ["a", "b"], "{train}");
        assert_eq!((splits.test_name.as_str(), splits.test.as_ref().unwrap().len()), (second, 2));
        assert_eq!(warnings(&splits, &dir), [""; 0]);
        let part = |name| splits.part(name).map(|(name, _)| name);
        assert_eq!(part("train").as_deref(), Some("train"));
        assert_eq!(part(second).as_deref(), Some(second));
        assert_eq!(part("val").is_some(), second.to_lowercase().starts_with("val"), "{second}");
    }
}

#[test]
fn the_cases_of_other_names_are_opened() {
    let Some(cases) = cases("splits") else { return };
    for (case, name) in
        [("train-Val", "Val"), ("training-testing", "testing"), ("train-holdout", "holdout")]
    {
        let source = cases.join(case).display().to_string();
        let splits = super::super::open(&source, &OpenOptions::default()).unwrap();
        assert_eq!(splits.train.classes(), ["cat", "dog"], "{case}");
        let sizes = (splits.train.len(), splits.test.as_ref().unwrap().len());
        assert_eq!((sizes, splits.test_name.as_str()), ((12, 12), name), "{case}");
    }
}

#[test]
fn splits_of_unknown_names_are_refused_or_named() {
    let dir = TempDir::new("unknown");
    pictures(&dir, &["train/a/1", "train/b/1", "mine/a/1", "mine/b/1", "notes/1.txt"]);
    let error = fails(&dir);
    assert!(error.contains("a second split called val/, valid/, validation/, dev/"), "{error}");
    assert!(error.contains("mine holds classes of train/"), "{error}");
    pictures(&dir, &["val/a/1", "val/b/1"]);
    let found = warnings(&open_dir(&dir).unwrap(), &dir);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("mine: is not used: splits are called train/"), "{found:?}");
    assert!(found[1].starts_with("notes: is not used"), "{found:?}");
    let only = TempDir::new("years");
    pictures(&only, &["train2017/a/1", "train2017/b/1", "val2017/a/1", "val2017/b/1"]);
    assert!(fails(&only).contains("train2017 and val2017 hold the same folders"));
}

#[test]
fn a_class_may_have_the_name_of_a_split() {
    let dir = TempDir::new("vehicles");
    pictures(&dir, &["bus/1", "car/1", "train/1"]);
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.classes(), ["bus", "car", "train"]);
    assert!(warnings(&splits, &dir)[0].starts_with("train: is taken for a class"));
    let two = TempDir::new("two");
    pictures(&two, &["good/1", "test/1"]);
    assert!(fails(&two).contains("a class of this name needs another"), "{}", fails(&two));
}

#[test]
fn a_letter_with_an_accent_is_one_name_however_it_is_written() {
    let dir = TempDir::new("accents");
    pictures(&dir, &["train/cafe\u{301}/1", "train/the/1", "val/caf\u{e9}/1", "val/the/1"]);
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.classes(), ["caf\u{e9}", "the"]);
    assert_eq!(splits.test.as_ref().unwrap().label(0), 0);
    let listed = ["the".to_string(), "cafe\u{301}".to_string()];
    let seen = super::super::with_classes(splits.train, &listed).unwrap();
    assert_eq!((seen.label(0), seen.label(1)), (1, 0));
    // Linux can hold both.
    pictures(&dir, &["train/caf\u{e9}/2"]);
    assert!(fails(&dir).contains("two called `caf\u{e9}`"), "{}", fails(&dir));
}

#[test]
fn one_picture_of_another_size_does_not_change_how_all_are_read() {
    let dir = TempDir::new("odd-size");
    for n in 0..10 {
        dir.write(&format!("train/a/{n}.png"), &flat_png(32, 32, [n, 0, 0]));
        dir.write(&format!("train/b/{n}.png"), &flat_png(32, 32, [0, n, 0]));
        dir.write(&format!("val/a/{n}.png"), &flat_png(32, 32, [0, 0, n]));
    }
    dir.write("train/a/odd.png", &flat_png(48, 40, RED));
    dir.write("val/b/odd.png", &flat_png(20, 20, RED));
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.shape(), Some(Shape::new(3, 32, 32)));
    assert_eq!(splits.train.sizes(), None);
    let found = warnings(&splits, &dir);
    assert_eq!(
        found,
        [
            "train: 1 of 21 pictures is not 32 x 32 pixels as the others (but 48 x 40, say); it is resized to cover that",
            "val: 1 of 11 pictures is not 32 x 32 pixels as the training pictures (but 20 x 20, say); it is resized to cover that",
        ]
    );
    // Where sizes are many, or the pictures photos, each is resized.
    for n in 0..3 {
        dir.write(&format!("train/b/odd{n}.png"), &flat_png(48, 40 + n, RED));
    }
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.shape(), None);
    assert_eq!(splits.train.sizes().as_deref(), Some("32 x 32 to 48 x 42 pixels"));
}

#[test]
fn bad_files_are_named() {
    let dir = TempDir::new("bad");
    pictures(&dir, &["train/a/good.png", "train/b/good.png"]);
    dir.write("train/a/empty.jpg", b"");
    dir.write("train/b/cut.jpg", &jpeg(&pattern(9, 9, 3), 80)[..200]);
    dir.write("train/list.csv", b"a,b");
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.len(), 2);
    let found = warnings(&splits, &dir);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], "train/list.csv: lies beside the class folders; skipped");
    assert_eq!(found[1], "train/a/empty.jpg: is empty (0 bytes); skipped");
    assert!(found[2].starts_with("train/b/cut.jpg: is cut off"), "{}", found[2]);

    let refuse = OpenOptions { bad_files: BadFiles::Refuse, ..OpenOptions::default() };
    let error = super::super::open(dir.text(), &refuse).err().unwrap().to_string();
    assert!(
        error.starts_with("3 of the files cannot be used: ")
            && error.contains("empty.jpg is empty"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_in_circles() {
    use std::os::unix::fs::symlink;
    let dir = TempDir::new("links");
    pictures(&dir, &["real/1.png", "a/1.png"]);
    symlink(dir.path(), dir.path().join("a/up")).unwrap();
    symlink(dir.path().join("a/1.png"), dir.path().join("a/2.png")).unwrap();
    symlink(dir.path().join("gone"), dir.path().join("a/3.png")).unwrap();
    symlink(dir.path().join("real"), dir.path().join("b")).unwrap();
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.classes(), ["a", "b", "real"]);
    assert_eq!(names(splits.train.as_ref(), &dir), ["a/1.png", "a/2.png", "b/1.png", "real/1.png"]);
    let found = warnings(&splits, &dir);
    assert!(found[0].starts_with("a/3.png: is a link to "), "{}", found[0]);
    assert!(found[0].ends_with("gone, which is not there; skipped"), "{}", found[0]);
    assert_eq!(found[1], "a/up: is a link to a folder that holds it; skipped");
}

#[test]
fn a_shape_is_only_claimed_for_all() {
    let dir = TempDir::new("shape");
    dir.write("a/1", &flat_png(6, 4, RED));
    dir.write("b/1", &flat_png(6, 4, RED));
    assert_eq!(open_dir(&dir).unwrap().train.shape(), Some(Shape::new(3, 4, 6)));
    dir.write("b/2", &flat_png(4, 6, RED));
    assert_eq!(open_dir(&dir).unwrap().train.shape(), None);
}

#[test]
fn a_lone_gif_is_a_placeholder() {
    let gif = |color: [u8; 3]| {
        let mut file = Vec::new();
        image::codecs::gif::GifEncoder::new(&mut file)
            .encode(&color.repeat(4), 2, 2, image::ExtendedColorType::Rgb8)
            .unwrap();
        file
    };
    let dir = TempDir::new("gif");
    dir.write("a/1.gif", &gif(RED));
    dir.write("b/1.gif", &gif(RED));
    assert_eq!(open_dir(&dir).unwrap().train.len(), 2);
    std::fs::remove_file(dir.path().join("b/1.gif")).unwrap();
    for number in 0..60 {
        pictures(&dir, &[&format!("a/{number}.png"), &format!("b/{number}.png")]);
    }
    let splits = open_dir(&dir).unwrap();
    assert_eq!(splits.train.len(), 120);
    assert!(
        warnings(&splits, &dir)[0]
            .starts_with("a/1.gif: is a GIF, one of 1 among 120 other pictures")
    );
}

#[test]
fn real_photos_with_a_stray_file() {
    let Some(folder) = shared("hymenoptera") else {
        return;
    };
    let splits = super::super::open(folder.to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["ants", "bees"]);
    assert_eq!((splits.train.len(), splits.test.as_ref().unwrap().len()), (244, 153));
    assert_eq!(splits.train.shape(), None);
    assert_eq!(splits.warnings.len(), 1);
    assert!(splits.warnings[0].to_string().contains("train/ants/imageNotFound.gif: is a GIF"));
    let mut image = Image::default();
    for index in 0..10 {
        splits.train.read(index * 24, &mut image).unwrap();
        assert_eq!(image.pixels.len(), image.width * image.height * 3);
    }
    let refuse = OpenOptions { bad_files: BadFiles::Refuse, ..OpenOptions::default() };
    let error = super::super::open(folder.to_str().unwrap(), &refuse).err().unwrap().to_string();
    assert!(
        error.contains("1 of the files cannot be used") && error.contains("imageNotFound.gif"),
        "{error}"
    );
}
