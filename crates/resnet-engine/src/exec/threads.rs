//! How many threads compute where nobody says.
//!
//! A loop's tasks are cut evenly among threads and its end waits for the last of them, so a thread
//! helps where it has a core of its own as fast as the others'. Two hardware threads of a core
//! share the units that multiply, which a kernel keeps busy alone; an efficiency core makes the
//! others wait; beyond a container's quota all threads are stopped for the rest of a period.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use super::cgroup::CgroupLimits;

/// More CPUs than any machine has: a list that names more is none.
const MOST_CPUS: usize = 1 << 16;

/// How many threads compute where nobody says, and what that follows from.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DefaultThreads {
    /// So many, at least 1.
    pub count: usize,
    /// CPUs that this process may run on, two of a core counted twice.
    pub cpus: usize,
    /// The cores that they are of.
    pub cores: usize,
    /// Those of them that are worth a thread beside the fastest.
    pub fast: usize,
    /// CPUs' worth of time that a quota leaves this process.
    pub quota: Option<f64>,
}

impl DefaultThreads {
    /// Those of this process; looked for once.
    pub fn get() -> &'static DefaultThreads {
        static FOUND: OnceLock<DefaultThreads> = OnceLock::new();
        FOUND.get_or_init(|| {
            let told = available_parallelism().map_or(1, usize::from);
            match cfg!(target_os = "macos").then(of_macos).flatten() {
                Some(fast) => DefaultThreads::of(told, told, fast, None),
                None => under(Path::new("/"), told),
            }
        })
    }

    fn of(cpus: usize, cores: usize, fast: usize, quota: Option<f64>) -> DefaultThreads {
        // Part of a CPU is worth a thread, which is stopped for the rest of each period.
        let most = quota.map_or(usize::MAX, |cpus| cpus.ceil() as usize);
        DefaultThreads { count: fast.min(most).max(1), cpus, cores, fast, quota }
    }

    /// What it follows from, in words.
    pub fn why(&self) -> String {
        let of = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let mut why = of(self.cpus, "CPU");
        if self.cores < self.cpus {
            why += &format!(" of {}", of(self.cores, "core"));
        }
        if self.fast < self.cores {
            why += &format!(", {} of them fast", self.fast);
        }
        if let Some(quota) = self.quota {
            let digits = format!("{quota:.3}");
            why += ", a quota of ";
            why += digits.trim_end_matches('0').trim_end_matches('.');
        }
        why
    }
}

/// What Linux says in files under a root; of other systems, and where a file is missing, what the
/// standard library was `told`, a CPU being a core.
fn under(root: &Path, told: usize) -> DefaultThreads {
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let Some(allowed) = allowed.and_then(listed) else {
        return DefaultThreads::of(told, told, told, None);
    };
    // Where groups are mounted elsewhere the standard library still knows a quota, rounded down.
    let quota = CgroupLimits::under(root).cpus;
    let quota = quota.or_else(|| (told < allowed.len()).then_some(told as f64));
    let cores = one_a_core(root, &allowed);
    DefaultThreads::of(allowed.len(), cores.len(), fast(root, &cores), quota)
}

/// Of each core the first of its CPUs.
fn one_a_core(root: &Path, cpus: &BTreeSet<usize>) -> Vec<usize> {
    let (mut cores, mut beside) = (Vec::new(), BTreeSet::new());
    for cpu in cpus {
        if beside.contains(cpu) {
            continue;
        }
        cores.push(*cpu);
        let siblings = of_cpu(root, *cpu, "topology/thread_siblings_list");
        beside.extend(siblings.and_then(|list| listed(&list)).unwrap_or_default());
    }
    cores
}

/// How many cores are worth a thread each. Intel's processors of two kinds name the performance
/// cores. Others give capacities: since the slowest thread says how fast all are, so many of the
/// fastest cores that their number times the capacity of their slowest is largest.
fn fast(root: &Path, cores: &[usize]) -> usize {
    let named = fs::read_to_string(root.join("sys/devices/cpu_core/cpus")).ok();
    let named = named.and_then(|list| listed(&list)).unwrap_or_default();
    match cores.iter().filter(|cpu| named.contains(cpu)).count() {
        0 => {}
        performance => return performance,
    }
    let capacity = |cpu: &usize| of_cpu(root, *cpu, "cpu_capacity")?.trim().parse::<u64>().ok();
    let Some(mut capacities) = cores.iter().map(capacity).collect::<Option<Vec<u64>>>() else {
        return cores.len();
    };
    capacities.sort_unstable_by(|a, b| b.cmp(a));
    let speed = |count: &usize| *count as u64 * capacities[count - 1].min(1 << 32);
    (1..=cores.len()).max_by_key(speed).unwrap_or(1)
}

fn of_cpu(root: &Path, cpu: usize, file: &str) -> Option<String> {
    fs::read_to_string(root.join(format!("sys/devices/system/cpu/cpu{cpu}/{file}"))).ok()
}

/// The CPUs that a list such as `0-3,8` names; none if it is none.
fn listed(list: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Performance cores as macOS counts them. Its interface is a C function; its own program takes
/// some milliseconds, once in a process and only where threads are to compute, which costs less
/// than steps that wait for efficiency cores. Windows tells nothing without such a function.
fn of_macos() -> Option<usize> {
    let asked = ["-n", "hw.perflevel0.physicalcpu", "hw.physicalcpu"];
    let answer = Command::new("/usr/sbin/sysctl").args(asked).output().ok()?;
    first_number(&String::from_utf8_lossy(&answer.stdout))
}

/// The first of the answers, of which the system leaves out what it does not know.
fn first_number(answer: &str) -> Option<usize> {
    answer.lines().find_map(|line| line.trim().parse().ok()).filter(|count| *count > 0)
}

#[cfg(test)]
pub(super) mod tests;
