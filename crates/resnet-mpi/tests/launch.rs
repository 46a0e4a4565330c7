//! The example `collectives` under every MPI that is found: Debian's, and those in the directories
//! that `RESNET_TEST_MPI` lists (as `python3 -m venv` and `pip install mpich` make them), separated
//! by colons. What is absent is said to be skipped.
#![cfg(unix)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// An installed MPI.
struct Stack {
    name: String,
    launcher: PathBuf,
    is_open_mpi: bool,
    /// Ranks that it gets by with on this machine, whatever it has.
    most: usize,
    /// Whether it can go on without ranks that are lost.
    is_tolerant: bool,
}

fn stacks() -> Vec<Stack> {
    let mut found = Vec::new();
    for (name, program, is_open_mpi) in
        [("Debian's Open MPI", "mpirun.openmpi", true), ("Debian's MPICH", "mpirun.mpich", false)]
    {
        let path = env::var_os("PATH").unwrap_or_default();
        match env::split_paths(&path).map(|bin| bin.join(program)).find(|path| path.exists()) {
            Some(launcher) => found.push(Stack {
                name: name.into(),
                launcher,
                is_open_mpi,
                most: 4,
                is_tolerant: false,
            }),
            None => eprintln!("skipped: {name}, of which there is no {program}"),
        }
    }
    let roots = env::var_os("RESNET_TEST_MPI").unwrap_or_default();
    if roots.is_empty() {
        eprintln!("skipped: MPIs in directories, of which RESNET_TEST_MPI lists none");
    }
    for root in env::split_paths(&roots).filter(|root| !root.as_os_str().is_empty()) {
        let launcher = root.join("bin/mpiexec");
        assert!(launcher.exists(), "RESNET_TEST_MPI: {} does not exist", launcher.display());
        let is_open_mpi = root.join("bin/ompi_info").exists();
        // Processes of MPICH 5 that outnumber the cores wait for each other for minutes.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        found.push(Stack {
            name: root.display().to_string(),
            launcher,
            is_open_mpi,
            most: if is_open_mpi { 4 } else { cores.min(4) },
            is_tolerant: is_open_mpi,
        });
    }
    found
}

/// The example, which `cargo test` has built beside the tests.
fn example() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let profile = tests.ancestors().nth(2).map(Path::to_path_buf).unwrap();
    let example = profile.join("examples/collectives");
    assert!(example.exists(), "{} is built by `cargo test` without `--test`", example.display());
    example
}

/// What it says under a launcher, all in one, and whether it succeeded. A run that does not end is
/// ended, and fails.
fn run(stack: &Stack, ranks: usize, options: &[&str], words: &[&str]) -> (bool, String) {
    run_with(stack, ranks, options, words, &[])
}

fn run_with(
    stack: &Stack,
    ranks: usize,
    options: &[&str],
    words: &[&str],
    variables: &[(&str, &str)],
) -> (bool, String) {
    // Processes that wait for each other take whole cores, so one run at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(&stack.launcher).args(options);
    if stack.is_open_mpi {
        command.arg("--oversubscribe");
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    command.args(["-n", &ranks.to_string()]).arg(example()).args(words);
    let output = command.envs(variables.iter().copied()).output().expect("timeout is a program");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_ne!(output.status.code(), Some(124), "{}, {words:?} does not end: {said}", stack.name);
    (output.status.success(), said)
}

#[test]
fn every_call_gives_what_was_sent() {
    for stack in stacks() {
        for ranks in [1, 2, 3, 4].into_iter().filter(|&ranks| ranks <= stack.most) {
            let (succeeded, said) = run(&stack, ranks, &[], &["check"]);
            assert!(succeeded, "{}, {ranks} ranks: {said}", stack.name);
            for rank in 0..ranks {
                let ok = format!("ok: rank {rank} of {ranks}, ");
                assert!(said.contains(&ok), "{}: {said}", stack.name);
            }
            let which = if stack.is_open_mpi { ["Open MPI"; 2] } else { ["MPICH", "Intel"] };
            assert!(which.iter().any(|name| said.contains(name)), "{}: {said}", stack.name);
        }
    }
}

#[test]
fn a_sum_in_order_and_the_mpis_own_are_timed() {
    for stack in stacks() {
        let (succeeded, said) = run(&stack, 2.min(stack.most), &[], &["time", "100000", "3"]);
        assert!(succeeded && said.contains("MPI_Allreduce"), "{}: {said}", stack.name);
    }
}

#[test]
fn a_rank_that_takes_no_part_is_named() {
    for stack in stacks().iter().filter(|stack| stack.most > 1) {
        for (what, why) in [("hang", "asked for nothing"), ("stop", "cannot be heard")] {
            for rank in ["0", "1"] {
                let (succeeded, said) = run(stack, 2, &[], &[what, rank, "1"]);
                let named =
                    said.contains(&format!("Missing: rank {rank} on ")) && said.contains(why);
                assert!(!succeeded && named, "{}, {what} {rank}: {said}", stack.name);
                assert_eq!(said.matches("given up:").count(), 1, "{}: {said}", stack.name);
            }
        }
        let (succeeded, said) = run(stack, 2, &[], &["end", "1", "1"]);
        assert!(!succeeded && said.contains("rank 1 on "), "{}: {said}", stack.name);
    }
}

#[test]
fn patience_of_the_environment_is_heard() {
    for stack in stacks().iter().filter(|stack| stack.most > 1) {
        let words = ["hang", "1", "3600"];
        let (_, said) = run_with(stack, 2, &[], &words, &[("RESNET_MPI_TIMEOUT", "1")]);
        assert!(said.contains("for 1 s. Missing: rank 1 on "), "{}: {said}", stack.name);
        let (succeeded, said) =
            run_with(stack, 1, &[], &["check"], &[("RESNET_MPI_TIMEOUT", "soon")]);
        let named = said.contains("RESNET_MPI_TIMEOUT is `soon`: expected");
        assert!(!succeeded && named, "{}: {said}", stack.name);
    }
}

#[test]
fn a_rank_that_dies_ends_all() {
    for stack in stacks().iter().filter(|stack| stack.most > 1) {
        for what in ["kill", "panic"] {
            let (succeeded, said) = run(stack, 2, &[], &[what, "1", "3600"]);
            assert!(!succeeded, "{}, {what}: {said}", stack.name);
        }
    }
}

#[test]
fn rank_0_may_save_where_the_others_live_on() {
    for stack in stacks().iter().filter(|stack| stack.is_tolerant) {
        for lost in ["1", "2"] {
            let options = ["--with-ft", "ulfm"];
            let (succeeded, said) = run(stack, 3, &options, &["kill", lost, "3600"]);
            let saved = said.contains("rank 0 is told: ") && said.contains("rank 0 has saved");
            assert!(!succeeded && saved, "{}: {said}", stack.name);
        }
    }
}

#[test]
fn launcher_and_library_of_different_mpis_are_refused() {
    let stacks = stacks();
    let debian = |program: &str| stacks.iter().find(|stack| stack.launcher.ends_with(program));
    let (Some(open), Some(mpich)) = (debian("mpirun.openmpi"), debian("mpirun.mpich")) else {
        return eprintln!("skipped: Debian's Open MPI and MPICH are not both there");
    };
    for (stack, library) in [(open, "libmpich.so.12"), (mpich, "libmpi.so.40")] {
        let (succeeded, said) = run_with(stack, 2, &[], &["check"], &[("RESNET_MPI", library)]);
        let parts =
            ["not of the same MPI", library, "set RESNET_MPI to", "rank 1 of 2", "rank 0 of 1"];
        assert!(!succeeded && !said.contains("ok:"), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn what_is_no_mpi_is_refused_and_none_is_none() {
    for stack in stacks() {
        let with = |library| run_with(&stack, 1, &[], &["check"], &[("RESNET_MPI", library)]);
        let (succeeded, said) = with("/nowhere/libmpi.so");
        assert!(!succeeded && said.contains("/nowhere/libmpi.so"), "{}: {said}", stack.name);
        let (succeeded, said) = with("none");
        assert!(succeeded && said.contains("alone"), "{}: {said}", stack.name);
    }
}
