//! Weights in and out through the real binary.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Folder, Outcome, png, tensor_bytes};

/// A folder with pictures, and a model trained on them for a moment.
fn trained() -> Folder {
    let folder = Folder::new();
    folder.digits(60, 30, 3);
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--epochs",
        "2",
        "--batch",
        "10",
        "--out",
        "run",
        "--json",
    ]);
    folder
}

/// The header of a safetensors file.
fn header(path: &Path) -> serde_json::Map<String, Value> {
    let bytes = fs::read(path).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + len]).unwrap()
}

#[test]
fn a_model_leaves_in_every_format_and_comes_back() {
    let folder = trained();
    let eval = |model: &str| {
        let mut json = folder.ok(&["eval", model, "--data", "mnist:digits", "--json"]).json();
        json.remove(0)
    };
    let before = eval("run");
    for (file, flags) in [
        ("out.safetensors", vec![]),
        ("out.pth", vec![]),
        ("out.onnx", vec![]),
        ("folded.onnx", vec!["--fold", "--with-preprocessing"]),
        ("half.pt", vec!["--half", "bf16"]),
    ] {
        let args = ["export", "run", "-o", file, "--verify", "--data", "mnist:digits", "--json"];
        let report = folder.ok(&[&args[..], &flags].concat()).json().remove(0);
        let verified = &report["verified"];
        assert_eq!(verified["images"], 30, "{report}");
        let most = verified["largest_difference"].as_f64().unwrap();
        assert!(most <= verified["allowed"].as_f64().unwrap());
        assert_eq!(most == 0.0, flags.is_empty(), "{report}");
    }
    // Whatever holds everything is a model.
    assert_eq!(eval("out.safetensors"), before);
    assert_eq!(eval("out.pth"), before);
    eval("half.pt");
    let texts = &header(&folder.path("out.safetensors"))["__metadata__"];
    let metrics: Value = serde_json::from_str(texts["metrics"].as_str().unwrap()).unwrap();
    assert_eq!((&metrics["top1"], &metrics["count"]), (&before["top1"], &json!(30)));
    assert!(texts["recipe"].as_str().unwrap().contains("resnet8"));

    // The same numbers without texts are foreign weights.
    let mut bare = header(&folder.path("out.safetensors"));
    bare.remove("__metadata__");
    let text = serde_json::to_vec(&bare).unwrap();
    let numbers = tensor_bytes(&folder.path("out.safetensors"));
    let bytes = [&(text.len() as u64).to_le_bytes()[..], &text, &numbers].concat();
    folder.write("bare.safetensors", &bytes);
    folder.write("classes.txt", b"0\n1\n2\n");
    let outcome = folder.run(&["eval", "bare.safetensors", "--data", "mnist:digits"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("`resnet import` makes a model"), "{}", outcome.err);

    let preprocess: Value = serde_json::from_str(texts["preprocess"].as_str().unwrap()).unwrap();
    let of = |key: &str| preprocess["normalize"]["channel"][key][0].to_string();
    let (mean, std) =
        (format!("preprocess.mean={}", of("mean")), format!("preprocess.std={}", of("std")));
    let outcome = folder.ok(&[
        "import",
        "bare.safetensors",
        "--classes",
        "classes.txt",
        "--licence",
        "CC0-1.0",
        "-o",
        "in.safetensors",
        "--json",
        &mean,
        &std,
        "preprocess.crop=12",
        "preprocess.resize=0",
    ]);
    let report = outcome.json().remove(0);
    assert_eq!((&report["arch"], &report["classes"]), (&json!("resnet8"), &json!(3)));
    assert_eq!(report["licence"], "CC0-1.0");
    assert!(outcome.err.contains("plain8 has the same tensors"), "{}", outcome.err);
    let after = eval("in.safetensors");
    for key in ["top1", "loss", "wrong"] {
        assert_eq!(after[key], before[key], "{key}");
    }
}

/// The tensors of a model file under other names, as somebody else's weights.
fn foreign(folder: &Folder, model: &str, rename: impl Fn(&str) -> Option<String>, to: &str) {
    let (mut begin, mut numbers, mut bare) = (0, Vec::new(), serde_json::Map::new());
    let all = tensor_bytes(&folder.path(model));
    for (name, mut entry) in header(&folder.path(model)) {
        let Some(name) = rename(&name).filter(|_| entry.get("shape").is_some()) else {
            continue;
        };
        let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
        let range = at(0)..at(1);
        numbers.extend(&all[range.clone()]);
        entry["data_offsets"] = json!([begin, begin + range.len()]);
        begin += range.len();
        bare.insert(name, entry);
    }
    let text = serde_json::to_vec(&bare).unwrap();
    folder.write(to, &[&(text.len() as u64).to_le_bytes()[..], &text, &numbers].concat());
}

#[test]
fn folders_may_be_called_as_the_index_calls_them_first() {
    let folder = trained();
    for class in 0..3 {
        for i in 0..2 {
            let name = format!("pictures/n0{class}/{i}.png");
            folder.write(&name, &png(12, 12, 60 + 60 * class));
        }
    }
    folder.ok(&["export", "run", "-o", "out.safetensors"]);
    foreign(&folder, "out.safetensors", |name| Some(name.into()), "bare.safetensors");
    let index = br#"{"0": ["n00", "zero"], "1": ["n01", "one"], "2": ["n02", "two"]}"#;
    folder.write("index.json", index);
    let outcome = folder.ok(&[
        "import",
        "bare.safetensors",
        "--classes",
        "index.json",
        "-o",
        "in.safetensors",
        "preprocess.crop=12",
        "preprocess.resize=0",
    ]);
    assert!(
        outcome.out.contains("resnet eval in.safetensors --data folder:DIR"),
        "{}",
        outcome.out
    );
    assert!(outcome.err.contains("what weights do not show"), "{}", outcome.err);
    let report = folder.ok(&["eval", "in.safetensors", "--data", "folder:pictures", "--json"]);
    assert_eq!(report.json()[0]["count"], 6);
}

#[test]
fn weights_without_a_last_layer_are_for_fine_tuning_alone() {
    let folder = trained();
    folder.write("a.png", &png(12, 12, 60));
    folder.ok(&["export", "run", "-o", "out.safetensors"]);
    let rename = |name: &str| (!name.starts_with("fc.")).then(|| format!("backbone.{name}"));
    foreign(&folder, "out.safetensors", rename, "bare.safetensors");
    let import = ["import", "bare.safetensors", "-o", "in.safetensors", "preprocess.crop=12"];
    let outcome = folder.ok(&[&import[..], &["preprocess.resize=0"]].concat());
    assert!(outcome.err.contains("resnet finetune"), "{}", outcome.err);
    for args in [
        vec!["predict", "in.safetensors", "a.png"],
        vec!["eval", "in.safetensors", "--data", "mnist:digits"],
        vec!["inspect", "in.safetensors", "--data", "mnist:digits"],
        vec!["export", "in.safetensors", "-o", "x.onnx"],
    ] {
        let outcome = folder.run(&args);
        assert_eq!(outcome.code, 1, "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains("fine-tune it"), "{args:?}: {}", outcome.err);
    }
    let out = ["--epochs", "1", "--out", "tuned", "--json"];
    let args = ["finetune", "in.safetensors", "--data", "mnist:digits"];
    folder.ok(&[&args[..], &out].concat());
    let tuned = folder.ok(&["eval", "tuned", "--data", "mnist:digits", "--json"]);
    assert_eq!(tuned.json()[0]["count"], 30);
}

#[test]
fn a_model_that_does_not_fit_is_refused_by_whatever_uses_it() {
    let folder = trained();
    folder.write("a.png", &png(12, 12, 60));
    let whole = fs::read(folder.path("run/model.safetensors")).unwrap();
    let change = |whole: &[u8], from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|part| part == from).unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    // As of a writer that keeps no checksum, which would tell before.
    let whole = change(&whole, b"resnet.crc32", b"resnet.other");
    let whole = change(&whole, b"resnet/2", b"resnet/1");
    let lie = |from: &[u8], to: &[u8]| change(&whole, from, to);
    let text = String::from_utf8_lossy(&whole[8..]).into_owned();
    assert!(text.contains("resnet8"));
    // The same length, so that the header stays as long as it says.
    folder.write("lie.safetensors", &lie(b"\"arch\":\"resnet8\"", b"\"arch\":\"plain20\""));
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("nan.safetensors", &nan);
    for (model, part) in
        [("lie.safetensors", "do not fit network `plain20`"), ("nan.safetensors", "not finite")]
    {
        for args in [
            vec!["export", model, "-o", "x.onnx"],
            vec!["export", model, "-o", "x.pth"],
            vec!["predict", model, "a.png"],
            vec!["eval", model, "--data", "mnist:digits"],
            vec!["inspect", model, "--data", "mnist:digits"],
            vec!["finetune", model, "--data", "mnist:digits", "--out", "x"],
            vec!["summary", model],
        ] {
            let outcome = folder.run(&args);
            assert_eq!(outcome.code, 1, "{args:?}: {}", outcome.err);
            assert!(outcome.err.contains(part), "{args:?}: {}", outcome.err);
            assert!(!outcome.err.contains("panicked"), "{args:?}: {}", outcome.err);
        }
    }
    for left in ["x", "x.onnx", "x.pth"] {
        assert!(!folder.path(left).exists(), "{left}");
    }
}

#[test]
fn the_limit_on_pixels_is_said_and_can_be_moved() {
    let folder = trained();
    folder.write("a.png", &png(12, 12, 60));
    for (limit, code) in [("100", 1), ("144", 0)] {
        let mut command = folder.command(&["predict", "run", "a.png"]);
        let outcome = Outcome::of(command.env("RESNET_MAX_PIXELS", limit).output().unwrap());
        assert_eq!(outcome.code, code, "{limit}: {}", outcome.err);
        assert_eq!(outcome.err.contains("RESNET_MAX_PIXELS to 144"), code == 1, "{}", outcome.err);
    }
}

#[test]
fn wrong_requests_are_answered() {
    let folder = trained();
    folder.write("text.pth", b"<html>");
    folder.write("one.txt", b"only\n");
    folder.ok(&["export", "run", "-o", "out.pth"]);
    for (args, code, part) in [
        (
            vec!["export", "run", "-o", "x.onnx", "--half", "f16"],
            2,
            "16-bit storage is for safetensors and pth",
        ),
        (vec!["export", "run", "-o", "x.pth", "--fold"], 2, "use onnx"),
        (vec!["export", "run", "-o", "x.pth", "--opset", "17"], 2, "holds weights alone"),
        (vec!["export", "run", "-o", "x.onnx", "--opset", "9"], 2, "expected 15 to 26"),
        (vec!["export", "run", "-o", "x.bin"], 2, "give --format onnx|safetensors|pth"),
        (vec!["export", "run", "-o", "x", "--format", "onxn"], 2, "did you mean `onnx`"),
        (vec!["export", "run", "-o", "x.pth", "--verify", "--data", "mnist:nowhere"], 1, "nowhere"),
        (vec!["export", "run", "-o", "missing/x.pth"], 1, "missing/x.pth"),
        (
            vec!["import", "text.pth", "-o", "x"],
            1,
            "text.pth: expected a file of torch.save, found a web page",
        ),
        (vec!["import", "none.pth", "-o", "x"], 1, "none.pth"),
        (vec!["import", ".", "-o", "x"], 1, "cannot read"),
        (vec!["import", "out.pth", "-o", "x"], 1, "is a model of this program already"),
        (vec!["import", "out.pth", "-o", "x", "--arch", "resnet21"], 2, "resnet20"),
        (vec!["import", "out.pth", "-o", "x", "preprocess.size=3"], 2, "unknown key"),
        (vec!["import", "out.pth", "-o", "x", "--classes", "none.txt"], 1, "none.txt"),
    ] {
        let outcome = folder.run(&args);
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(part), "{args:?}: `{part}` is not in: {}", outcome.err);
        assert!(!folder.path("x.pth").exists() && !folder.path("x").exists(), "{args:?}");
    }
}
