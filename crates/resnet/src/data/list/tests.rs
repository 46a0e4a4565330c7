use super::super::testing::{TempDir, flat_png};
use super::super::{BadFiles, Dataset, OpenOptions, Splits};

fn pictures(dir: &TempDir, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        dir.write(name, &flat_png(4, 4, [n as u8, 0, 0]));
    }
}

fn open(dir: &TempDir, name: &str) -> Result<Splits, String> {
    let place = dir.path().join(name);
    super::super::open(place.to_str().unwrap(), &OpenOptions::default())
        .map_err(|error| error.to_string().replace(dir.text(), ""))
}

fn of(dir: &TempDir, name: &str, text: &str) -> Result<Splits, String> {
    dir.write(name, text.as_bytes());
    open(dir, name)
}

fn rows(data: &dyn Dataset, dir: &TempDir) -> Vec<(String, u32)> {
    let root = format!("{}/", dir.text());
    (0..data.len()).map(|i| (data.name(i).replace(&root, ""), data.label(i))).collect()
}

fn labelled(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
    rows.iter().map(|(name, label)| (name.to_string(), *label)).collect()
}

#[test]
fn rows_are_sorted_as_a_folder_is() {
    let dir = TempDir::new("list-sorted");
    let files = ["p/b/1.png", "p/b/10.png", "p/a/deep/1.png", "p/a/deep.png", "p/c d/é.png"];
    pictures(&dir, &files);
    let expected =
        super::super::open(dir.path().join("p").to_str().unwrap(), &OpenOptions::default());
    let expected = expected.unwrap().train;
    let texts = [
        (
            "x.csv",
            "label,file_name\na,p/a/deep/1.png\nb,p/b/1.png\nc d,\"p/c d/é.png\"\nb,p/b/10.png\na,p/a/deep.png\n",
        ),
        (
            "x.tsv",
            "Image Path\tClass\r\np\\b\\1.png\tb\r\np/b/10.png\tb\r\n./p/a/deep/1.png\ta\r\np/a/deep.png\ta\r\np/c d/é.png\t c d \r\n",
        ),
        (
            "x.txt",
            "p/b/1.png b\np/b/10.png b\np/a/deep.png a\np/a/deep/1.png a\n\"p/c d/é.png\" \"c d\"\n",
        ),
        (
            "y.csv",
            "\u{feff}image;target\np/b/1.png;b\np/b/10.png;b\np/a/deep.png;a\np/a/deep/1.png;a\np/c d/é.png;c d",
        ),
        (
            "x.jsonl",
            "{\"file\": \"p/b/1.png\", \"label\": \"b\"}\n\n{\"label\": \"b\", \"file\": \"p/b/10.png\"}\n{\"file\": \"p/a/deep.png\", \"label\": \"a\"}\n{\"file\": \"p/a/deep/1.png\", \"label\": \"a\"}\n{\"file\": \"p/c d/\\u00e9.png\", \"label\": \"c d\"}\n",
        ),
    ];
    for (name, text) in texts {
        let splits = of(&dir, name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(splits.train.classes(), ["a", "b", "c d"], "{name}");
        assert_eq!(rows(splits.train.as_ref(), &dir), rows(expected.as_ref(), &dir), "{name}");
        assert_eq!(splits.warnings, [], "{name}");
    }
}

#[test]
fn labels_may_be_numbers_with_names_beside() {
    let dir = TempDir::new("list-numbers");
    pictures(&dir, &["1.png", "2.png", "3.png", "4.png"]);
    let text = "path,label,split\n1.png,10,train\n2.png,2,train\n3.png,0,train\n4.png,2,valid\n";
    let splits = of(&dir, "n.csv", text).unwrap();
    assert_eq!(splits.train.classes().len(), 11);
    let expected = labelled(&[("3.png", 0), ("2.png", 2), ("1.png", 10)]);
    assert_eq!(rows(splits.train.as_ref(), &dir), expected);
    assert_eq!((splits.test_name.as_str(), splits.test.as_ref().unwrap().label(0)), ("valid", 2));
    let told: Vec<String> = splits.warnings.iter().map(|w| w.message.clone()).collect();
    assert!(
        told[0].starts_with("no training picture has the label 1, 3, 4, 5, 6, ..."),
        "{told:?}"
    );
    // A model without names of classes takes the numbers as they are, past the tenth too.
    let numbered = super::super::with_numbers(splits.train.clone(), 100).unwrap();
    assert_eq!(numbered.label(2), 10);
    dir.write("classes.txt", b"zero\none\ntwo\n3\n4\n5\n6\n7\n8\n9\nten\n");
    let splits = open(&dir, "n.csv").unwrap();
    assert_eq!(splits.train.classes()[10], "ten");
    assert_eq!(rows(splits.train.as_ref(), &dir), expected);
    dir.write("classes.txt", b"zero\none\n");
    let error = open(&dir, "n.csv").err().unwrap();
    assert!(error.contains("classes.txt: expected the name of every class"), "{error}");
    // The same names as labels: their order is the file's.
    dir.write("classes.txt", b"two\none\n");
    let splits = of(&dir, "t.csv", "path,label\n1.png,one\n2.png,two\n").unwrap();
    assert_eq!(rows(splits.train.as_ref(), &dir), labelled(&[("2.png", 0), ("1.png", 1)]));
    // Numbers so far apart are names.
    std::fs::remove_file(dir.path().join("classes.txt")).unwrap();
    let splits = of(&dir, "w.csv", "path,label\n1.png,4294967295\n2.png,2084071\n").unwrap();
    assert_eq!(splits.train.classes(), ["2084071", "4294967295"]);
}

#[test]
fn a_folder_may_hold_its_lists() {
    let dir = TempDir::new("list-folder");
    pictures(&dir, &["train/1.png", "train/2.png", "test/3.png"]);
    dir.write("train/metadata.csv", b"file_name,label\n1.png,a\n2.png,b\n");
    dir.write("test/metadata.jsonl", b"{\"file_name\": \"3.png\", \"label\": \"b\"}\n");
    let splits = open(&dir, "").unwrap();
    let train = labelled(&[("train/1.png", 0), ("train/2.png", 1)]);
    assert_eq!(rows(splits.train.as_ref(), &dir), train);
    assert_eq!(rows(splits.test.unwrap().as_ref(), &dir), labelled(&[("test/3.png", 1)]));
    // Captions are no labels: then the folders are classes.
    let dir = TempDir::new("list-captions");
    pictures(&dir, &["a/1.png", "b/2.png"]);
    dir.write("metadata.csv", b"file_name,text\na/1.png,a cat\n");
    assert_eq!(open(&dir, "").unwrap().train.classes(), ["a", "b"]);
    let dir = TempDir::new("list-kaggle");
    pictures(&dir, &["1.png", "2.png", "3.png"]);
    dir.write("train.csv", b"image,label\n1.png,x\n2.png,y\n");
    dir.write("val.csv", b"image,label\n3.png,y\n");
    let splits = open(&dir, "").unwrap();
    assert_eq!((splits.train.len(), splits.test.unwrap().len()), (2, 1));
}

#[test]
fn bad_rows_and_files_are_named() {
    let dir = TempDir::new("list-bad");
    pictures(&dir, &["1.png", "2.png"]);
    let text = "path,label,split\n1.png,a,train\n2.png,b,train\n3.png,b,train\n,b,train\n1.png,,train\n1.png,a,7\n";
    let splits = of(&dir, "bad.csv", text).unwrap();
    let root = format!("{}/", dir.text());
    let told: Vec<String> =
        splits.warnings.iter().map(|w| w.to_string().replace(&root, "")).collect();
    let expected = [
        "bad.csv: line 5 has no path; skipped",
        "bad.csv: line 6 has no label, or none in UTF-8; skipped",
        "bad.csv: line 7 names no split: they are train, val, test; skipped",
    ];
    assert_eq!(told[..3], expected);
    assert!(told[3].starts_with("3.png: cannot be read: "), "{told:?}");
    let refuse = OpenOptions { bad_files: BadFiles::Refuse, ..OpenOptions::default() };
    let place = dir.path().join("bad.csv");
    let error = super::super::open(place.to_str().unwrap(), &refuse).err().unwrap();
    assert!(error.to_string().starts_with("4 of the files cannot be used"), "{error}");
    let found = super::super::check::check(
        place.to_str().unwrap(),
        super::super::check::Depth::Full,
        &|_| {},
    );
    assert_eq!(found.unwrap().splits[0].images, 2);
}

#[test]
fn lists_without_use_are_refused() {
    let dir = TempDir::new("list-useless");
    pictures(&dir, &["1.png"]);
    let fails = |name: &str, text: &str| of(&dir, name, text).err().unwrap();
    for (name, text, part) in [
        ("e.csv", "", "expected rows, found none"),
        ("h.csv", "path,label\n", "expected rows, found none"),
        ("c.csv", "path,colour\n1.png,red\n", "expected a column of labels, found path, colour"),
        ("d.csv", "id,label\n1,red\n", "expected a column of paths, found id, label"),
        (
            "v.csv",
            "path,label,split\n1.png,a,val\n",
            "rows of train/, training/ beside those of val",
        ),
        (
            "q.csv",
            &format!("path,label\n\"1.png,{}", "x".repeat(1 << 19)),
            "from line 2 on; is there a",
        ),
        ("l.jsonl", &"x".repeat(1 << 19), "a longer one from line 1 on"),
        ("j.jsonl", "{\"path\": \"1.png\", \"label\": \"a\"}\n[1]\n", "another value in line 2"),
        ("k.jsonl", "{\"path\": 1\n", "expected a JSON object a line"),
        ("o.csv", "path,label\n1.png,a\n", "all 1 training pictures are of the class `a`"),
        ("n.csv", "path,label\n7.png,a\n1.png,b\n", "expected pictures of class `a`, found only"),
    ] {
        let error = fails(name, text);
        assert!(error.contains(part), "{name}: {error}");
    }
    dir.write("u.csv", b"\xff\xfep\0a\0");
    assert!(open(&dir, "u.csv").err().unwrap().contains("found one in UTF-16"));
}
