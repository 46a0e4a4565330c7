use super::super::testing::{TempDir, flat_png, jpeg, pattern, shared};
use super::*;

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
    for name in ["val", "valid", "validation", "test"] {
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
fn splits_in_capitals_are_not_classes() {
    let dir = TempDir::new("capitals");
    pictures(&dir, &["Train/a/1", "Train/b/1", "Val/a/1", "Val/b/1"]);
    assert!(fails(&dir).contains("expected train/ in lower case"));
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

    let refuse = OpenOptions { bad_files: BadFiles::Refuse };
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
    assert_eq!(found[0], "a/up: is a link to a folder; skipped");
    assert!(found[1].starts_with("a/3.png: cannot be read"), "{}", found[1]);
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
    let refuse = OpenOptions { bad_files: BadFiles::Refuse };
    let error = super::super::open(folder.to_str().unwrap(), &refuse).err().unwrap().to_string();
    assert!(
        error.contains("1 of the files cannot be used") && error.contains("imageNotFound.gif"),
        "{error}"
    );
}
