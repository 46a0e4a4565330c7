//! How many CPUs a process may use.

use std::fs;
use std::thread;

/// CPUs of this process and of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// What this process may run on.
    pub bound: usize,
    /// What the machine has, or the part of it that the job was given.
    pub machine: usize,
    /// Processes of the run on this machine.
    pub ranks: usize,
    /// What the system lets this process use at once, which a container's quota may make less.
    pub usable: usize,
}

impl Cpus {
    pub(crate) fn read(ranks: usize) -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let allowed = |line: &str| line.strip_prefix("Cpus_allowed_list:").map(str::to_owned);
        let bound = listed(&status.lines().find_map(allowed)?)?;
        let usable = thread::available_parallelism().map_or(bound, usize::from);
        Some(Self { bound, machine: given()?.max(bound), ranks, usable })
    }

    /// Whether a launcher has bound its processes so that CPUs are left without one.
    pub fn are_left_idle(&self) -> bool {
        self.bound * self.ranks < self.machine
    }

    /// Threads that this process has room for beside the others: what it is bound to, or its part
    /// of what all may use.
    pub fn share(&self) -> usize {
        let part = match self.usable < self.bound {
            true => self.usable / self.ranks,
            false => self.bound.min(self.machine / self.ranks),
        };
        part.max(1)
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
    fn binding_leaves_cpus_idle_and_gives_shares() {
        let cpus = |bound, ranks| Cpus { bound, machine: 64, ranks, usable: bound };
        assert!(cpus(1, 1).are_left_idle() && cpus(1, 2).are_left_idle());
        assert!(!cpus(64, 1).are_left_idle() && !cpus(32, 2).are_left_idle());
        let shares =
            [(64, 1), (64, 4), (64, 100), (16, 2), (1, 2)].map(|(b, n)| cpus(b, n).share());
        assert_eq!(shares, [64, 16, 1, 16, 1]);
        assert_eq!(Cpus { usable: 8, ..cpus(64, 2) }.share(), 4);
    }
}
