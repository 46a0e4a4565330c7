//! The architecture as a test: which room may import which, and what only some may touch.
//!
//! Rooms stand on floors. A file may import its own room and those on floors below; a new room gets
//! a row here, and an import that points up or sideways fails with the file that holds it.

use std::fs;
use std::path::{Path, PathBuf};

/// Floors of the engine, lowest first: rooms are folders or files of `resnet-engine/src`.
const ENGINE: &[&[&str]] =
    &[&["graph", "picture"], &["step"], &["op"], &["plan"], &["exec"], &["exec/cpu"]];

/// Floors of the library, lowest first: rooms are folders or files of `resnet/src`.
const LIBRARY: &[&[&str]] = &[
    &[
        "base/rng",
        "base/hash",
        "base/suggest",
        "base/files",
        "base/machine",
        "base/number",
        "base/text",
        "base/threads",
    ],
    &["device"],
    &["net", "data", "ranks", "page/charts", "train/schedule", "measure/metric"],
    &["page/draw", "model", "measure/probe", "train/recipe"],
    &["model/foreign", "measure/summary", "measure/confidence"],
    &["model/export", "model/published", "train/event", "train/task", "measure/evaluate"],
    &["measure/predict", "measure/feature", "train", "study/bench"],
    &[
        "study/doctor",
        "train/finetune",
        "study/inspect",
        "study/features",
        "study/calibrate",
        "study/data",
    ],
    &["study/compare"],
    &["study/explain"],
];

/// Floors of the server, lowest first: rooms are folders of `resnet-server/src`.
const SERVER: &[&[&str]] = &[&["http"], &["page", "wire"], &["serve", "board"]];

struct Source {
    /// Path from `src`, with `/`.
    file: String,
    text: String,
}

fn sources(crate_name: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_name).join("src");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let file = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                files.push(Source { file, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(!files.is_empty(), "{crate_name} has no sources");
    files
}

fn is_test(file: &str) -> bool {
    file.split('/').any(|part| ["tests", "tests.rs", "testing.rs"].contains(&part))
}

/// The part of a source file that is not tests, which may look at anything.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The paths named after `crate::`, in single paths and in braces, with `/`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        paths(&text[at + "crate::".len()..], String::new(), &mut found);
    }
    found
}

/// Collects `a::b`, and of `a::{b, c::d}` each; returns what is left of the text.
fn paths<'a>(mut text: &'a str, before: String, found: &mut Vec<String>) -> &'a str {
    let mut path = before;
    loop {
        if let Some(mut rest) = text.strip_prefix('{') {
            loop {
                rest = paths(rest.trim_start(), path.clone(), found).trim_start();
                match rest.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => rest = more,
                    Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                    None => return rest.strip_prefix('}').unwrap_or(rest),
                }
            }
        }
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        if end == 0 {
            found.push(path);
            return text;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&text[..end]);
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => {
                found.push(path);
                return text;
            }
        }
    }
}

/// Room and floor of a path: the longest room that it begins with.
fn room<'a>(floors: &'a [&'a [&'a str]], path: &str) -> Option<(usize, &'a str)> {
    let rooms = floors
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |&room| (floor, room)));
    let holds = |room: &str| {
        path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    rooms.filter(|(_, room)| holds(room)).max_by_key(|(_, room)| room.len())
}

fn wrong_arrows(crate_name: &str, floors: &[&[&str]]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Source { file, text } in sources(crate_name) {
        let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
        // A folder's own file declares rooms and knows nothing else.
        let declares = floors.iter().flat_map(|rooms| rooms.iter());
        let declares = declares.filter(|room| room.starts_with(&format!("{path}/"))).count() > 0;
        if file == "lib.rs" || is_test(&file) {
            continue;
        }
        let imports = imports(without_tests(&text));
        let Some((floor, own)) = room(floors, path) else {
            if !declares || !imports.is_empty() {
                wrong.push(format!("{file}: stands in no room"));
            }
            continue;
        };
        for import in imports {
            match room(floors, &import) {
                Some((_, other)) if other == own => {}
                Some((below, _)) if below < floor => {}
                _ => wrong.push(format!("{crate_name}/{file}: imports crate::{import}")),
            }
        }
    }
    wrong
}

#[test]
fn arrows_point_down() {
    let mut wrong = wrong_arrows("resnet-engine", ENGINE);
    wrong.extend(wrong_arrows("resnet", LIBRARY));
    wrong.extend(wrong_arrows("resnet-server", SERVER));
    assert!(wrong.is_empty(), "imports that are not allowed:\n{}", wrong.join("\n"));
}

#[test]
fn only_their_keepers_touch_the_outer_crates() {
    for (crate_name, file, text) in ["resnet", "resnet-engine", "resnet-server"]
        .into_iter()
        .flat_map(|name| sources(name).into_iter().map(move |s| (name, s.file, s.text)))
    {
        let kernels = file.starts_with("exec/cpu/") || file == "picture.rs";
        assert!(
            crate_name == "resnet-engine" && kernels || !text.contains("resnet_kernels"),
            "{crate_name}/{file}: only the engine's exec/cpu and picture run kernels"
        );
        let keepers = [
            "data/pack/shard",
            "data/parquet",
            "data/picture/baseline",
            "model/",
            "train/checkpoint",
            "train/event/tensorboard",
        ];
        if !keepers.iter().any(|keeper| file.starts_with(keeper)) {
            assert!(
                !text.contains("resnet_formats"),
                "{crate_name}/{file}: only models, checkpoints, events, photos and tables are of these formats"
            );
        }
        assert!(
            crate_name == "resnet" && file.starts_with("ranks/") || !text.contains("resnet_mpi"),
            "{crate_name}/{file}: only ranks speak to other processes"
        );
        assert!(
            crate_name == "resnet" && file == "device.rs" || !text.contains("resnet_gpu"),
            "{crate_name}/{file}: only the room of devices knows which kinds there are"
        );
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        for print in ["println!", "eprintln!", "print!(", "dbg!"] {
            assert!(
                !text.lines().filter(is_code).any(|line| line.contains(print)),
                "{crate_name}/{file}: only the command line prints, found {print}"
            );
        }
    }
}

#[test]
fn the_check_itself_can_fail() {
    let text = "use crate::{graph::{Graph, Op}, plan};\nuse crate::exec::Cpu;";
    assert_eq!(imports(text), ["graph/Graph", "graph/Op", "plan", "exec/Cpu"]);
    assert_eq!(imports("crate::train::run()"), ["train/run"]);
    let after = "#[cfg(test)]\nmod tests;\nuse crate::train;\n#[cfg(test)]\nmod tests {\nuse crate::exec;\n}";
    assert_eq!(imports(without_tests(after)), ["train"]);
    assert_eq!(room(LIBRARY, "train/recipe/keys"), Some((3, "train/recipe")));
    assert_eq!(room(LIBRARY, "trainer"), None);
}
