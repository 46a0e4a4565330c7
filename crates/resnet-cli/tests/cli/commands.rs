//! The commands on real input: what they print, and the keys that others rely on.

use std::fs;

use crate::support::{Folder, png};

#[test]
fn train_eval_predict_on_pictures() {
    let folder = Folder::new();
    for (class, grey) in [("dark", 20), ("light", 230)] {
        for i in 0..12u8 {
            folder.write(&format!("photos/train/{class}/{i}.png"), &png(20, 16, grey + i));
            folder.write(&format!("photos/val/{class}/{i}.png"), &png(16, 20, grey + 2 * (i % 8)));
        }
    }
    folder.write("photos/train/dark/notes.txt", b"no picture");
    let run = folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "folder:photos",
        "--epochs",
        "8",
        "--batch",
        "8",
        "--out",
        "run",
        "--json",
        "data.crop=16",
        "data.resize=16",
        "augment.random_resized_crop=false",
        "lr=0.05",
    ]);
    let events = run.json();
    assert_eq!(events[0]["event"], "run_started");
    assert_eq!(
        (events[0]["train_images"].as_u64(), events[0]["test_images"].as_u64()),
        (Some(24), Some(24))
    );
    let warned: Vec<_> = events.iter().filter(|e| e["event"] == "warned").collect();
    assert!(
        warned.iter().any(|e| e["message"].as_str().unwrap().contains("notes.txt")),
        "{warned:?}"
    );
    let end = events.last().unwrap();
    assert_eq!(end["event"], "run_ended");
    assert_eq!(end["top1"], 1.0, "light and dark were not told apart: {end}");
    assert_eq!(end["model"], "run/model.safetensors");

    for file in [
        "config.toml",
        "events.jsonl",
        "metrics.csv",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "model.safetensors",
        "report.html",
        "environment.json",
    ] {
        assert!(folder.path("run").join(file).is_file(), "{file} is missing");
    }
    let page = fs::read_to_string(folder.path("run/report.html")).unwrap();
    assert!(page.contains("light") && !page.contains("src=\"http"), "the page must open offline");

    let eval = folder.ok(&["eval", "run", "--data", "folder:photos", "--json"]).json();
    assert_eq!(
        (eval[0]["top1"].as_f64(), eval[0]["count"].as_u64(), eval[0]["wrong"].as_u64()),
        (Some(1.0), Some(24), Some(0))
    );
    assert!(
        eval[0]["loss"].as_f64().is_some_and(|loss| loss < 0.7)
            && eval[0]["top5"].as_f64() == Some(1.0)
    );

    let light = folder.write("one.png", &png(40, 30, 240));
    let line =
        &folder.ok(&["predict", "run", light.to_str().unwrap(), "--json", "--top", "1"]).json()[0];
    assert_eq!(line["top"][0]["label"], "light");
    assert_eq!(line["top"].as_array().unwrap().len(), 1);
    assert!(line["file"].as_str().unwrap().ends_with("one.png"));
    let all = folder.ok(&["predict", "run/model.safetensors", "photos/val/dark"]);
    assert_eq!(all.out.lines().count(), 12);
    assert!(all.out.lines().all(|line| line.contains("dark")));
}

#[test]
fn a_log_file_has_no_escape_codes() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let run = folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--epochs",
        "2",
        "--batch",
        "16",
    ]);
    assert!(run.out.is_empty(), "standard output is for JSON: {}", run.out);
    assert!(!run.err.contains('\x1b') && !run.err.contains('\r'), "{:?}", run.err);
    assert!(
        run.err.contains("epoch   2") && run.err.contains("report  runs/resnet8-mnist/report.html"),
        "{}",
        run.err
    );
    // A second run finds another place by itself.
    folder.ok(&["train", "resnet8", "--data", "mnist:digits", "--epochs", "1", "--batch", "16"]);
    assert!(folder.path("runs/resnet8-mnist-2/model.safetensors").is_file());
}

#[test]
fn a_configuration_is_a_recipe_that_repeats_the_run() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let small =
        ["train", "resnet8", "--data", "mnist:digits", "--epochs", "2", "--batch", "16", "--json"];
    folder.ok(&[&small[..], &["--out", "a", "lr=0.03"]].concat());
    folder.ok(&["train", "--recipe", "a/config.toml", "--out", "b", "--json"]);
    assert_eq!(
        fs::read(folder.path("a/model.safetensors")).unwrap(),
        fs::read(folder.path("b/model.safetensors")).unwrap()
    );
}

#[test]
fn summary_and_models() {
    let folder = Folder::new();
    let summary = &folder.ok(&["summary", "resnet20", "--json"]).json()[0];
    assert_eq!(
        (summary["params"].as_u64(), summary["macs"].as_u64()),
        (Some(269_722), Some(40_551_040))
    );
    assert_eq!(summary["flops"], 2 * 40_551_040);
    assert_eq!(summary["arch"], "resnet20");
    assert!(
        summary["layers"].as_array().unwrap().iter().any(|layer| layer["name"] == "layer3.2.conv2")
    );
    let text = folder.ok(&["summary", "resnet50"]).out;
    assert!(text.contains("25,557,032 parameters") && text.contains("4.089 GMACs"), "{text}");
    // Of published weights the network is known without them.
    assert_eq!(folder.ok(&["summary", "resnet50.v2"]).out, text);
    assert_eq!(folder.ok(&["summary", "resnet50-11ad3fa6.pth"]).out, text);
    let drawn = |name: &str| folder.ok(&["draw", name, "-o", "-"]).out;
    assert_eq!(drawn("resnet18.v1"), drawn("resnet18"));
    let plan = folder.ok(&["summary", "resnet20:shortcut=B", "--plan", "--batch", "4"]).out;
    assert!(
        plan.contains("norm+add+relu") && plan.contains("conv dw") && plan.contains("memory"),
        "{plan}"
    );
    let models = &folder.ok(&["models", "--json"]).json()[0];
    for name in [
        "resnet20",
        "plain56",
        "resnet1202",
        "resnet152",
        "preresnet1001",
        "wrn28_10",
        "vgg19_bn",
        "classic",
    ] {
        assert!(
            models["models"].as_array().unwrap().iter().any(|m| m["arch"] == name),
            "{name} is not listed"
        );
    }
    assert!(folder.ok(&["models", "--keys"]).out.contains("optimizer.weight_decay"));
}

#[test]
fn help_fits_one_screen_and_completions_exist() {
    let folder = Folder::new();
    for verb in [
        "train",
        "finetune",
        "board",
        "eval",
        "predict",
        "data",
        "summary",
        "devices",
        "doctor",
        "inspect",
        "calibrate",
        "bench",
        "export",
        "compare",
        "explain",
        "draw",
        "models",
        "completions",
    ] {
        let help = folder.ok(&[verb, "--help"]).out;
        assert!(help.lines().count() <= 50, "{verb} --help has {} lines", help.lines().count());
    }
    assert!(folder.ok(&["--help"]).out.lines().count() <= 30);
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.ok(&["completions", shell]).out.contains("predict"));
    }
}
