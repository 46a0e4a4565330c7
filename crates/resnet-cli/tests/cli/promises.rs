//! What users are told: the same bits for any number of threads, and a killed run that ends like
//! one never killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::support::{Folder, Outcome, tensor_bytes};

/// 60 steps over 5 epochs, a checkpoint every 5 steps; small enough for a second.
const RUN: &[&str] = &[
    "train",
    "resnet8",
    "--data",
    "mnist:digits",
    "--epochs",
    "5",
    "--batch",
    "16",
    "--json",
    "train.checkpoint_every=5it",
    "--seed",
    "7",
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.digits(200, 40, 4);
    folder
}

fn train(folder: &Folder, out: &str, more: &[&str]) -> Outcome {
    folder.ok(&[RUN, &["--out", out], more].concat())
}

/// The table of evaluations without the column of seconds.
fn metrics(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let timed = text.lines().next().unwrap().split(',').position(|name| name == "seconds").unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line
            .split(',')
            .enumerate()
            .filter(|(i, _)| *i != timed)
            .map(|(_, cell)| cell)
            .collect();
        cells.join(",")
    };
    text.lines().map(row).collect()
}

#[test]
fn the_same_bits_for_any_number_of_threads_and_workers() {
    let folder = folder();
    train(&folder, "one", &["--threads", "1", "workers=0"]);
    let expected = fs::read(folder.path("one/model.safetensors")).unwrap();
    for (threads, workers) in [("2", "1"), ("2", "3"), ("5", "0")] {
        let out = format!("t{threads}w{workers}");
        train(&folder, &out, &["--threads", threads, &format!("workers={workers}")]);
        assert!(
            fs::read(folder.path(&format!("{out}/model.safetensors"))).unwrap() == expected,
            "{out} differs"
        );
        assert_eq!(
            metrics(&folder.path(&format!("{out}/metrics.csv"))),
            metrics(&folder.path("one/metrics.csv"))
        );
    }
    train(&folder, "other-seed", &["seed=8"]);
    assert!(
        tensor_bytes(&folder.path("other-seed/model.safetensors"))
            != tensor_bytes(&folder.path("one/model.safetensors")),
        "the seed has no effect"
    );
}

#[test]
fn killed_five_times_and_resumed_a_run_ends_like_one_never_killed() {
    let folder = folder();
    train(&folder, "whole", &[]);
    // Before the first checkpoint, between two, in a later epoch, at an evaluation, near the end.
    for (i, kill_after) in [2, 13, 24, 38, 57].into_iter().enumerate() {
        let out = format!("killed-{i}");
        kill(&folder, &[RUN, &["--out", &out]].concat(), kill_after);
        // And once more on the way.
        kill(&folder, &["train", "--resume", &out, "--json"], (kill_after + 9).min(58));
        folder.ok(&["train", "--resume", &out, "--json"]);
        let path = |name: &str| folder.path(&format!("{out}/{name}"));
        assert!(
            fs::read(path("model.safetensors")).unwrap()
                == fs::read(folder.path("whole/model.safetensors")).unwrap(),
            "killed after step {kill_after}: the weights differ"
        );
        assert_eq!(
            metrics(&path("metrics.csv")),
            metrics(&folder.path("whole/metrics.csv")),
            "killed after {kill_after}"
        );
        assert!(path("report.html").is_file());
    }
}

#[test]
fn in_bf16_the_promises_hold_as_well() {
    let folder = folder();
    let bf16 = ["--precision", "bf16"];
    train(&folder, "whole", &bf16);
    let config = fs::read_to_string(folder.path("whole/config.toml")).unwrap();
    assert!(config.contains("precision = \"bf16\""), "{config}");
    let expected = fs::read(folder.path("whole/model.safetensors")).unwrap();
    train(&folder, "threads", &[&bf16[..], &["--threads", "5"]].concat());
    kill(&folder, &[RUN, &bf16[..], &["--out", "killed"]].concat(), 24);
    folder.ok(&["train", "--resume", "killed", "--json"]);
    for out in ["threads", "killed"] {
        let found = fs::read(folder.path(&format!("{out}/model.safetensors"))).unwrap();
        assert!(found == expected, "{out}: the weights differ");
    }
    train(&folder, "f32", &["--precision", "f32"]);
    assert!(
        tensor_bytes(&folder.path("f32/model.safetensors"))
            != tensor_bytes(&folder.path("whole/model.safetensors")),
        "the precision has no effect"
    );
    // Weights are f32 in the file, so either precision runs them.
    let loss = |precision: &str| {
        let args = ["eval", "whole", "--data", "mnist:digits", "--json"];
        let args = [&args[..], &["--precision", precision]].concat();
        folder.ok(&args).json()[0]["loss"].as_f64().unwrap()
    };
    let (exact, rounded) = (loss("f32"), loss("bf16"));
    assert!(
        exact != rounded && (exact - rounded).abs() < 0.05 * exact.max(0.1),
        "{exact} in f32, {rounded} in bf16"
    );
}

/// Starts the binary, reads its events until it has done `step` steps, and kills it outright.
fn kill(folder: &Folder, args: &[&str], step: u64) {
    let mut child =
        folder.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "step" && event["step"].as_u64().is_some_and(|s| s >= step) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_can_be_resumed() {
    let folder = folder();
    train(&folder, "whole", &[]);
    let args = [RUN, &["--out", "stopped"]].concat();
    let mut child =
        folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = serde_json::Value::Null;
    let pid = child.id().to_string();
    let mut sent = false;
    while let Some(Ok(line)) = lines.next() {
        last = serde_json::from_str(&line).unwrap();
        if !sent && last["event"] == "step" && last["step"].as_u64().is_some_and(|s| s >= 17) {
            // The interrupt that Ctrl-C sends.
            sent =
                std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success();
        }
    }
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.err);
    assert_eq!(last["event"], "run_ended", "{last}");
    assert_eq!(last["stopped"], "interrupted", "{last}");
    assert!(last["model"].is_null());
    let page = fs::read_to_string(folder.path("stopped/report.html")).unwrap();
    assert!(page.contains("To go on: resnet train --resume stopped"), "the page says how");
    folder.ok(&["train", "--resume", "stopped", "--json"]);
    assert!(
        fs::read(folder.path("stopped/model.safetensors")).unwrap()
            == fs::read(folder.path("whole/model.safetensors")).unwrap()
    );
}
