//! `calibrate`, and what other commands make of a calibrated model.

use std::fs;

use crate::places::bare;
use crate::support::{Folder, png};
use crate::wrong_input::refused;

/// A run that tells four classes apart, though not always, and a picture of no class.
fn trained() -> Folder {
    let folder = Folder::new();
    folder.digits(160, 240, 4);
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--steps",
        "12",
        "--batch",
        "16",
        "--out",
        "run",
    ]);
    folder.write("strange.png", &png(12, 12, 255));
    folder
}

#[test]
fn a_calibrated_model_doubts() {
    let folder = trained();
    let plain = ["predict", "run", "strange.png", "digit.png"];
    folder.write("digit.png", &png(12, 12, 40));
    let before = folder.ok(&plain).out;
    assert!(!before.contains('('), "{before}");
    let eval = folder.ok(&["eval", "run", "--json"]).json().remove(0);
    assert!(eval.get("temperature").is_none());
    folder.ok(&["export", "run", "-o", "before.pth"]);

    let told = folder.ok(&["calibrate", "run", "--wanted", "0.6", "--report", "look"]);
    for line in [
        "resnet8: fitted on 120 pictures of mnist:digits (test), measured on 120 others of them",
        "temperature ",
        "by 160 training pictures",
        "model   run/model.safetensors",
    ] {
        assert!(told.out.contains(line), "{line}: {}", told.out);
    }
    let page = fs::read_to_string(folder.path("look/report.html")).unwrap();
    assert!(page.contains("Reliability") && page.contains("Likeness"));
    assert!(folder.path("look/figures/coverage.svg").is_file());
    let report = fs::read_to_string(folder.path("look/calibration.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let number = |json: &serde_json::Value, key: &str| {
        json[key].as_f64().unwrap_or_else(|| panic!("{key} in {json}"))
    };
    assert!(number(&report["after"], "loss") <= number(&report["before"], "loss") + 0.05);

    // The probabilities that are told are those that are measured.
    let calibrated = folder.ok(&["eval", "run", "--json"]).json().remove(0);
    assert_eq!(number(&calibrated, "temperature"), number(&report, "temperature"));
    assert_eq!(number(&calibrated, "loss_uncalibrated"), number(&eval, "loss"));
    assert_eq!(number(&calibrated, "ece_uncalibrated"), number(&eval, "ece"));
    assert_eq!(calibrated["top1"], eval["top1"]);
    assert_ne!(calibrated["loss"], eval["loss"]);
    let text = folder.ok(&["eval", "run"]).out;
    assert!(text.contains("calibrated: logits are divided by "), "{text}");

    let after = folder.ok(&plain).out;
    let strange = after.lines().next().unwrap();
    assert!(strange.ends_with("unlike the training pictures)"), "{after}");
    let json = folder.ok(&[&plain[..], &["--json"]].concat()).json();
    assert_eq!(json[0]["unlike"], true);
    assert!(json[0]["sure"].is_boolean() && number(&json[0], "likeness") < 0.01, "{}", json[0]);
    let csv = folder.ok(&["predict", "run", "strange.png", "--csv", "--top", "1"]).out;
    let (head, row) = csv.split_once('\n').unwrap();
    assert_eq!(head, "file,rank,class,label,probability,sure,likeness,unlike");
    assert!(row.trim_end().ends_with(",0,true"), "{row}");

    // A file of weights alone has the temperature, other weights have nothing.
    folder.ok(&["export", "run", "-o", "weights.safetensors"]);
    let json = folder.ok(&["predict", "weights.safetensors", "digit.png", "--json"]).json();
    assert!(json[0]["sure"].is_boolean() && json[0]["likeness"].is_null(), "{}", json[0]);
    folder.ok(&["export", "run", "-o", "after.onnx", "--verify"]);
    let tune = ["finetune", "run", "--data", "mnist:digits", "--epochs", "1", "--out", "tuned"];
    folder.ok(&tune);
    let json = folder.ok(&["predict", "tuned", "digit.png", "--json"]).json();
    assert!(json[0].get("sure").is_none(), "{}", json[0]);
    folder.ok(&["inspect", "run", "--data", "mnist:digits"]);
    // Statistics are not taken for weights.
    bare(&folder, "run/model.safetensors", None);
    let import = ["import", "bare.safetensors", "--arch", "resnet8", "-o", "imported.safetensors"];
    let told = folder.ok(&[&import[..], &["preprocess.crop=12", "preprocess.resize=0"]].concat());
    assert!(told.err.contains("left out: confidence.*: 3 tensors"), "{}", told.err);
}

#[test]
fn the_file_is_the_same_on_any_number_of_threads() {
    let folder = trained();
    for i in 0..9 {
        folder.write(&format!("other/train/any/{i}.png"), &png(20, 12, 10 * i));
    }
    let file = |name: &str, threads: &str| {
        let told = folder.ok(&[
            "calibrate",
            "run",
            "--wanted",
            "0.6",
            "--against",
            "folder:other",
            "-o",
            name,
            "--threads",
            threads,
            "--json",
        ]);
        let mut json = told.json().remove(0);
        assert_eq!(json["model"], name);
        json["model"].take();
        (fs::read(folder.path(name)).unwrap(), json)
    };
    let before = fs::read(folder.path("run/model.safetensors")).unwrap();
    let one = file("one.safetensors", "1");
    assert_eq!(file("three.safetensors", "3"), one);
    assert_eq!(fs::read(folder.path("run/model.safetensors")).unwrap(), before);
    let (_, json) = one;
    assert_eq!((json["fitted_on"].as_u64(), json["tested_on"].as_u64()), (Some(120), Some(120)));
    assert_eq!(
        (json["wanted"].as_f64(), &json["data"]),
        (Some(0.6), &"mnist:digits (test)".into())
    );
    let against = &json["against"];
    assert_eq!((against["count"].as_u64(), &against["data"]), (Some(9), &"folder:other".into()));
    for score in ["likeness", "probability", "energy"] {
        let area = against["auroc"][score].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&area), "{score}: {area}");
    }
    // Calibrating again starts from the weights, not from what was there.
    let again = ["calibrate", "one.safetensors", "--data", "mnist:digits", "--wanted", "0.6"];
    folder.ok(&again);
    assert_eq!(
        fs::read(folder.path("one.safetensors")).unwrap(),
        fs::read(folder.path("three.safetensors")).unwrap()
    );
}

#[test]
fn what_cannot_be_calibrated_says_why() {
    let folder = trained();
    let model = fs::read(folder.path("run/model.safetensors")).unwrap();
    folder.ok(&["export", "run", "-o", "weights.pth"]);
    bare(&folder, "run/model.safetensors", None);
    let import = ["import", "bare.safetensors", "--arch", "resnet8", "-o", "imported.safetensors"];
    folder.ok(&[&import[..], &["preprocess.crop=12", "preprocess.resize=0"]].concat());
    folder.write("few/train/0/1.png", &png(12, 12, 9));
    folder.write("few/val/0/1.png", &png(12, 12, 9));
    let last = "run/checkpoints/last.safetensors";
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["resnet18"], 2, &["resnet18 stays as it is; name a model file to write with -o"]),
        (&["weights.pth"], 2, &["weights.pth stays as it is", "with -o"]),
        (&[last], 2, &["last.safetensors stays as it is", "with -o"]),
        (&["imported.safetensors"], 2, &["does not say what it was trained on", "--data"]),
        (&["run", "--wanted", "1"], 2, &["--wanted", "above 0 and below 1, such as 0.99"]),
        (&["run", "--split", "val"], 2, &["mnist:digits has no split `val`"]),
        (&["run", "--report", "run"], 2, &["run holds a run", "another --report"]),
        (&["run", "--data", "folder:few"], 1, &["1 held-out pictures", "at least 20"]),
        (&["run", "--data", "builtin"], 1, &["class"]),
        (&["digits"], 1, &["digits holds no model"]),
        (&["nothing.safetensors"], 1, &["nothing.safetensors"]),
        (&["run", "--against", "nowhere"], 1, &["nowhere"]),
    ];
    for (args, code, words) in cases {
        refused(&folder.run(&[&["calibrate"], *args].concat()), *code, words);
    }
    assert_eq!(fs::read(folder.path("run/model.safetensors")).unwrap(), model);
    // What cannot be had is left out, and told.
    let told = folder.ok(&["calibrate", "run", "--split", "train", "--wanted", "0.999"]).err;
    for word in ["no answer will be sure", "--wanted", "will not be told: the data has no part"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let json = folder.ok(&["predict", "run", "strange.png", "--json"]).json().remove(0);
    assert_eq!((&json["sure"], &json["unlike"]), (&false.into(), &serde_json::Value::Null));
    let text = folder.ok(&["predict", "run", "strange.png"]).out;
    assert!(text.trim_end().ends_with("(not sure)"), "{text}");
}
