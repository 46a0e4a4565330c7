//! Run directories: whose they are, where they may go, what limits of the system do to them.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::{Folder, Outcome};
use crate::wrong_input::refused;

const RUN: &[&str] =
    &["train", "resnet8", "--data", "mnist:digits", "--steps", "4", "--batch", "16"];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.digits(64, 16, 4);
    folder
}

/// Starts runs at the same time, each with a seed of its own.
fn start(folder: &Folder, count: usize, more: &[&str]) -> Vec<Child> {
    let one = |seed: usize| {
        let seed = format!("seed={seed}");
        let args = [RUN, more, &["--threads", "1", &seed]].concat();
        let mut command = folder.command(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (1..=count).map(one).collect()
}

fn seed_of(text: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with("seed = "));
    line.unwrap().trim().to_owned()
}

#[test]
fn of_many_starts_into_one_directory_one_trains() {
    let folder = folder();
    let outcomes: Vec<Outcome> = start(&folder, 8, &["--out", "run"])
        .into_iter()
        .map(|child| Outcome::of(child.wait_with_output().unwrap()))
        .collect();
    let codes: Vec<i32> = outcomes.iter().map(|outcome| outcome.code).collect();
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    for outcome in outcomes.iter().filter(|outcome| outcome.code != 0) {
        let told = ["already holds", "is in use"].iter().any(|text| outcome.err.contains(text));
        assert!(told, "{}", outcome.err);
    }
    let config = fs::read_to_string(folder.path("run/config.toml")).unwrap();
    let model = fs::read(folder.path("run/model.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&model).replace("\\n", "\n");
    assert_eq!(seed_of(&config), seed_of(&header), "the model is of another run");
}

#[test]
fn runs_that_start_at_once_without_a_directory_get_one_each() {
    let folder = folder();
    for child in start(&folder, 6, &[]) {
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        assert_eq!(outcome.code, 0, "{}", outcome.err);
    }
    let runs: Vec<_> = fs::read_dir(folder.path("runs")).unwrap().map(Result::unwrap).collect();
    assert_eq!(runs.len(), 6);
    let seed = |run: &fs::DirEntry| {
        assert!(run.path().join("model.safetensors").is_file());
        seed_of(&fs::read_to_string(run.path().join("config.toml")).unwrap())
    };
    let seeds: HashSet<String> = runs.iter().map(seed).collect();
    assert_eq!(seeds.len(), 6);
}

#[test]
fn a_start_that_is_refused_leaves_nothing_in_the_way() {
    let folder = folder();
    folder.write("kept/model.safetensors", b"of somebody");
    let refused = folder.run(&[RUN, &["--out", "kept"]].concat());
    assert_eq!(refused.code, 2, "{}", refused.err);
    let told = "kept already holds model.safetensors, which is never replaced; choose another \
                directory with --out\n";
    assert!(refused.err.ends_with(told), "{}", refused.err);
    let names: Vec<_> = fs::read_dir(folder.path("kept")).unwrap().map(Result::unwrap).collect();
    assert_eq!(names.len(), 1, "only what was there");
    let refused = folder.run(&[RUN, &["--out", "new", "batch=1000"]].concat());
    assert_ne!(refused.code, 0);
    assert!(!folder.path("new").exists(), "{}", refused.err);
    folder.ok(&[RUN, &["--out", "new"]].concat());
}

#[test]
fn a_run_directory_may_be_moved_and_looked_at_from_elsewhere() {
    let folder = folder();
    folder.ok(&[RUN, &["--out", "run"]].concat());
    fs::create_dir_all(folder.path("archive/old")).unwrap();
    fs::rename(folder.path("run"), folder.path("archive/old/run")).unwrap();
    let elsewhere = |args: &[&str]| {
        let mut command = folder.command(args);
        command.current_dir(folder.path("archive"));
        let outcome = Outcome::of(command.output().unwrap());
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
    };
    elsewhere(&["train", "--resume", "old/run", "--steps", "8"]);
    elsewhere(&["eval", "old/run"]);
    elsewhere(&["inspect", "old/run"]);
    elsewhere(&["compare", "--runs", "old/run", "--out", "compared"]);
    // A folder of the same name beside whoever asks is not the run's.
    folder.write("archive/digits/notes.txt", b"no pictures");
    elsewhere(&["eval", "old/run"]);
    // The pictures are moved as well: their place is said.
    fs::rename(folder.path("digits"), folder.path("numbers")).unwrap();
    let lost = folder.run(&["train", "--resume", "archive/old/run", "--steps", "12"]);
    assert_eq!(lost.code, 1, "{}", lost.err);
    let place = ["--data", "mnist:numbers", "--steps", "12"];
    folder.ok(&[&["train", "--resume", "archive/old/run"], &place[..]].concat());
    // A place that is said from elsewhere is the same from anywhere.
    fs::rename(folder.path("numbers"), folder.path("archive/moved")).unwrap();
    elsewhere(&["train", "--resume", "old/run", "--data", "mnist:moved", "--steps", "16"]);
    folder.ok(&["eval", "archive/old/run"]);
}

#[test]
fn a_run_that_goes_on_says_that_its_model_is_an_older_one() {
    let folder = folder();
    folder.ok(&[RUN, &["--out", "run"]].concat());
    let whole = folder.ok(&["eval", "run"]).err;
    assert!(!whole.contains("warning"), "{whole}");
    // As if it had gone on and been killed.
    let events = fs::read_to_string(folder.path("run/events.jsonl")).unwrap();
    let kept: Vec<&str> = events.lines().filter(|line| !line.contains("run_ended")).collect();
    folder.write("run/events.jsonl", (kept.join("\n") + "\n").as_bytes());
    let told = folder.ok(&["eval", "run"]).err;
    let warning = "warning: run/model.safetensors is of an earlier end of its run, which goes on; \
                   run/checkpoints/last.safetensors is newer\n";
    assert!(told.contains(warning), "{told}");
    let looked = folder.ok(&["inspect", "run"]).out;
    assert!(looked.contains("weights of run/checkpoints/last.safetensors"), "{looked}");
}

#[test]
fn pictures_of_a_program_are_asked_for_by_name() {
    let folder = folder();
    folder.ok(&[RUN, &["--out", "run"]].concat());
    let config = fs::read_to_string(folder.path("run/config.toml")).unwrap();
    let given = config.replace("source = \"mnist:digits\"", "source = \"given\"");
    assert!(given != config);
    folder.write("run/config.toml", given.as_bytes());
    let asked = "the pictures were a program's own; name others in their place";
    for args in [&["train", "--resume", "run"][..], &["eval", "run"], &["inspect", "run"]] {
        refused(&folder.run(args), 2, &[&format!("{asked} with --data\n")]);
    }
    refused(&folder.run(&["compare", "--runs", "run"]), 2, &[&format!("{asked}\n")]);
    folder.ok(&["eval", "run", "--data", "mnist:digits"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_directory_may_have_any_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let run = |args: &[&str], flag: &str| {
        let outcome = Outcome::of(folder.command(args).arg(flag).arg(name).output().unwrap());
        assert_eq!(outcome.code, 0, "{}", outcome.err);
    };
    run(RUN, "--out");
    run(&["train", "--steps", "8"], "--resume");
    assert!(folder.path("").join(name).join("model.safetensors").is_file());
}

#[test]
fn a_run_whose_reader_leaves_is_interrupted_and_goes_on() {
    let folder = folder();
    let args = [RUN, &["--out", "run", "--json", "--steps", "40"]].concat();
    let args: Vec<&str> = args.iter().filter(|word| !["4"].contains(word)).copied().collect();
    let args: Vec<&str> = {
        let mut seen = false;
        let twice = |word: &&str| *word != "--steps" || std::mem::replace(&mut seen, true);
        args.into_iter().filter(twice).collect()
    };
    let mut child =
        folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("run_started"), "{line}");
    // The pipe is closed here.
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.err);
    folder.ok(&["train", "--resume", "run"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_no_events_is_an_error_and_the_run_goes_on_after_it() {
    let folder = folder();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let args = [RUN, &["--out", "my run", "--json"]].concat();
    let outcome = Outcome::of(folder.command(&args).stdout(full()).output().unwrap());
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    for words in ["cannot write to standard output", "go on with: resnet train --resume 'my run'"] {
        assert!(outcome.err.contains(words), "{words}: {}", outcome.err);
    }
    folder.ok(&["train", "--resume", "my run"]);
    // What has no line break at its end waits for the last moment.
    for args in [&["eval", "my run"][..], &["draw", "resnet8", "-o", "-"], &["models"]] {
        let outcome = Outcome::of(folder.command(args).stdout(full()).output().unwrap());
        assert_eq!(outcome.code, 1, "{args:?}");
        assert!(outcome.err.contains("cannot write to standard output"), "{}", outcome.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn limits_of_the_system_are_told_and_the_run_goes_on_after_them() {
    let folder = folder();
    // In blocks of 1,024 bytes: a checkpoint of this network takes more.
    let limited = |limit: &str, args: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_resnet");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, binary]).args(args).current_dir(folder.path(""));
        Outcome::of(command.output().unwrap())
    };
    let args = [RUN, &["--out", "run", "checkpoint_every=2it"]].concat();
    let outcome = limited("-f 100", &args);
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("limit of the size of files"), "{}", outcome.err);
    folder.ok(&["train", "--resume", "run"]);
    let large = ["train", "resnet110", "--data", "mnist:digits", "--batch", "64", "--out", "small"];
    let outcome = limited("-v 60000", &large);
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("memory"), "{}", outcome.err);
}
