//! Pictures named by lists, and their index.

use std::fs;

use crate::support::{Folder, png};
use crate::wrong_input::refused;

/// Pictures of two classes, dark and light, and a list of them.
fn listed() -> Folder {
    let folder = Folder::new();
    let mut rows = String::from("file_name,label,split\n");
    for (class, grey) in [("dark", 20), ("light", 200)] {
        for n in 0..6u8 {
            for (split, more) in [("train", 0), ("val", 9)] {
                let name = format!("photos/{split}-{class}-{n}.png");
                folder.write(&name, &png(12, 12, grey + more + n));
                rows += &format!("{name},{class},{split}\n");
            }
        }
    }
    folder.write("labels.csv", rows.as_bytes());
    folder
}

#[test]
fn a_list_is_trained_on_and_a_run_goes_on_from_its_index() {
    let folder = listed();
    let args = ["train", "resnet8", "--data", "labels.csv", "--epochs", "1", "--batch", "4"];
    let told = folder.ok(&[&args[..], &["--out", "run"]].concat()).err;
    assert!(told.contains("12 images, tested on 12"), "{told}");
    let made = folder.ok(&["data", "index", "labels.csv"]).out;
    assert!(made.contains("train         12 pictures"), "{made}");
    assert!(made.contains("wrote labels.csv.resnet-index"), "{made}");
    let json = folder.ok(&["data", "index", "labels.csv", "--json"]).json();
    assert_eq!(json[0]["splits"]["val"], 12);
    // The fingerprint of the data is that of before, which no picture was looked at for.
    folder.ok(&["train", "--resume", "run", "--epochs", "2"]);
    let shown = folder.ok(&["eval", "run", "--data", "list:labels.csv"]).out;
    assert!(shown.contains("(val, 12 images)"), "{shown}");
    // A file that is another than the index says ends what reads it.
    folder.write("photos/val-dark-3.png", &png(13, 12, 7));
    let changed = folder.run(&["eval", "run"]);
    refused(&changed, 1, &["val-dark-3.png: was changed since", "resnet data index"]);
    folder.ok(&["data", "index", "labels.csv"]);
    folder.ok(&["eval", "run"]);
    // A list that changed is read again.
    let rows = fs::read_to_string(folder.path("labels.csv")).unwrap();
    folder.write("labels.csv", rows.replace("photos/val-dark-3.png,dark,val\n", "").as_bytes());
    let told = folder.ok(&["eval", "run", "--data", "labels.csv"]);
    assert!(told.err.contains("labels.csv has changed since; it was made again"), "{}", told.err);
    assert!(told.out.contains("(val, 11 images)"), "{}", told.out);
}

#[test]
fn what_cannot_be_indexed_or_read_is_told() {
    let folder = listed();
    refused(&folder.run(&["data", "index", "builtin"]), 1, &["builtin needs no index"]);
    refused(&folder.run(&["data", "index", "nowhere.csv"]), 1, &["nowhere.csv"]);
    folder.write("x.tfrecord", b"x");
    let told = folder.run(&["data", "check", "x.tfrecord"]);
    refused(&told, 1, &["found TFRecord files", "tar files"]);
    folder.write("x.tar", &[b'x'; 2000]);
    refused(&folder.run(&["data", "check", "x.tar"]), 1, &["x.tar: expected a tar file"]);
    let range = folder.run(&["train", "--data", "x-{000..146}.tar"]);
    refused(&range, 1, &["x-000.tar: cannot be read"]);
}
