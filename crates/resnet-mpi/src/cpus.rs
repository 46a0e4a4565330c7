//! How many CPUs a process may use.

use std::fs;

/// CPUs of this process and of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// What this process may run on.
    pub bound: usize,
    /// What the machine has, or the part of it that the job was given.
    pub machine: usize,
    /// Processes of the run on this machine.
    pub ranks: usize,
}

impl Cpus {
    pub(crate) fn read(ranks: usize) -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let allowed = |line: &str| line.strip_prefix("Cpus_allowed_list:").map(str::to_owned);
        let bound = listed(&status.lines().find_map(allowed)?)?;
        Some(Self { bound, machine: given()?.max(bound), ranks })
    }

    /// Whether a launcher has bound its processes so that CPUs are left without one.
    pub fn are_left_idle(&self) -> bool {
        self.bound * self.ranks < self.machine
    }
}

/// CPUs of the cgroup that the process is in, or of the machine.
fn given() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let path = match (fields.next()?, fields.next()?) {
            ("", path) => format!("/sys/fs/cgroup{path}/cpuset.cpus.effective"),
            ("cpuset", path) => format!("/sys/fs/cgroup/cpuset{path}/cpuset.effective_cpus"),
            _ => return None,
        };
        listed(&fs::read_to_string(path).ok()?)
    });
    own.or_else(|| listed(&fs::read_to_string("/sys/devices/system/cpu/online").ok()?))
}

/// How many a list such as `0-3,8` names; none if it is none.
fn listed(list: &str) -> Option<usize> {
    let mut count = 0;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        count += last.checked_sub(first)?.checked_add(1)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        assert_eq!(listed("0-3,8\n"), Some(5));
        assert_eq!(listed("7"), Some(1));
        for wrong in ["", "3-1", "a", "0-18446744073709551615"] {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn binding_leaves_cpus_idle() {
        let cpus = |bound, ranks| Cpus { bound, machine: 64, ranks };
        assert!(cpus(1, 1).are_left_idle() && cpus(1, 2).are_left_idle());
        assert!(!cpus(64, 1).are_left_idle() && !cpus(32, 2).are_left_idle());
    }
}
