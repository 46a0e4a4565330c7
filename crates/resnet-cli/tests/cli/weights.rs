//! Weights in and out through the real binary.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Folder, tensor_bytes};

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
