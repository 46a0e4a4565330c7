//! Pictures and data where people keep them: behind links, under names of other systems, in splits
//! of other names.

use std::fs;

use crate::support::{Folder, Outcome, png};
use crate::wrong_input::refused;

/// A folder with a model of two classes, dark and light.
fn trained() -> Folder {
    let folder = Folder::new();
    for (class, grey) in [("dark", 20), ("light", 200)] {
        for n in 0..6u8 {
            folder.write(&format!("photos/Training/{class}/{n}.png"), &png(12, 12, grey + n));
            folder.write(&format!("photos/Holdout/{class}/{n}.png"), &png(12, 12, grey + 9 + n));
        }
    }
    let args = ["train", "resnet8", "--data", "photos", "--epochs", "1", "--batch", "4"];
    let told = folder.ok(&[&args[..], &["--out", "run"]].concat()).err;
    assert!(told.contains("12 images, tested on 12"), "{told}");
    assert!(!told.contains("pictures of "), "one size needs no words: {told}");
    folder
}

#[test]
fn eval_knows_the_names_of_splits_that_training_knows() {
    let folder = trained();
    for split in ["test", "holdout", "Holdout"] {
        let out = folder.ok(&["eval", "run", "--data", "photos", "--split", split]).out;
        assert!(out.contains("(Holdout, 12 images)"), "{out}");
    }
    let val = folder.run(&["eval", "run", "--data", "photos", "--split", "val"]);
    refused(&val, 2, &["photos has no split `val`"]);
    let other = folder.run(&["eval", "run", "--data", "photos", "--split", "mine"]);
    refused(&other, 2, &["--split is `mine`, expected train, val or test"]);
    fs::rename(folder.path("photos/Holdout"), folder.path("photos/mine")).unwrap();
    let train = folder.run(&["train", "resnet8", "--data", "photos", "--batch", "4"]);
    refused(
        &train,
        1,
        &["photos", "a second split called val/", "mine holds classes of Training/"],
    );
    let check = folder.run(&["data", "check", "photos"]);
    refused(&check, 1, &["mine holds classes of Training/"]);
}

#[test]
fn a_run_says_what_becomes_of_pictures_of_many_sizes() {
    let folder = Folder::new();
    for (class, grey) in [("dark", 20), ("light", 200)] {
        for n in 0..6u8 {
            let side = 40 + u32::from(n);
            folder.write(&format!("photos/{class}/{n}.png"), &png(side, side, grey + n));
        }
    }
    let args = ["train", "resnet8", "--data", "photos", "--epochs", "1", "--batch", "2"];
    let told = folder.ok(&[&args[..], &["data.crop=16", "--out", "run"]].concat()).err;
    assert!(
        told.contains(
            "pictures of 40 x 40 to 45 x 45 pixels: their shorter side becomes 18, the middle 16 x \
             16 is used, in training a random part of any size"
        ),
        "{told}"
    );
}

#[cfg(unix)]
#[test]
fn predictions_follow_links_and_name_what_is_lost() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let folder = trained();
    folder.write("in/1.png", &png(12, 12, 30));
    folder.write("elsewhere/2.png", &png(12, 12, 220));
    symlink(folder.path("elsewhere"), folder.path("in/link")).unwrap();
    symlink(folder.path("in"), folder.path("elsewhere/round")).unwrap();
    let out = folder.ok(&["predict", "run", "in"]);
    let files: Vec<&str> = out.out.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(files, ["in/1.png", "in/link/2.png"]);
    assert!(
        out.err.contains("warning: in/link/round: is a link to a folder that holds it"),
        "{}",
        out.err
    );
    symlink(folder.path("nowhere"), folder.path("in/gone.png")).unwrap();
    let lost = folder.run(&["predict", "run", "in"]);
    assert_eq!((lost.code, lost.out.lines().count()), (1, 2), "{}", lost.err);
    assert!(lost.err.contains("error: in/gone.png: is a link to "), "{}", lost.err);
    assert!(lost.err.contains("1 of 3 files could not be classified"), "{}", lost.err);
    fs::remove_file(folder.path("in/gone.png")).unwrap();

    for byte in [0xe8, 0xe9] {
        let name = [&b"in/caf"[..], &[byte], b".png"].concat();
        fs::write(folder.path("").join(OsStr::from_bytes(&name)), png(12, 12, 99)).unwrap();
    }
    for flag in ["--csv", "--json"] {
        let out = folder.ok(&["predict", "run", "in", "--top", "1", flag]).out;
        let slash = if flag == "--json" { "\\\\" } else { "\\" };
        for byte in ["e8", "e9"] {
            let name = format!("in/caf{slash}x{byte}.png");
            assert_eq!(out.matches(&name).count(), 1, "{name} in {out}");
        }
    }
}

#[test]
fn predict_ends_where_the_system_fails() {
    let folder = trained();
    // A folder opens like a file, and reading it fails as a broken disk does.
    let stdin = fs::File::open(folder.path("photos")).unwrap();
    let args = ["predict", "run", "photos/Holdout/dark", "-", "photos/Holdout/light"];
    let outcome = Outcome::of(folder.command(&args).stdin(stdin).output().unwrap());
    assert_eq!((outcome.code, outcome.out.lines().count()), (1, 6), "{}", outcome.err);
    assert!(outcome.err.starts_with("error: standard input: cannot be read"), "{}", outcome.err);
    assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    // A file that is not there is one file.
    let lost = folder.run(&["predict", "run", "nowhere.png", "photos/Holdout/light"]);
    assert_eq!((lost.code, lost.out.lines().count()), (1, 6), "{}", lost.err);
    assert!(lost.err.contains("1 of 7 files could not be classified"), "{}", lost.err);
}

#[cfg(target_os = "linux")]
#[test]
fn predict_does_without_the_threads_that_are_refused() {
    let folder = trained();
    let args = ["predict", "run", "photos/Holdout", "--threads", "2", "--json"];
    let expected = folder.ok(&args).out;
    // Stacks of a GiB, of which there is room for one, the device's own, and for one more.
    for kib in ["1572864", "2621440"] {
        let script = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_resnet")]).args(args);
        command.current_dir(folder.path("")).env("RUST_MIN_STACK", "1073741824");
        let outcome = Outcome::of(command.output().unwrap());
        assert_eq!((outcome.code, outcome.out.as_str()), (0, expected.as_str()), "{}", outcome.err);
    }
}

/// The weights of a model file alone, some of them with one number throughout.
pub(crate) fn bare(folder: &Folder, model: &str, poisoned: Option<(&str, f32)>) {
    let bytes = fs::read(folder.path(model)).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__");
    let mut numbers = bytes[8 + len..].to_vec();
    if let Some((tensor, value)) = poisoned {
        let offsets = &header[tensor]["data_offsets"];
        let [from, to] = [0, 1].map(|i| offsets[i].as_u64().unwrap() as usize);
        for float in numbers[from..to].chunks_exact_mut(4) {
            float.copy_from_slice(&value.to_le_bytes());
        }
    }
    let text = serde_json::to_vec(&header).unwrap();
    let bytes = [&(text.len() as u64).to_le_bytes()[..], &text, &numbers].concat();
    folder.write("bare.safetensors", &bytes);
}

#[test]
fn answers_that_are_no_numbers_are_errors() {
    let folder = trained();
    // Finite weights, whose answers are not.
    bare(&folder, "run/model.safetensors", Some(("fc.weight", f32::MAX)));
    folder.write("classes.txt", b"dark\nlight\n");
    let import = ["import", "bare.safetensors", "--arch", "resnet8", "-o", "model.safetensors"];
    let choices = ["--classes", "classes.txt", "preprocess.crop=12", "preprocess.resize=0"];
    folder.ok(&[&import[..], &choices].concat());
    let one = folder.run(&["predict", "model.safetensors", "photos/Holdout"]);
    assert_eq!((one.code, one.out.as_str()), (1, ""), "{}", one.err);
    assert!(
        one.err.contains("error: photos/Holdout/dark/0.png: the answers of `resnet8`"),
        "{}",
        one.err
    );
    let eval = folder.run(&["eval", "model.safetensors", "--data", "photos"]);
    refused(&eval, 1, &["photos/Holdout/dark/0.png and 11 more of 12 pictures", "lower rate"]);
}

#[test]
fn classes_that_nobody_named_are_not_taken_for_others() {
    let folder = Folder::new();
    for class in 0..12u8 {
        for n in 0..3u8 {
            folder.write(&format!("photos/train/{class}/{n}.png"), &png(12, 12, class * 20 + n));
            folder.write(&format!("photos/val/{class}/{n}.png"), &png(12, 12, class * 20 + 3 + n));
        }
    }
    let args = ["train", "resnet8", "--data", "photos", "--epochs", "2", "--batch", "4"];
    folder.ok(&[&args[..], &["--out", "run"]].concat());
    let eval = |model: &str| folder.run(&["eval", model, "--data", "photos", "--json"]);
    let right = eval("run").json().remove(0);

    // Weights alone have labels without names, and label 2 is the folder 10.
    bare(&folder, "run/model.safetensors", None);
    let import = ["import", "bare.safetensors", "--arch", "resnet8", "-o", "model.safetensors"];
    let choices = ["preprocess.crop=12", "preprocess.resize=0"];
    folder.ok(&[&import[..], &choices].concat());
    let outcome = eval("model.safetensors");
    let words =
        ["class `10` is label 10 of the model by its number, but 2 where", "import it again"];
    refused(&outcome, 1, &words);
    assert!(outcome.err.contains("warning: the model's classes have numbers for names"));

    folder.write("names.txt", b"0\n1\n10\n11\n2\n3\n4\n5\n6\n7\n8\n9\n");
    folder.ok(&[&import[..], &choices, &["--classes", "names.txt"]].concat());
    let named = eval("model.safetensors");
    assert_eq!(named.json().remove(0)["count"], right["count"], "{}", named.err);
    let names = folder.ok(&["predict", "model.safetensors", "photos/val/10", "--json"]).json();
    assert!(names[0]["top"].as_array().unwrap().iter().all(|top| {
        let order = ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"];
        top["label"] == order[top["class"].as_u64().unwrap() as usize]
    }));
}

#[test]
fn every_command_reads_threads_alike() {
    let folder = Folder::new();
    let most = "18446744073709551615";
    for verb in [
        &["train"][..],
        &["train", "--resume", "run"],
        &["compare"],
        &["compare", "--runs", "run"],
        &["inspect", "resnet8"],
        &["finetune", "run", "--data", "builtin"],
        &["eval", "run"],
        &["predict", "run", "picture.png"],
        &["export", "run", "-o", "out.onnx"],
        &["bench", "infer", "resnet8"],
    ] {
        for wrong in [most, "1025", "-1", "two"] {
            let flag = format!("--threads={wrong}");
            let outcome = folder.run(&[verb, &[&flag]].concat());
            refused(&outcome, 2, &["expected an integer from 0 to 1024", wrong]);
        }
    }
    let help = folder.ok(&["help", "train"]);
    assert!(help.out.contains("Usage: resnet train"), "{}", help.out);
}
