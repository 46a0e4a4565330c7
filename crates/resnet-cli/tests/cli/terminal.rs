//! What reaches the terminal: every text through one place, and nothing in it that acts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Folder, Outcome, png};

/// Everything but this file hands its text to it.
const KEEPER: &str = "term.rs";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if !path.ends_with(KEEPER) => found.push(path),
            false => {}
        }
    }
}

#[test]
fn all_text_goes_through_one_place() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20, "the sources are not where they were");
    for file in found {
        let text = fs::read_to_string(&file).unwrap();
        for way in ["stdout()", "stderr()", "println!", "print!(", "dbg!", "indicatif", ".print()"]
        {
            assert!(
                !text.contains(way),
                "{}: `{way}`: only {KEEPER} prints, as it shows what would act on a terminal",
                file.display()
            );
        }
        // A line that begins or ends others would have its line breaks shown.
        let breaks = |line: &&str| line.contains("\\n\"") || line.contains("\"\\n");
        let mut wrong = text.lines().filter(breaks).filter(|line| !line.contains(".raw("));
        assert_eq!(wrong.next(), None, "{}: one writeln!, one line", file.display());
    }
}

/// No character acts, and every line begins as one of this program's does.
fn is_harmless(outcome: &Outcome, starts: &[&str]) {
    for text in [&outcome.out, &outcome.err] {
        let acts = |c: char| c.is_control() && c != '\n';
        assert!(!text.chars().any(acts), "{text:?}");
        for line in text.lines() {
            assert!(!line.starts_with("forged"), "{text}");
            assert!(
                starts.is_empty() || starts.iter().any(|start| line.starts_with(start)),
                "{line:?} in {text}"
            );
        }
    }
}

/// Pictures of two classes whose names and files would colour, clear and forge.
#[cfg(unix)]
fn hostile() -> Folder {
    let folder = Folder::new();
    for (i, class) in ["red\u{1b}[31m", "two\nforged: line\u{9b}2J"].iter().enumerate() {
        for n in 0..6u8 {
            let grey = (i as u8) * 120 + n;
            folder.write(&format!("photos/train/{class}/{n}.png"), &png(12, 12, grey));
            folder.write(&format!("photos/val/{class}/{n}.png"), &png(12, 12, grey + 50));
        }
    }
    folder.write("photos/val/red\u{1b}[31m/\rforged.png", &png(12, 12, 77));
    folder.write("photos/val/red\u{1b}[31m/bad\nforged", b"nothing");
    let args = ["train", "resnet8", "--data", "photos", "--epochs", "1", "--batch", "4"];
    let outcome = folder.ok(&[&args[..], &["--out", "run"]].concat());
    is_harmless(&outcome, &[]);
    folder
}

#[cfg(unix)]
#[test]
fn names_that_would_act_are_shown() {
    let folder = hostile();
    let eval = folder.ok(&["eval", "run", "--data", "photos"]);
    is_harmless(&eval, &[]);
    let bad = folder.run(&["predict", "run", "photos/val"]);
    is_harmless(&bad, &["photos/val/", "error: "]);
    assert!(bad.out.contains("two\\nforged: line\\u{9b}2J"), "{}", bad.out);
    assert!(bad.out.contains("\\rforged.png: "), "{}", bad.out);
    let check = folder.run(&["data", "check", "photos"]);
    is_harmless(&check, &[]);
    let missing = folder.run(&["eval", "none\u{1b}[2J\nforged"]);
    is_harmless(&missing, &["error: "]);
    // Programs get the names as they are.
    let json = folder.run(&["predict", "run", "photos/val", "--json"]);
    assert!(!json.out.chars().any(|c| c.is_control() && c != '\n'), "{}", json.out);
    let labels: Vec<String> =
        json.json().iter().map(|line| line["top"][0]["label"].as_str().unwrap().into()).collect();
    let two = "two\nforged: line\u{9b}2J";
    assert!(labels.iter().all(|label| label == "red\u{1b}[31m" || label == two), "{labels:?}");
    let csv = folder.run(&["predict", "run", "photos/val", "--csv"]).out;
    assert!(csv.contains("\"two\nforged: line\u{9b}2J\""), "{csv}");
}

#[test]
fn words_that_were_typed_are_shown() {
    let folder = Folder::new();
    for args in [
        &["train", "--bad\u{1b}[31m\nforged"][..],
        &["\u{1b}]0;title\u{7}\nforged"],
        &["predict", "a", "b", "--threads", "\u{1b}[31m\nforged"],
        &["train", "lr=\u{1b}[31m\nforged"],
        &["train", "\u{1b}[31m\nforged"],
    ] {
        let outcome = folder.run(args);
        assert_eq!(outcome.code, 2, "{}", outcome.err);
        is_harmless(&outcome, &[]);
        // TOML, which values are written in, has a way of its own.
        let shown = ["\\u{1b}", "\\u001B"].iter().any(|escape| outcome.err.contains(escape));
        assert!(shown, "{}", outcome.err);
    }
}

#[test]
fn the_cases_with_control_characters_are_shown() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/models");
    if !models.exists() {
        eprintln!("skipped: this part needs {}, which is not here", models.display());
        return;
    }
    let folder = Folder::new();
    folder.write("picture.png", &png(64, 64, 90));
    for name in ["esc_class", "nl_class", "esc_arch"] {
        let model = models.join(format!("{name}.safetensors")).display().to_string();
        for args in [["predict", &model, "picture.png"], ["summary", &model, "--json"]] {
            is_harmless(&folder.run(&args), &[]);
        }
        is_harmless(&folder.run(&["eval", &model, "--data", "builtin"]), &[]);
    }
    let weights = models.join("esc_name.pth").display().to_string();
    is_harmless(&folder.run(&["import", &weights, "-o", "out.safetensors"]), &[]);
}
