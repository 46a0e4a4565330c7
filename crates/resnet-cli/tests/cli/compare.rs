//! `resnet compare`: trains, resumes, adds, gathers, refuses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::support::{Folder, Outcome};

/// Four small networks for 24 steps each.
const COMPARE: &[&str] = &[
    "compare",
    "--depths",
    "8,14",
    "--data",
    "mnist:digits",
    "--steps",
    "24",
    "--batch",
    "16",
    "--json",
    "checkpoint_every=2it",
];

/// The figures of a comparison of plain and residual twins.
const FIGURES: &[&str] = &[
    "curves-plain",
    "curves-residual",
    "expectation-reality",
    "gradient-depth",
    "gradient-heatmap-plain",
    "gradient-heatmap-residual",
    "networks",
    "responses",
    "responses-sorted",
    "shortcut-share",
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.digits(200, 40, 4);
    folder
}

fn compare(folder: &Folder, out: &str, more: &[&str]) -> Outcome {
    folder.ok(&[COMPARE, &["--out", out], more].concat())
}

/// Everything that a comparison leaves but times and the page, which shows times.
fn results(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut figures: Vec<_> = fs::read_dir(root.join("figures")).unwrap().collect();
    figures.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    for entry in figures {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.push((name, fs::read(&path).unwrap()));
    }
    for name in ["curves.csv", "gradients.csv"] {
        all.push((name.into(), fs::read(root.join(name)).unwrap()));
    }
    let runs = fs::read_to_string(root.join("runs.csv")).unwrap();
    let columns: Vec<&str> = runs.lines().next().unwrap().split(',').collect();
    let timed = columns.iter().position(|name| *name == "seconds").unwrap();
    for line in runs.lines() {
        let cells = line.split(',').enumerate().filter(|(i, _)| *i != timed);
        let cells: Vec<&str> = cells.map(|(_, cell)| cell).collect();
        all.push(("runs.csv".into(), cells.join(",").into_bytes()));
    }
    all
}

#[test]
fn twins_are_trained_once_and_reported() {
    let folder = folder();
    let first = compare(&folder, "out", &[]);
    let json = &first.json()[0];
    let runs = json["runs"].as_array().unwrap();
    let archs: Vec<&str> = runs.iter().map(|r| r["arch"].as_str().unwrap()).collect();
    assert_eq!(archs, ["plain8", "plain14", "resnet8", "resnet14"]);
    for run in runs {
        for key in ["train_error", "test_error"] {
            assert!((0.0..=1.0).contains(&run[key].as_f64().unwrap()), "{run}");
        }
        let depth = run["depth"].as_u64().unwrap();
        assert!(run["arch"].as_str().unwrap().ends_with(&depth.to_string()));
        assert_eq!(run["seed"], 1);
    }
    assert_eq!(runs[0]["residual"], false);
    assert_eq!(runs[2]["residual"], true);
    let verdicts: Vec<&str> = json["gradients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts.len(), 5);
    assert_eq!(verdicts[0], "vanishing", "13 layers at gain 0.5");

    let page = fs::read_to_string(folder.path("out/report.html")).unwrap();
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
    assert!(page.contains("resnet compare --depths 8,14"));
    for name in FIGURES {
        let svg = fs::read_to_string(folder.path(&format!("out/figures/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }

    // The same again trains nothing; a second seed and depth are added.
    let before = fs::read(folder.path("out/runs/plain8-seed1/events.jsonl")).unwrap();
    let again = compare(&folder, "out", &[]);
    assert_eq!(again.out, first.out);
    assert_eq!(again.err.matches("finished before").count(), 4, "{}", again.err);
    let more = compare(&folder, "out", &["--seeds", "2"]);
    assert_eq!(more.err.matches("finished before").count(), 4, "{}", more.err);
    assert_eq!(more.json()[0]["runs"].as_array().unwrap().len(), 8);
    assert_eq!(fs::read(folder.path("out/runs/plain8-seed1/events.jsonl")).unwrap(), before);

    // Runs made earlier, here in another order.
    let gathered = folder.ok(&[
        "compare",
        "--runs",
        "out/runs/resnet14-seed1",
        "out/runs/plain8-seed1",
        "--out",
        "gathered",
        "--json",
    ]);
    let runs = gathered.json()[0]["runs"].clone();
    assert_eq!(runs[0]["arch"], "plain8");
    assert_eq!(runs[1]["arch"], "resnet14");
}

#[test]
fn killed_and_started_again_it_ends_like_one_never_killed() {
    let folder = folder();
    compare(&folder, "whole", &[]);
    for run in ["[1/4]", "[3/4]"] {
        let args = [COMPARE, &["--out", "killed"]].concat();
        let mut child =
            folder.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(run)), "{run}");
        let name = ["plain8", "plain14"][usize::from(run == "[3/4]")];
        let saved = format!("killed/runs/{name}-seed1/checkpoints/last.safetensors");
        // Until it has something to go on from, or is done.
        while !folder.path(&saved).exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let outcome = compare(&folder, "killed", &[]);
    assert!(outcome.err.contains("finished before: plain8, seed 1"), "{}", outcome.err);
    let (whole, killed) = (folder.path("whole"), folder.path("killed"));
    for ((name, expected), (_, found)) in results(&whole).iter().zip(results(&killed)) {
        assert!(*expected == found, "{name} differs");
    }
    assert_eq!(results(&whole).len(), results(&killed).len());
}

#[test]
fn options_of_networks_and_recipes_are_compared() {
    let folder = folder();
    let small = ["--data", "mnist:digits", "--steps", "4", "--batch", "16", "--json"];
    let archs = ["compare", "--archs", "resnet8:shortcut=A,shortcut=B,preresnet8", "--out", "x"];
    let refused = folder.run(&[&archs[..], &small].concat());
    assert_eq!(refused.code, 2, "an option twice: {}", refused.err);
    let archs = [
        "compare",
        "--archs",
        "resnet8,resnet8:shortcut=B,norm=none,gain=0.5,preresnet8",
        "--out",
        "x",
    ];
    let done = folder.ok(&[&archs[..], &small].concat());
    let runs = done.json()[0]["runs"].clone();
    let names: Vec<&str> =
        runs.as_array().unwrap().iter().map(|r| r["arch"].as_str().unwrap()).collect();
    assert_eq!(names, ["resnet8", "resnet8:shortcut=B,norm=none,gain=0.5", "preresnet8"]);
    // The same network under two recipes.
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--steps",
        "4",
        "--batch",
        "16",
        "--lr",
        "0.02",
        "--out",
        "slow",
        "--recipe",
        "depth",
    ]);
    let both = folder.ok(&["compare", "--runs", "x/runs/resnet8-seed1", "slow", "--out", "y"]);
    assert!(both.out.contains("resnet8 (lr=0.05)"), "{}", both.out);
    assert!(both.out.contains("resnet8 (lr=0.02)"), "{}", both.out);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_reason() {
    let folder = folder();
    let refused = |args: &[&str], code: i32, reasons: &[&str]| {
        let outcome = folder.run(&[&["compare"], args].concat());
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.err);
        for reason in reasons {
            assert!(outcome.err.contains(reason), "{args:?}: {}", outcome.err);
        }
        assert!(outcome.out.is_empty());
    };
    refused(&["--depths", "20,x"], 2, &["`x`", "whole numbers"]);
    refused(&["--depths", "20,,56"], 2, &["--depths"]);
    refused(&["--depths", "20,20"], 2, &["named twice"]);
    refused(&["--depths", "0"], 2, &["from 1 to"]);
    refused(&["--depths", "21"], 2, &["no network `plain21`", "plain20"]);
    refused(&["--archs", "resnet20,resnet20"], 2, &["named twice"]);
    refused(&["--archs", "resnot20"], 2, &["resnet20"]);
    refused(&["--seeds", "0"], 2, &["at least 1 seed"]);
    refused(&["--seeds", "1000000"], 2, &["at most 1000"]);
    refused(&["plain20", "resnet20"], 2, &["--archs plain20,resnet20"]);
    refused(&["--depths", "8", "--archs", "resnet8"], 2, &["cannot be used with"]);
    refused(&["--runs", "nowhere"], 2, &["nowhere", "holds no run"]);

    let small = ["--steps", "4", "--batch", "16", "--recipe", "depth"];
    folder
        .ok(&[&["train", "resnet8", "--data", "mnist:digits", "--out", "a"], &small[..]].concat());
    folder.ok(&[&["train", "resnet8", "--data", "builtin", "--out", "b"], &small[..]].concat());
    refused(&["--runs", "a", "b"], 2, &["b: its data is builtin", "only runs on the same data"]);
    refused(&["--runs", "a", "a"], 2, &["the same run"]);
    refused(&["lr=0.2", "--runs", "a"], 2, &["lr=0.2"]);

    // A run cut short, and one of another recipe in the way.
    let events = fs::read_to_string(folder.path("a/events.jsonl")).unwrap();
    let kept: Vec<&str> = events.lines().filter(|l| !l.contains("run_ended")).collect();
    folder.write("a/events.jsonl", (kept.join("\n") + "\n").as_bytes());
    refused(&["--runs", "a"], 2, &["has not ended", "resnet train --resume a"]);
    let archs = ["--archs", "resnet8", "--data", "mnist:digits", "--batch", "16", "--out", "c"];
    folder.ok(&[&["compare", "--steps", "4"], &archs[..]].concat());
    refused(
        &[&["--steps", "5"], &archs[..]].concat(),
        2,
        &["another recipe", "train.steps is 4 there and 5 here", "--out"],
    );
}

#[test]
fn a_run_that_diverges_is_a_result() {
    let folder = folder();
    let done = folder.ok(&[
        "compare",
        "--archs",
        "resnet8,plain14:norm=none,gain=2",
        "--data",
        "mnist:digits",
        "--steps",
        "8",
        "--batch",
        "16",
        "--lr",
        "1000",
        "--out",
        "x",
        "--json",
    ]);
    let runs = done.json()[0]["runs"].clone();
    assert_eq!(runs[0]["arch"], "plain14:norm=none,gain=2");
    assert_eq!(runs[0]["diverged"], true);
    let csv = fs::read_to_string(folder.path("x/runs.csv")).unwrap();
    assert!(csv.contains("diverged after"), "{csv}");
}
