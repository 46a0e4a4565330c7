//! What the control groups of this process leave it, as Linux tells it in files: a container's
//! limits.

use std::fs;
use std::path::{Path, PathBuf};

/// More bytes than any machine has: version 1 writes no limit as a number.
const NO_LIMIT: u64 = 1 << 60;

/// How much a process may take, as far as its control groups limit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct CgroupLimits {
    /// CPUs' worth of time.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

impl CgroupLimits {
    /// Those of this process; none where there are no control groups.
    pub fn read() -> CgroupLimits {
        CgroupLimits::under(Path::new("/"))
    }

    /// The same with another folder in the place of `/`.
    pub(super) fn under(root: &Path) -> CgroupLimits {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let read = |controller| folders(root, &groups, controller).into_iter();
        CgroupLimits {
            cpus: read("cpu").filter_map(|folder| quota(&folder)).min_by(f64::total_cmp),
            memory: read("memory").filter_map(|folder| memory(&folder)).min(),
        }
    }
}

/// The folders that may limit a controller: of the process's group in either version and of all
/// groups above. A container may see its own group as the uppermost and still be told the host's
/// path to it; what is then not there is no limit.
fn folders(root: &Path, groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = match names.split(',').find(|name| name.is_empty() || *name == controller) {
            Some(name) => root.join("sys/fs/cgroup").join(name),
            None => continue,
        };
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        folders.extend(above.map(|group| mount.join(group)));
    }
    folders
}

fn quota(folder: &Path) -> Option<f64> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    let both = read("cpu.max").or_else(|| {
        Some(format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?))
    })?;
    // Without a limit the first is `max` or -1.
    let numbers: Vec<u64> = both.split_whitespace().map_while(|n| n.parse().ok()).collect();
    match numbers[..] {
        [time, period] if time > 0 && period > 0 => Some(time as f64 / period as f64),
        _ => None,
    }
}

fn memory(folder: &Path) -> Option<u64> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    let text = read("memory.max").or_else(|| read("memory.limit_in_bytes"))?;
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::threads::tests::tree;

    #[test]
    fn the_least_of_all_groups_above_counts_in_both_versions() {
        let two = tree(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.max", "1073741824\n"),
        ]);
        let limits = CgroupLimits { cpus: Some(1.5), memory: Some(1 << 30) };
        assert_eq!(CgroupLimits::under(two.path()), limits);
        let one = tree(&[
            ("proc/self/cgroup", "5:memory:/on/the/host\n3:cpu,cpuacct:/on/the/host\n0::/\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let limits = CgroupLimits { cpus: Some(4.0), memory: None };
        assert_eq!(CgroupLimits::under(one.path()), limits);
    }

    #[test]
    fn what_says_nothing_limits_nothing() {
        for (file, text) in [
            ("cpu.max", "max 100000"),
            ("cpu.max", "0 0"),
            ("cpu.max", ""),
            ("cpu.max", "200000"),
            ("memory.max", "much"),
        ] {
            let path = format!("sys/fs/cgroup/{file}");
            let tree = tree(&[("proc/self/cgroup", "0::/\nnonsense\n"), (&path, text)]);
            let limits = CgroupLimits::under(tree.path());
            assert_eq!(limits, CgroupLimits::default(), "{file}: {text}");
        }
    }
}
