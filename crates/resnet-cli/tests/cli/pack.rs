//! The same pictures in a folder and in shards train the same weights.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::Folder;
use crate::wrong_input::refused;

const RUN: &[&str] = &[
    "train",
    "resnet8",
    "--data",
    "photos",
    "--epochs",
    "2",
    "--batch",
    "16",
    "--json",
    "train.checkpoint_every=3it",
    "--seed",
    "7",
];

/// Pictures of 12 x 12 pixels in class folders: class k has a bright bar at column k, and noise.
fn photos(folder: &Folder) {
    let mut noise = 12345u32;
    for (split, count) in [("train", 24), ("val", 8)] {
        for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
            for number in 0..count {
                let mut file = b"P6 12 12 255\n".to_vec();
                for pixel in 0..12 * 12 * 3 {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let bright = if pixel / 3 % 12 == class { 150 } else { 0 };
                    file.push((bright + (noise >> 26)) as u8);
                }
                folder.write(&format!("folder/photos/{split}/{name}/{number}.ppm"), &file);
            }
        }
    }
}

/// The weights of a run in a folder whose pictures are called as in the others, killed at a step if
/// one is named.
fn weights(folder: &Folder, place: &str, out: &str, more: &[&str], kill: Option<u64>) -> Vec<u8> {
    let args = [RUN, &["--out", out], more].concat();
    let at = folder.path(place);
    let mut child = folder
        .command(&args)
        .current_dir(&at)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let Some(step) = kill {
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == "step" && event["step"].as_u64().is_some_and(|s| s >= step) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resume = ["train", "--resume", out, "--json"];
        let ended = folder.command(&resume).current_dir(&at).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    } else {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    fs::read(at.join(out).join("model.safetensors")).unwrap()
}

#[test]
fn shards_train_the_same_weights_as_the_folder() {
    let folder = Folder::new();
    photos(&folder);
    let size = ["--shard-size", "8KiB"];
    folder.ok(&[&["data", "pack", "folder/photos", "tar/photos"], &size[..]].concat());
    let parquet = ["data", "pack", "tar/photos", "parquet/photos", "--format", "parquet", "--json"];
    let packed = folder.ok(&[&parquet[..], &size[..]].concat()).json();
    assert_eq!(packed[0]["splits"]["train"]["pictures"], 72);
    assert_eq!(packed[0]["splits"]["val"]["pictures"], 24);
    assert!(packed[0]["splits"]["train"]["shards"].as_u64() > Some(3), "{packed:?}");
    let expected = weights(&folder, "folder", "whole", &["workers=0"], None);
    for place in ["tar", "parquet"] {
        for workers in ["workers=0", "workers=1", "workers=3"] {
            let found = weights(&folder, place, workers, &[workers], None);
            assert!(found == expected, "{place}, {workers}: the weights differ");
        }
        let found = weights(&folder, place, "killed", &["workers=1"], Some(4));
        assert!(found == expected, "{place}: killed and resumed, the weights differ");
    }
    let check = |place: &str| {
        let found = folder.ok(&["data", "check", place, "--quick", "--json"]).json();
        let splits = found[0]["splits"].as_array().unwrap().clone();
        splits.into_iter().map(|split| split["classes"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(check("tar/photos"), check("folder/photos"));
    assert_eq!(check("parquet/photos"), check("folder/photos"));
}

#[test]
fn what_is_wrong_with_packing_is_said() {
    let folder = Folder::new();
    photos(&folder);
    folder.write("other/notes.txt", b"x");
    let pack = |more: &[&str]| folder.run(&[&["data", "pack"], more].concat());
    refused(
        &pack(&["folder/photos", "other"]),
        1,
        &["other: expected an empty folder", "notes.txt"],
    );
    refused(&pack(&["nowhere", "to"]), 1, &["nowhere"]);
    refused(&pack(&["folder/photos", "to", "--quality", "80"]), 2, &["--shorter-side"]);
    refused(&pack(&["folder/photos", "to", "--shard-size", "x"]), 2, &["a size such as 16MiB"]);
    assert!(!folder.path("to").exists());
    let small = folder.ok(&["data", "pack", "folder/photos", "to", "--shorter-side", "6"]);
    assert!(small.out.contains("read again and right"), "{}", small.out);
    let again = folder.ok(&["data", "pack", "folder/photos", "to", "--shorter-side", "6"]);
    assert!(again.out.contains("2 of the shards were there already"), "{}", again.out);
    refused(&pack(&["folder/photos", "to"]), 1, &["packed with other options"]);
}
