use std::env;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A folder that goes when it is dropped.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files in a folder of their own.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let tree = Tree(env::temp_dir().join(format!("resnet-tree-{}-{number}", process::id())));
    for (file, text) in files {
        let path = tree.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    tree
}

/// A machine: what may be run on, siblings and capacity of each CPU, and other files.
fn machine(allowed: &str, cpus: &[(&str, u64)], more: &[(&str, &str)]) -> Tree {
    let mut files =
        vec![("proc/self/status".to_string(), format!("Cpus_allowed_list:\t{allowed}\n"))];
    for (cpu, (siblings, capacity)) in cpus.iter().enumerate() {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}");
        files.push((format!("{folder}/topology/thread_siblings_list"), format!("{siblings}\n")));
        files.push((format!("{folder}/cpu_capacity"), format!("{capacity}\n")));
    }
    let own = |(file, text): &(&str, &str)| (file.to_string(), text.to_string());
    files.extend(more.iter().map(own));
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    tree(&files)
}

/// The threads of a machine and why, where the standard library was told `told`.
fn chosen(machine: &Tree, told: usize) -> (usize, String) {
    let threads = under(machine.path(), told);
    (threads.count, threads.why())
}

/// CPUs with no sibling, all as fast.
fn alone(count: usize) -> Vec<(String, u64)> {
    (0..count).map(|cpu| (cpu.to_string(), 1024)).collect()
}

/// CPU i beside CPU i + cores.
fn pairs(cores: usize) -> Vec<(String, u64)> {
    (0..2 * cores).map(|cpu| (format!("{},{}", cpu % cores, cpu % cores + cores), 1024)).collect()
}

fn lent(cpus: &[(String, u64)]) -> Vec<(&str, u64)> {
    cpus.iter().map(|(siblings, capacity)| (siblings.as_str(), *capacity)).collect()
}

#[test]
fn a_quota_limits_threads_and_is_rounded_up() {
    let cpus = alone(64);
    for (quota, told, expected, why) in [
        ("200000 100000", 2, 2, "64 CPUs, a quota of 2"),
        ("250000 100000", 2, 3, "64 CPUs, a quota of 2.5"),
        ("10000 100000", 1, 1, "64 CPUs, a quota of 0.1"),
        ("6400000 100000", 64, 64, "64 CPUs, a quota of 64"),
        ("max 100000", 64, 64, "64 CPUs"),
        // One that only the standard library finds.
        ("max 100000", 7, 7, "64 CPUs, a quota of 7"),
    ] {
        let more = [("proc/self/cgroup", "0::/box\n"), ("sys/fs/cgroup/box/cpu.max", quota)];
        let machine = machine("0-63", &lent(&cpus), &more);
        assert_eq!(chosen(&machine, told), (expected, why.into()), "{quota}");
    }
}

#[test]
fn a_core_has_one_thread_whichever_of_its_cpus_are_allowed() {
    let cpus = pairs(8);
    for (allowed, told, expected, why) in [
        ("0-15", 16, 8, "16 CPUs of 8 cores"),
        ("0-7", 8, 8, "8 CPUs"),
        ("0,8", 2, 1, "2 CPUs of 1 core"),
        ("8-15", 8, 8, "8 CPUs"),
        ("3", 1, 1, "1 CPU"),
    ] {
        let machine = machine(allowed, &lent(&cpus), &[]);
        assert_eq!(chosen(&machine, told), (expected, why.into()), "{allowed}");
    }
    let more = [("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "1200000 100000\n")];
    let machine = machine("0-15", &lent(&cpus), &more);
    assert_eq!(chosen(&machine, 12), (8, "16 CPUs of 8 cores, a quota of 12".into()));
}

#[test]
fn performance_cores_compute_where_a_processor_has_two_kinds() {
    // Six performance cores of two threads each, eight efficiency cores.
    let big = (0..12).map(|cpu| (format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1), 1024));
    let cpus: Vec<_> = big.chain((12..20).map(|cpu| (cpu.to_string(), 620))).collect();
    let more = [("sys/devices/cpu_core/cpus", "0-11\n"), ("sys/devices/cpu_atom/cpus", "12-19\n")];
    for (allowed, told, expected, why) in [
        ("0-19", 20, 6, "20 CPUs of 14 cores, 6 of them fast"),
        ("12-19", 8, 8, "8 CPUs"),
        ("10-13", 4, 1, "4 CPUs of 3 cores, 1 of them fast"),
    ] {
        let machine = machine(allowed, &lent(&cpus), &more);
        assert_eq!(chosen(&machine, told), (expected, why.into()), "{allowed}");
    }
}

#[test]
fn as_many_of_the_fastest_cores_compute_as_are_fast_together() {
    for (capacities, expected) in [
        (&[446, 446, 446, 446, 1024, 1024][..], 6),
        (&[300, 300, 300, 300, 800, 800, 800, 1024], 4),
        (&[250, 250, 250, 250, 1024, 1024, 1024, 1024], 4),
        (&[1024; 4], 4),
        (&[0; 4], 4),
    ] {
        let cpus: Vec<_> =
            capacities.iter().enumerate().map(|(cpu, of)| (cpu.to_string(), *of)).collect();
        let machine = machine(&format!("0-{}", cpus.len() - 1), &lent(&cpus), &[]);
        assert_eq!(chosen(&machine, cpus.len()).0, expected, "{capacities:?}");
    }
}

#[test]
fn what_files_do_not_tell_is_as_the_standard_library_has_it() {
    assert_eq!(chosen(&tree(&[]), 12), (12, "12 CPUs".into()));
    for list in ["", "4-2", "0-99999999999", "x"] {
        assert_eq!(chosen(&machine(list, &[], &[]), 3), (3, "3 CPUs".into()), "{list}");
    }
    // No topology: a CPU is a core.
    assert_eq!(chosen(&machine("0-3", &[], &[]), 4), (4, "4 CPUs".into()));
    let one = machine("0", &[("0", 1024)], &[]);
    assert_eq!(chosen(&one, 1), (1, "1 CPU".into()));
}

#[test]
fn macos_answers_with_performance_cores_or_all() {
    assert_eq!(first_number("6\n8\n"), Some(6));
    assert_eq!(first_number("8\n"), Some(8));
    assert_eq!((first_number(""), first_number("0\n")), (None, None));
}

#[test]
fn this_machine_has_no_more_threads_than_cpus() {
    let threads = DefaultThreads::get();
    assert!((1..=threads.cpus).contains(&threads.count), "{threads:?}");
    assert_eq!(crate::exec::threads(0), threads.count);
    assert_eq!(crate::exec::threads(5000), 1024);
}
