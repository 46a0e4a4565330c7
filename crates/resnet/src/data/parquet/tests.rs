use super::*;
use crate::data::testing::{TempDir, flat_png};
use crate::data::{Image, OpenOptions, open};
use resnet_formats::parquet::{Row, Writer};

const NAMES: &str = r#"{"info": {"features": {"image": {"_type": "Image"},
    "label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}}}}"#;

/// A table of pictures of one colour: each has a path, its red, and a label.
pub(super) fn table(names: &str, rows: &[(&str, u8, i64)]) -> Vec<u8> {
    let metadata = vec![("huggingface".to_string(), names.to_string())];
    let mut writer = Writer::new(Vec::new(), metadata).unwrap();
    for (path, red, label) in rows {
        let bytes = flat_png(3, 2, [*red, 0, 0]);
        writer.push(&Row { bytes: &bytes, path, label: *label }).unwrap();
    }
    writer.finish().unwrap()
}

fn error(place: &Path) -> String {
    match open(place.to_str().unwrap(), &OpenOptions::default()) {
        Ok(_) => panic!("{} was opened", place.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn rows_keep_their_order_and_classes_their_numbers() {
    let dir = TempDir::new("parquet");
    let first = table(NAMES, &[("x/2.png", 2, 1), ("x/1.png", 1, 0)]);
    dir.write("data/train-00000-of-00002.parquet", &first);
    let second = table(NAMES, &[("3.png", 3, 2), ("", 4, -1), ("/etc/5.png", 5, 1)]);
    dir.write("data/train-00001-of-00002.parquet", &second);
    dir.write("data/test-00000-of-00001.parquet", &table(NAMES, &[("6.png", 6, -1)]));
    let file = dir.write("data/validation-00000-of-00001.parquet", &table(NAMES, &[("", 7, 2)]));
    dir.write("README.md", b"---");
    let splits = open(dir.text(), &OpenOptions::default()).unwrap();
    let train = &splits.train;
    assert_eq!(train.classes(), ["ant", "bee", "cat"]);
    let labels: Vec<u32> = (0..train.len()).map(|index| train.label(index)).collect();
    assert_eq!(labels, [1, 0, 2, 1]);
    let mut image = Image::default();
    for (index, red) in [2, 1, 3, 5].into_iter().enumerate() {
        train.read(index, &mut image).unwrap();
        assert_eq!((image.width, image.height, image.pixels[0]), (3, 2, red));
    }
    let named = |index| train.name(index).rsplit_once(".parquet/").unwrap().1.to_string();
    assert_eq!([named(0), named(2), named(3)], ["x/2.png", "3.png", "5.png"]);
    let test = splits.test.unwrap();
    assert_eq!((splits.test_name.as_str(), test.len(), test.label(0)), ("validation", 1, 2));
    assert!(test.name(0).ends_with(".parquet/row 0"), "{}", test.name(0));
    let said: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    assert!(said.contains("1 of its 3 rows has no label; skipped"), "{said}");
    assert!(said.contains("test-00000-of-00001.parquet: is not used: none of its rows"), "{said}");
    let alone =
        open(file.to_str().unwrap(), &OpenOptions { one_class: true, ..Default::default() });
    assert_eq!(alone.unwrap().train.len(), 1);
}

#[test]
fn an_index_serves_a_repository() {
    let dir = TempDir::new("parquet-index");
    let rows = [("1.png", 1, 0), ("2.png", 2, 1), ("3.png", 3, 1)];
    let file = dir.write("data/train-00000-of-00001.parquet", &table(NAMES, &rows));
    let made = crate::data::index(dir.text()).unwrap();
    assert_eq!(made.file, dir.path().join(".resnet-index"));
    let read = |expected: &[u8]| {
        let splits = open(dir.text(), &OpenOptions::default()).unwrap();
        let mut image = Image::default();
        for (index, red) in expected.iter().enumerate() {
            splits.train.read(index, &mut image).unwrap();
            assert_eq!(image.pixels[0], *red);
        }
        assert_eq!(splits.train.len(), expected.len());
        splits.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let said = read(&[1, 2, 3]);
    assert!(!said.contains("made again"), "{said}");
    std::fs::write(file, table(NAMES, &[("1.png", 9, 0), ("2.png", 8, 1)])).unwrap();
    let said = read(&[9, 8]);
    assert!(said.contains("made again"), "{said}");
}

#[test]
fn class_folders_beside_a_table_are_class_folders() {
    let dir = TempDir::new("parquet-beside");
    dir.write("ant/1.png", &flat_png(3, 3, [1, 2, 3]));
    dir.write("bee/1.png", &flat_png(3, 3, [3, 2, 1]));
    dir.write("notes.parquet", b"PAR1");
    let splits = open(dir.text(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["ant", "bee"]);
}

#[test]
fn what_is_no_table_of_pictures_says_what_to_do() {
    let dir = TempDir::new("parquet-wrong");
    let good = table(NAMES, &[("1.png", 1, 0), ("2.png", 2, 1)]);
    let cut = error(&dir.write("cut.parquet", &good[..good.len() - 1]));
    assert!(cut.contains("cut.parquet: the last bytes: expected `PAR1`, found"), "{cut}");
    let empty = error(&dir.write("empty.parquet", b""));
    assert!(empty.contains("a Parquet file needs 12 bytes, 0 are there"), "{empty}");
    let mut encrypted = good.clone();
    *encrypted.last_mut().unwrap() = b'E';
    let encrypted = error(&dir.write("encrypted.parquet", &encrypted));
    assert!(encrypted.contains("found one that is encrypted; write it without"), "{encrypted}");
    let plain = table("{}", &[("1.png", 1, 0), ("2.png", 2, 1)]);
    let renamed = |from: &str, to: &str| {
        let mut table = plain.clone();
        let end = table.len() - 8;
        for at in 4..end - from.len() {
            if table[at..].starts_with(from.as_bytes()) {
                table[at..at + from.len()].copy_from_slice(to.as_bytes());
            }
        }
        error(&dir.write("renamed.parquet", &table))
    };
    let no_label = renamed("label", "score");
    let part = "expected a column of labels, such as `label`, found columns `image`, `score`; a";
    assert!(no_label.contains(part), "{no_label}");
    let no_picture = renamed("bytes", "sizes");
    assert!(no_picture.contains("expected a column of pictures, such as `image`"), "{no_picture}");
    let others = NAMES.replace("ant", "gnu");
    let folder = TempDir::new("parquet-others");
    folder.write("train-0.parquet", &good);
    folder.write("val-0.parquet", &table(&others, &[("1.png", 1, 0)]));
    let differ = error(folder.path());
    assert!(differ.contains("val-0.parquet: expected the names of classes that"), "{differ}");
    let beyond = error(&dir.write("beyond.parquet", &table(NAMES, &[("", 1, 0), ("", 2, 7)])));
    assert!(
        beyond.contains("expected labels below 3, as it names so many classes, found 7;"),
        "{beyond}"
    );
}

#[test]
fn damaged_files_are_errors_or_other_pictures() {
    let dir = TempDir::new("parquet-damaged");
    let good = table(NAMES, &[("1.png", 1, 0), ("2.png", 2, 1), ("3.png", 3, 2)]);
    for at in (0..good.len()).step_by(3) {
        for change in [1, 0x80, 0xff] {
            let mut file = good.clone();
            file[at] ^= change;
            let place = dir.write("damaged.parquet", &file);
            let Ok(splits) = open(place.to_str().unwrap(), &OpenOptions::default()) else {
                continue;
            };
            let mut image = Image::default();
            for index in 0..splits.train.len() {
                // An error or a picture.
                let _ = splits.train.read(index, &mut image);
            }
        }
    }
}

#[test]
fn compressed_pages_are_kept_for_who_reads_in_order() {
    // Tables that pyarrow wrote, whose pictures are none: only their bytes count.
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../resnet-formats/tests/tables");
    for name in ["none-plain-v1", "snappy-plain-v1", "zstd-dictionary-v2", "groups"] {
        let file = tables.join(format!("{name}.parquet"));
        let listing = list(&file).unwrap();
        let shards = listing.shards.iter();
        let shards = shards.map(|(path, stamp)| (listing.root.join(path), Some(*stamp)));
        let store = pages::Pictures::new(shards.collect());
        let entries = &listing.parts[0].entries;
        let mut found = Vec::new();
        for index in (0..entries.len()).rev().chain(0..entries.len()) {
            let mut bytes = vec![1, 2, 3];
            match super::super::store::Store::fetch(&store, &entries.get(index), &mut bytes) {
                Ok(()) => found.push(String::from_utf8(bytes).unwrap()),
                Err(fault) => found.push(fault.text()),
            }
        }
        let words = ["sixth", "fifth", "first", "second", "first"].map(|word| word.repeat(9));
        let there: Vec<String> = words.iter().chain(words.iter().rev()).cloned().collect();
        assert_eq!(found, there, "{name}");
        let strays: Vec<&str> =
            listing.parts[0].strays.iter().map(|stray| stray.message.as_str()).collect();
        let said = ["1 of its 7 rows has no picture inside", "1 of its 7 rows has no label"];
        assert_eq!(strays, said);
    }
}
