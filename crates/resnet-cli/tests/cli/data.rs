//! `data split`, `data stats` and `data preview`.

use std::fs;

use crate::support::{Folder, Outcome, png};

/// 40 dark and 20 light pictures of 20 x 20 pixels in `photos`, the shots of four scenes each.
fn photos() -> Folder {
    let folder = Folder::new();
    for (class, count, grey) in [("dark", 40u8, 10), ("light", 20, 200)] {
        for number in 0..count {
            let name = format!("photos/{class}/{class}{}_{number:02}.png", number % 10);
            folder.write(&name, &png(20, 20, grey + number));
        }
    }
    folder
}

fn refused(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, code, "{}", outcome.err);
    for word in words {
        assert!(outcome.err.contains(word), "{word} in {}", outcome.err);
    }
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
}

fn lines(folder: &Folder, list: &str) -> Vec<String> {
    fs::read_to_string(folder.path(list)).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn split_writes_a_list_and_moves_nothing() {
    let folder = photos();
    let told = folder.ok(&["data", "split", "photos", "--test", "25%", "--out", "lists/a.csv"]);
    assert!(told.out.contains("test          15 pictures (25.0 %), 5 to 10 of each class"));
    assert!(told.out.contains("dark          30         10"), "{}", told.out);
    assert!(told.err.contains("list    lists/a.csv"), "{}", told.err);
    let list = lines(&folder, "lists/a.csv");
    assert_eq!((list.len(), list[0].as_str()), (61, "path,label,split"));
    assert!(list[1].starts_with("../photos/dark/dark0_00.png,dark,t"), "{}", list[1]);
    assert_eq!(list.iter().filter(|line| line.ends_with(",test")).count(), 15);
    assert!(folder.path("photos/dark/dark0_00.png").exists());

    // The list is data, in which no picture is twice.
    let checked = folder.ok(&["data", "check", "lists/a.csv", "--json"]);
    assert_eq!(checked.json()[0]["splits"][1]["images"], 15);
    let stats = folder.ok(&["data", "stats", "lists/a.csv", "--json"]);
    assert_eq!(stats.json()[0]["splits"][1]["classes"][0]["images"], 10);
    let more = ["data", "split", "lists/a.csv", "--val", "20%", "--out", "lists/three.csv"];
    folder.ok(&more);
    let three = lines(&folder, "lists/three.csv");
    let tests = |list: &[String]| -> Vec<String> {
        list.iter().filter(|line| line.ends_with(",test")).cloned().collect()
    };
    assert_eq!(tests(&list), tests(&three));

    // 10 % to choose by, where nothing is asked for; the same again is no other list.
    let usual = ["data", "split", "photos", "--out", "b.csv"];
    let found = &folder.ok(&[&usual[..], &["--json"]].concat()).json()[0];
    assert_eq!(found["parts"][1]["split"], "val");
    assert_eq!(found["parts"][1]["images"], 6);
    assert_eq!((&found["list"], &found["seed"]), (&"b.csv".into(), &0.into()));
    folder.ok(&usual);
    let other = [&usual[..], &["--seed", "1"]].concat();
    refused(&folder.run(&other), 1, &["b.csv is there and holds something else", "--replace"]);
    let before = lines(&folder, "b.csv");
    folder.ok(&[&other[..], &["--replace"]].concat());
    assert_ne!(before, lines(&folder, "b.csv"));
}

#[test]
fn split_keeps_groups_together() {
    let folder = photos();
    let words = ["data", "split", "photos", "--val", "0.3", "--group-by", "prefix:_"];
    let told = folder.ok(&[&words[..], &["--out", "list.csv", "--json"]].concat());
    assert_eq!(told.json()[0]["groups"], 20);
    let list = lines(&folder, "list.csv");
    let part = |scene: &str| -> Vec<bool> {
        let of_scene = list.iter().filter(|line| line.contains(&format!("/{scene}_")));
        of_scene.map(|line| line.ends_with(",val")).collect()
    };
    let mut in_val = 0;
    for scene in (0..10).flat_map(|n| [format!("dark{n}"), format!("light{n}")]) {
        let parts = part(&scene);
        assert!(parts.len() > 1 && parts.iter().all(|part| *part == parts[0]), "{scene}");
        in_val += usize::from(parts[0]);
    }
    assert_eq!(in_val, 6);
}

/// A tar file with one member.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    let size = format!("{:011o}", bytes.len());
    for (at, text) in [(100, "0000644"), (124, &size), (148, "        "), (156, "0")] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut file = [&block[..], bytes].concat();
    file.resize(file.len().div_ceil(512) * 512 + 1024, 0);
    file
}

#[test]
fn split_refuses_what_makes_no_sense() {
    let folder = photos();
    folder.digits(20, 8, 4);
    folder.write("shards.tar", &tar("cats/1.png", &png(4, 4, 9)));
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["photos", "--val", "20"], 2, &["--val", "write 20%"]),
        (&["photos", "--val", "60%", "--test", "0.4"], 2, &["no pictures for training"]),
        (&["photos", "--group-by", "patient"], 2, &["prefix:SEP"]),
        (&["photos", "--group-by", "folder"], 1, &["nothing to group by"]),
        (&["photos", "--group-by", "column:patient"], 1, &["is no list"]),
        (&["mnist:digits"], 1, &["no files of their own"]),
        (&["shards.tar"], 1, &["no files of their own"]),
        (&["nowhere"], 1, &["nowhere"]),
    ];
    for (words, code, told) in cases {
        let words = [&["data", "split"], *words, &["--out", "list.csv"]].concat();
        refused(&folder.run(&words), *code, told);
    }
    assert!(!folder.path("list.csv").exists());
    assert_eq!(folder.run(&["data", "split", "photos"]).code, 2, "--out is required");
    folder.write("is/a/file", b"");
    let words = ["data", "split", "photos", "--out", "is/a/file/list.csv"];
    refused(&folder.run(&words), 1, &["cannot write is/a/file/list.csv"]);
}

#[test]
fn stats_say_what_there_is() {
    let folder = photos();
    folder.write("photos/dark/notes.txt", b"no picture");
    folder.write("photos/light/wide.png", &png(40, 10, 0));
    let told = folder.ok(&["data", "stats", "photos"]).out;
    for text in [
        "all             61 pictures of 2 classes, 21 to 40 each",
        "1 not usable",
        "width           20        20        40",
        "sizes    20 x 20 (60), 40 x 10 (1)",
        "shapes   1 wider than high, 60 square, 0 higher than wide",
        "formats  PNG (61, ",
        "grey     61 of 61 pictures that were decoded",
    ] {
        assert!(told.contains(text), "{text} in {told}");
    }
    let words = ["data", "stats", "photos", "--sample", "10", "--json", "--out", "page.html"];
    let outcome = folder.ok(&[&words[..], &["--sheet", "sheet.png"]].concat());
    let found = &outcome.json()[0];
    assert_eq!((&found["images"], &found["decoded"]), (&61.into(), &10.into()));
    assert_eq!(found["splits"][0]["classes"][1]["images"], 21);
    assert_eq!(found["sizes"]["common"][0]["images"], 60);
    assert!(outcome.err.contains("rows from the top: dark, light"), "{}", outcome.err);
    let page = fs::read_to_string(folder.path("page.html")).unwrap();
    assert!(
        page.contains("resnet data stats photos --sample 10") && page.contains("light0_10.png")
    );
    assert!(fs::read(folder.path("sheet.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(folder.ok(&["data", "stats", "builtin", "--sample", "50"]).out.contains("28 x 28"));
    refused(&folder.run(&["data", "stats", "photos", "--sample", "0"]), 2, &["at least 1"]);
    refused(&folder.run(&["data", "stats", "photos", "--sample", "most"]), 2, &["or all"]);
    refused(&folder.run(&["data", "stats", "nowhere"]), 1, &["nowhere"]);
}

#[test]
fn preview_shows_the_inputs_of_a_recipe() {
    let folder = photos();
    let page = |more: &[&str]| {
        let words = ["data", "preview", "photos", "--pictures", "2", "--out", "page.html"];
        folder.ok(&[&words[..], &["batch=4"], more].concat());
        fs::read_to_string(folder.path("page.html")).unwrap()
    };
    let plain = page(&[]);
    assert_eq!(plain.matches(">epoch 4<").count(), 2);
    assert!(!plain.contains("epoch 5") && plain.contains(">evaluation<"));
    assert_eq!(plain, page(&[]), "the same inputs each time");
    let other = page(&["--seed", "5", "augment.mixup=1", "--show-epochs", "2"]);
    assert!(other.contains("Beta(1, 1)") && !other.contains("epoch 3"));
    let wrong = |more: &[&str]| {
        let words = ["data", "preview", "photos", "--out", "other.html"];
        folder.run(&[&words[..], more].concat())
    };
    refused(&wrong(&["fliip=true"]), 2, &["fliip", "flip"]);
    refused(&wrong(&["batch=5000"]), 1, &["5000"]);
    refused(&wrong(&["--pictures", "0"]), 2, &["--pictures"]);
    refused(&folder.run(&["data", "preview", "nowhere", "--out", "p.html"]), 1, &["nowhere"]);
    assert!(!folder.path("other.html").exists());
}

#[test]
fn help_is_short() {
    let folder = Folder::new();
    for verb in ["split", "stats", "preview"] {
        let help = folder.ok(&["data", verb, "--help"]).out;
        assert!(help.lines().count() <= 50, "{verb}: {} lines", help.lines().count());
        assert!(help.contains(&format!("resnet data {verb} ")), "{help}");
    }
}
