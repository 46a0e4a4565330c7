//! The architecture as a test: who may import whom inside the library, and what only some may
//! touch.
//!
//! A new module gets a row here; an import that points up fails with the file that holds it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and the modules it may import, lowest first. Everything may import what it lists and
/// itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("rng", &[]),
    ("suggest", &[]),
    ("files", &[]),
    ("number", &[]),
    ("graph", &[]),
    ("arch", &["graph", "suggest"]),
    ("step", &["graph"]),
    ("op", &["graph", "step"]),
    ("plan", &["graph", "step", "op"]),
    ("exec", &["graph", "rng", "step", "plan"]),
    ("data", &["graph", "rng", "suggest"]),
    ("metric", &[]),
    ("probe", &["graph", "step", "op", "plan", "exec", "number"]),
    ("event", &["files", "number", "probe"]),
    ("schedule", &[]),
    ("recipe", &["suggest", "schedule", "files", "step"]),
    (
        "weights",
        &["graph", "arch", "op", "plan", "step", "exec", "rng", "suggest", "files", "data"],
    ),
    ("report", &["files"]),
    ("task", &["arch", "graph", "data", "exec", "recipe", "step", "weights"]),
    ("evaluate", ANYTHING),
    ("predict", ANYTHING),
    ("export", ANYTHING),
    ("summary", ANYTHING),
    ("draw", ANYTHING),
    ("bench", ANYTHING),
    ("train", ANYTHING),
    ("finetune", ANYTHING),
    ("inspect", ANYTHING),
    ("compare", ANYTHING),
];

/// Verbs use everything below them, and each other only downwards in the table.
const ANYTHING: &[&str] = &["*"];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(&root).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_string();
                let text = fs::read_to_string(&path).unwrap();
                files.push((module, relative.to_path_buf(), text));
            }
        }
    }
    files.sort();
    files
}

/// The part of a source file that is not tests, which may look at anything.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Modules named after `crate::`, in single paths and in braces.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or("").split(','),
            None => rest.split(','),
        };
        let grouped = rest.starts_with('{');
        for name in names.take(if grouped { usize::MAX } else { 1 }) {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn arrows_point_down() {
    let rank: BTreeMap<&str, usize> =
        MAY_IMPORT.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
    let mut wrong = Vec::new();
    for (module, file, text) in sources() {
        let in_tests =
            file.iter().any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs");
        if module == "lib" || in_tests {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no row in MAY_IMPORT", file.display()));
            continue;
        };
        for import in imports(without_tests(&text)) {
            let down = if *allowed == ANYTHING {
                rank.get(import.as_str()).is_some_and(|r| *r < rank[module.as_str()])
            } else {
                allowed.contains(&import.as_str())
            };
            if import != module && !down {
                wrong.push(format!("{}: imports crate::{import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that are not allowed:\n{}", wrong.join("\n"));
}

#[test]
fn rows_point_down() {
    for (i, (name, allowed)) in MAY_IMPORT.iter().enumerate() {
        for other in allowed.iter().filter(|other| **other != "*") {
            let j = MAY_IMPORT
                .iter()
                .position(|(n, _)| n == other)
                .unwrap_or_else(|| panic!("no row for {other}"));
            assert!(j < i, "{name} may import {other}, which stands above it");
        }
    }
}

#[test]
fn only_their_keepers_touch_the_outer_crates() {
    for (_, file, text) in sources() {
        let file = file.to_string_lossy().replace('\\', "/");
        if !file.starts_with("exec/cpu/") {
            assert!(!text.contains("resnet_kernels"), "{file}: only exec/cpu runs kernels");
        }
        let keepers = ["weights/", "train/checkpoint", "export/"];
        if !keepers.iter().any(|keeper| file.starts_with(keeper)) {
            assert!(
                !text.contains("resnet_formats"),
                "{file}: only weights, checkpoints and exports read and write tensors"
            );
        }
        for print in ["println!", "eprintln!", "print!(", "dbg!"] {
            assert!(!text.contains(print), "{file}: only the command line prints, found {print}");
        }
    }
}

#[test]
fn the_check_itself_can_fail() {
    assert_eq!(
        imports("use crate::{graph::Graph, plan};\nuse crate::exec::Cpu;"),
        ["graph", "plan", "exec"]
    );
    assert_eq!(imports("crate::train::run()"), ["train"]);
    let after = "#[cfg(test)]\nmod tests;\nuse crate::train;\n#[cfg(test)]\nmod tests {\nuse crate::exec;\n}";
    assert_eq!(imports(without_tests(after)), ["train"]);
}
