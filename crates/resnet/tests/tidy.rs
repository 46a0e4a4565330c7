//! What a reader meets in every file: comments that end at 100 columns, files that are one thing,
//! nothing of the machine that something was written on.

use std::fs;
use std::path::{Path, PathBuf};

/// Most characters in a line of comment; tables and drawings between fences may be wider.
const COLUMNS: usize = 100;
/// Most lines of a source file that holds one thing.
const LINES: usize = 520;

fn files(ending: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        [".ci", ".github", "benches", "crates", "docs", "packaging", "results", "tools"]
            .iter()
            .map(|name| root.join(name))
            .collect();
    let of_root = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = of_root.filter(|path| path.is_file()).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let built = path.file_name().is_some_and(|name| name == "target");
            match path.is_dir() {
                true if !built => folders.push(path),
                true => {}
                false => paths.push(path),
            }
        }
    }
    for path in paths {
        let name = path.to_string_lossy();
        if ending.iter().any(|ending| name.ends_with(ending))
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push((path, text));
        }
    }
    assert!(found.len() > 3, "the project's files are not where they were");
    found
}

fn fail_on(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_end_at_100_columns() {
    let mut wrong = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let mut drawn = false;
        for (number, line) in (1..).zip(text.lines()) {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let comment = comment.trim_start_matches(['/', '!']).trim_start();
            drawn ^= comment.starts_with("```");
            if !drawn && !comment.starts_with('|') && line.chars().count() > COLUMNS {
                wrong.push(format!("{}:{number}: wider than {COLUMNS}", path.display()));
            }
        }
    }
    fail_on(wrong);
}

#[test]
fn a_file_is_one_thing() {
    let long = |(path, text): (PathBuf, String)| {
        let lines = text.lines().count();
        (lines > LINES).then(|| format!("{}: {lines} lines", path.display()))
    };
    fail_on(files(&[".rs"]).into_iter().filter_map(long).collect());
}

#[test]
fn nothing_of_a_machine_is_left_in() {
    // Spelt in parts, or this file would not pass.
    let hosts = [("crates", "io"), ("pypi", "org"), ("npmjs", "org"), ("npmjs", "com")];
    let mut words: Vec<String> = hosts.iter().map(|(a, b)| format!("{a}.{b}")).collect();
    words.extend(
        ["/ro", "/ho", "/wo", "/fa"]
            .iter()
            .zip(["ot/", "me/", "rk/", "rm/"])
            .map(|(a, b)| format!("{a}{b}")),
    );
    words.push(["deb", "debian", "org"].join("."));
    let mut wrong = Vec::new();
    for (path, text) in
        files(&[".rs", ".toml", ".md", ".py", ".sh", "run", "exports", ".json", ".yml", ".rb.in"])
    {
        for (number, line) in (1..).zip(text.lines()) {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{number}: `{word}`", path.display()));
            }
        }
    }
    fail_on(wrong);
}
