//! The examples run, and say what they should.

use std::path::PathBuf;
use std::process::Command;

/// What an example prints; `cargo test` has built it beside the tests.
fn run(name: &str) -> String {
    let tests = std::env::current_exe().unwrap();
    let profile: PathBuf = tests.ancestors().nth(2).unwrap().into();
    let example =
        profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let output = Command::new(&example).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", example.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number before ` %` in the last line that has one.
fn percent(text: &str) -> f64 {
    let line = text.lines().rev().find(|line| line.contains(" %")).unwrap();
    let before = line.split(" %").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn train_in_memory() {
    let text = run("train_in_memory");
    assert!(percent(&text) > 90.0 && text.contains("label: \"disc\""), "{text}");
}

#[test]
fn own_dataset() {
    let text = run("own_dataset");
    assert!(percent(&text) > 80.0, "{text}");
}

#[test]
fn finetune() {
    let text = run("finetune");
    assert!(text.contains("now it knows off, on") && percent(&text) > 80.0, "{text}");
}

#[test]
fn predict_many() {
    let text = run("predict_many");
    let right: usize = text.split(' ').next().unwrap().parse().unwrap();
    assert!(right > 60 && text.lines().count() == 4, "{text}");
}

#[test]
fn inspect_gradients() {
    let text = run("inspect_gradients");
    assert!(text.contains("plain20") && text.contains("vanishing"), "{text}");
}

#[test]
fn save_features() {
    let text = run("save_features");
    assert_eq!(text.lines().last(), Some("2000 pictures of test, 64 features each"));
}

#[test]
fn each_example_is_short() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for name in ["train_in_memory", "own_dataset", "finetune", "predict_many", "inspect_gradients"]
    {
        let text = std::fs::read_to_string(format!("{folder}/{name}.rs")).unwrap();
        assert!(text.lines().count() < 40, "{name}");
    }
}
