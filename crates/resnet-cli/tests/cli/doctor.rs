//! What the program says of itself and of the machine, to be pasted into a report.

use std::fs;

use crate::support::{Folder, Outcome};

/// Runs it with caches of its own.
fn doctor(folder: &Folder, args: &[&str], set: &[(&str, &str)]) -> Outcome {
    let mut command = folder.command(&[&["doctor"], args].concat());
    command.env("XDG_CACHE_HOME", folder.path("caches")).env_remove("TORCH_HOME");
    Outcome::of(command.envs(set.iter().copied()).output().unwrap())
}

#[test]
fn it_fits_a_screen_and_names_what_a_report_needs() {
    let folder = Folder::new();
    folder.write("caches/resnet/one-01234567.pth", &[0; 2048]);
    folder.write("caches/resnet/models/one-01234567.safetensors", &[0; 1024]);
    let told = doctor(&folder, &[], &[]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.lines().count() <= 40, "{}", told.out);
    for begin in [
        concat!("resnet        ", env!("CARGO_PKG_VERSION"), ", "),
        "features      ",
        "system        ",
        "CPU           ",
        "instructions  ",
        "threads       ",
        "memory        ",
        "cgroup limits ",
        "kernels       of resnet18",
        "GPUs          ",
        "MPI           ",
        "weights       ",
        "variables     none",
    ] {
        assert!(told.out.lines().any(|line| line.starts_with(begin)), "{begin}: {}", told.out);
    }
    assert!(told.out.contains("caches/resnet, 2.0 KiB\n"), "{}", told.out);
    assert!(told.out.contains("caches/resnet/models, 1.0 KiB\n"), "{}", told.out);
    assert!(told.out.contains("caches/resnet/data, not there yet\n"), "{}", told.out);
    // Only to try whether something can be written, and gone again.
    assert_eq!(fs::read_dir(folder.path("caches/resnet")).unwrap().count(), 2);
}

#[test]
fn json_has_the_same_and_what_is_wrong_is_a_part_of_it() {
    let folder = Folder::new();
    let json = doctor(&folder, &["--json"], &[("RESNET_ISA", "scalar")]).json().remove(0);
    assert_eq!((&json["taken"], &json["error"]), (&"scalar".into(), &().into()), "{json}");
    assert!(json["kernels"].as_array().unwrap().len() > 1, "{json}");
    assert!(json["threads"]["count"].as_u64().unwrap() >= 1, "{json}");
    assert_eq!(json["variables"]["RESNET_ISA"], "scalar", "{json}");
    assert_eq!(json["folders"].as_array().unwrap().len(), 5, "{json}");

    // A wrong value ends every other command.
    let wrong = [("RESNET_ISA", "sse9"), ("RESNET_MPI", "none"), ("RESNET_DATA_QUERY", "key=1")];
    let told = doctor(&folder, &[], &wrong);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("unknown instruction set \"sse9\""), "{}", told.out);
    assert!(told.out.contains("MPI           RESNET_MPI is none"), "{}", told.out);
    assert!(told.out.contains("RESNET_DATA_QUERY=(set)") && !told.out.contains("key=1"));
    let json = doctor(&folder, &["--json"], &wrong).json().remove(0);
    assert!(json["error"].as_str().unwrap().contains("sse9") && json["taken"].is_null(), "{json}");
}

#[test]
fn it_starts_no_mpi_and_says_who_started_it() {
    let folder = Folder::new();
    let rank = |rank| {
        let launched = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", rank)];
        doctor(&folder, &[], &[&launched[..], &[("RESNET_MPI", "libno-such-mpi.so")]].concat())
    };
    let first = rank("0");
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.contains("started by Open MPI's launcher, rank 0 of 4"), "{}", first.out);
    assert!(first.out.contains("libno-such-mpi.so"), "{}", first.out);
    // One of them speaks.
    assert_eq!((rank("1").code, rank("1").out.as_str()), (0, ""));
}
