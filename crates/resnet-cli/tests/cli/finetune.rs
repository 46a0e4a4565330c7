//! `finetune`, `data check`, and what `eval` and `predict` do beyond a number.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::{Folder, Outcome, png};
use crate::wrong_input::refused;

/// Photos of two classes that differ in brightness, and a network that knows something else.
fn prepared() -> Folder {
    let folder = Folder::new();
    folder.digits(96, 24, 4);
    for (class, grey) in [("dark", 20), ("light", 200)] {
        for i in 0..12u8 {
            let train = format!("photos/train/{class}/{i}.png");
            let val = format!("photos/val/{class}/{i}.png");
            folder.write(&train, &png(20, 16, grey + 3 * i));
            folder.write(&val, &png(16, 21, grey + 2 + 3 * i));
        }
    }
    let small = ["train", "resnet8", "--data", "mnist:digits", "--epochs", "1", "--batch", "16"];
    folder.ok(&[&small[..], &["--out", "base"]].concat());
    folder
}

fn tuned(folder: &Folder) -> Outcome {
    folder.ok(&[
        "finetune",
        "base",
        "--data",
        "photos",
        "--epochs",
        "8",
        "freeze=60%",
        "--out",
        "tuned",
        "--json",
    ])
}

#[test]
fn one_command_teaches_other_classes() {
    let folder = prepared();
    folder.write("photos/train/dark/notes.txt", b"no picture");
    fs::copy(folder.path("photos/train/dark/3.png"), folder.path("photos/val/dark/again.png"))
        .unwrap();
    let events = tuned(&folder).json();
    assert_eq!(
        (events[0]["event"].as_str(), events[0]["train_images"].as_u64()),
        (Some("run_started"), Some(24))
    );
    let warned: Vec<&str> = events.iter().filter_map(|e| e["message"].as_str()).collect();
    for word in ["notes.txt", "again.png", "all layers are trained from step"] {
        assert!(warned.iter().any(|message| message.contains(word)), "{word}: {warned:?}");
    }
    let end = events.last().unwrap();
    assert_eq!(
        (end["event"].as_str(), end["top1"].as_f64()),
        (Some("run_ended"), Some(1.0)),
        "{end}"
    );
    let config = fs::read_to_string(folder.path("tuned/config.toml")).unwrap();
    assert!(
        config.contains("start = \"base/model.safetensors\"")
            && config.contains("freeze = \"60%\""),
        "{config}"
    );

    // As a run like any other, it repeats by its configuration, and goes on as a model.
    folder.ok(&["train", "--recipe", "tuned/config.toml", "--out", "again", "--json"]);
    assert_eq!(
        fs::read(folder.path("tuned/model.safetensors")).unwrap(),
        fs::read(folder.path("again/model.safetensors")).unwrap()
    );
    let all = folder.ok(&["predict", "tuned", "photos/val/light", "--top", "1"]);
    assert!(all.out.lines().all(|line| line.contains("light")), "{}", all.out);
}

#[test]
fn a_rate_is_found_before_training() {
    let folder = prepared();
    let found = folder.ok(&[
        "finetune",
        "base",
        "--data",
        "photos",
        "--lr-find",
        "--out",
        "rate",
        "--json",
    ]);
    let found = &found.json()[0];
    assert!(found["suggestion"].as_f64().is_some_and(|lr| lr > 0.0), "{found}");
    assert_eq!(found["frozen"], true);
    for file in ["report.html", "figures/lr-find.svg", "lr-find.json"] {
        assert!(folder.path("rate").join(file).is_file(), "{file} is missing");
    }
    let text =
        folder.ok(&["train", "resnet8", "--data", "mnist:digits", "--batch", "16", "--lr-find"]);
    assert!(text.out.contains("try lr="), "{}", text.out);
    // A loss that is no number from the first step on never falls.
    let none = ["train", "resnet8:norm=none,gain=1e30", "--data", "mnist:digits", "--batch", "16"];
    for json in [&[][..], &["--json"]] {
        let outcome = folder.run(&[&none[..], &["--lr-find", "--out", "none"], json].concat());
        assert_eq!(outcome.code, 1, "{}", outcome.err);
        assert!(outcome.err.contains("no rate can be suggested"), "{}", outcome.err);
        assert!(outcome.out.contains("suggestion") != json.is_empty(), "{}", outcome.out);
    }
    assert!(folder.path("runs/lr-find-resnet8-mnist/report.html").is_file());
}

#[test]
fn evaluation_leaves_a_report() {
    let folder = prepared();
    // Some are called what they are not, and will be the worst mistakes.
    for i in 0..3 {
        folder.write(&format!("photos/val/dark/really{i}.png"), &png(16, 20, 240 + i));
    }
    tuned(&folder);
    let eval =
        &folder.ok(&["eval", "tuned", "--data", "photos", "--report", "look", "--json"]).json()[0];
    assert_eq!((eval["count"].as_u64(), eval["wrong"].as_u64()), (Some(27), Some(3)));
    for key in ["top1", "top5", "loss", "ece", "macro_f1"] {
        assert!(eval[key].is_f64(), "{key}: {eval}");
    }
    let full: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path("look/eval.json")).unwrap()).unwrap();
    assert_eq!(full["top1"], eval["top1"]);
    assert_eq!(full["worst"].as_array().unwrap().len(), 3);
    assert!(full["worst"][0]["file"].as_str().unwrap().contains("really"), "{full}");
    let dark = &full["classes"][0];
    assert_eq!((dark["class"].as_str(), dark["images"].as_u64()), (Some("dark"), Some(15)));
    assert!((dark["recall"].as_f64().unwrap() - 0.8).abs() < 1e-9);
    assert!((dark["f1"].as_f64().unwrap() - 24.0 / 27.0).abs() < 1e-9);
    let page = fs::read_to_string(folder.path("look/report.html")).unwrap();
    assert!(
        page.contains("really0.png")
            && page.contains("data:image/png;base64")
            && page.contains("Reliability")
    );
    assert!(!page.contains("src=\"http"), "the page must open offline");
    assert!(folder.path("look/figures/reliability.svg").is_file());

    let ten =
        &folder.ok(&["eval", "tuned", "--data", "photos", "--crops", "10", "--json"]).json()[0];
    assert_eq!((ten["crops"].as_u64(), ten["count"].as_u64()), (Some(10), Some(27)));
    let [one, ten] = [eval, ten].map(|e| e["loss"].as_f64().unwrap());
    assert!((one - ten).abs() < 1e-3, "crops of one grey are alike: {one}, {ten}");
    let text = folder.ok(&["eval", "tuned", "--data", "photos"]).out;
    assert!(text.contains("ECE") && text.contains("3 x  dark taken for light"), "{text}");
    refused(
        &folder.run(&["eval", "tuned", "--data", "photos", "--crops", "5"]),
        2,
        &["--crops is 5"],
    );
    refused(
        &folder.run(&["eval", "tuned", "--data", "photos", "--report", "tuned"]),
        2,
        &["tuned", "holds a run"],
    );
}

#[test]
fn predictions_in_every_shape() {
    let folder = prepared();
    tuned(&folder);
    folder.write("in/a, b.png", &png(300, 9, 230));
    folder.write("in/deep/a, b.png", &png(7, 200, 10));
    let csv = folder.ok(&["predict", "tuned", "in", "--csv"]).out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("file,rank,class,label,probability", 5));
    assert!(lines[1].starts_with("\"in/a, b.png\",1,1,light,0."), "{csv}");
    assert!(lines[3].starts_with("\"in/deep/a, b.png\",1,0,dark,0."), "{csv}");

    let cams = folder.ok(&["predict", "tuned", "in", "--cam", "heat", "--json"]).json();
    assert_eq!(cams[0]["cam"], "heat/in-a__b.png");
    assert_eq!(cams[1]["cam"], "heat/deep-a__b.png");
    let heat = fs::read(folder.path("heat/in-a__b.png")).unwrap();
    assert_eq!(&heat[..4], b"\x89PNG");
    assert_eq!(heat[16..24], [0, 0, 1, 64, 0, 0, 0, 9 + 56], "the picture and its legend");

    let piped = |bytes: &[u8]| {
        let mut child = folder
            .command(&["predict", "tuned", "-", "--json", "--top", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        Outcome::of(child.wait_with_output().unwrap())
    };
    let line = &piped(&png(40, 30, 240)).json()[0];
    assert_eq!(
        (line["file"].as_str(), line["top"][0]["label"].as_str()),
        (Some("-"), Some("light"))
    );
    for bytes in [&b""[..], b"no picture at all", &png(40, 30, 240)[..60]] {
        let outcome = piped(bytes);
        assert_eq!(outcome.code, 1, "{}", outcome.err);
        assert!(
            outcome.err.contains("standard input: is") && !outcome.err.contains("panicked"),
            "{}",
            outcome.err
        );
    }
    refused(&folder.run(&["predict", "tuned", "-", "-"]), 2, &["stands twice"]);
    let both = folder.run(&["predict", "tuned", "in", "--csv", "--json"]);
    assert_eq!(both.code, 2);
}

#[test]
fn data_is_checked() {
    let folder = prepared();
    let clean = folder.ok(&["data", "check", "photos"]).out;
    assert!(
        clean.contains("nothing found") && clean.contains("24 pictures of 2 classes"),
        "{clean}"
    );
    folder.write("photos/train/dark/notes.txt", b"no picture");
    let warned = folder.ok(&["data", "check", "photos", "--quick"]).out;
    assert!(warned.contains("warning: 1") && warned.contains("notes.txt"), "{warned}");
    refused(&folder.run(&["data", "check", "photos", "--strict"]), 1, &["photos: 1 problem"]);
    folder.write("photos/val/light/cut.png", &png(20, 20, 9)[..80]);
    fs::copy(folder.path("photos/train/dark/3.png"), folder.path("photos/val/dark/again.png"))
        .unwrap();
    let bad = folder.run(&["data", "check", "photos", "--json"]);
    refused(&bad, 1, &["photos: 2 problems"]);
    let found = &bad.json()[0];
    let kinds: Vec<&str> =
        found["problems"].as_array().unwrap().iter().filter_map(|p| p["kind"].as_str()).collect();
    assert_eq!(kinds, ["corrupt", "leak", "foreign"]);
    assert!(found["problems"][0]["items"][0].as_str().unwrap().contains("cut.png"), "{found}");
    refused(&folder.run(&["data", "check", "nowhere"]), 1, &["nowhere"]);
}

#[test]
fn wrong_wishes_are_refused() {
    let folder = prepared();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["finetune", "nowhere.safetensors", "--data", "photos"], 1, &["nowhere.safetensors"]),
        (&["finetune", "base", "--data", "nowhere"], 1, &["nowhere"]),
        (&["finetune", "base", "--data", "photos", "freese=1ep"], 2, &["freese", "freeze"]),
        (
            &["finetune", "base", "--data", "photos", "backbone_lr=2"],
            2,
            &["backbone_lr", "from 0 to 1"],
        ),
        (&["finetune", "base", "--data", "photos", "--lr", "fast"], 2, &["lr", "fast"]),
        (&["finetune", "base", "--data", "photos", "--out", "base"], 2, &["base", "already holds"]),
        (&["finetune", "base", "--data", "photos", "sampling=even"], 2, &["sampling", "balanced"]),
        (&["finetune", "base", "--data", "photos", "resnet20"], 2, &["key=value", "resnet20"]),
        (&["train", "model.start=nowhere.safetensors"], 1, &["nowhere.safetensors"]),
    ];
    for (args, code, words) in cases {
        refused(&folder.run(args), *code, words);
    }
    assert_eq!(folder.run(&["finetune", "base"]).code, 2, "--data is required");
}
