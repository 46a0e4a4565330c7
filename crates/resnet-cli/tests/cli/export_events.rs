//! `resnet export-events`: where files go, what replaces what, what is refused.

use std::fs;

use crate::support::Folder;
use crate::wrong_input::refused;

const FILE: &str = "events.out.tfevents.0.resnet";

#[test]
fn runs_become_event_files_that_later_exports_replace() {
    let folder = Folder::new();
    folder.digits(32, 16, 4);
    let train = ["train", "resnet8", "--data", "mnist:digits", "--steps", "4", "--batch", "8"];
    folder.ok(&[&train[..], &["--out", "runs/a"]].concat());
    folder.ok(&[&train[..], &["--out", "runs/b", "--seed", "2"]].concat());
    let export = ["export-events", "runs/a", "runs/b/", "--tensorboard", "board"];
    let told = folder.ok(&export);
    assert!(told.out.is_empty() && told.err.contains("board/a"), "{}", told.err);
    let read = |run: &str| fs::read(folder.path(&format!("board/{run}/{FILE}"))).unwrap();
    let (a, b) = (read("a"), read("b"));
    for tag in ["train/loss", "train/lr", "test/top1"] {
        assert!(String::from_utf8_lossy(&a).contains(tag), "{tag} is not in the file");
    }
    assert_ne!(a, b);
    folder.ok(&export);
    assert_eq!(read("a"), a, "the same run, the same bytes");
    let files = fs::read_dir(folder.path("board/a")).unwrap().count();
    assert_eq!(files, 1, "a second file would draw every curve twice");

    fs::create_dir_all(folder.path("other")).unwrap();
    fs::rename(folder.path("runs/b"), folder.path("other/a")).unwrap();
    let twice = ["export-events", "runs/a", "other/a", "--tensorboard", "board"];
    refused(&folder.run(&twice), 2, &["other/a", "second run called a"]);
    refused(&folder.run(&["export-events", "none", "--tensorboard", "x"]), 1, &["none", "events"]);
    assert!(!folder.path("x").exists(), "nothing is made for what cannot be read");
}
