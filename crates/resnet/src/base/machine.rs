//! What the program runs on.

use std::fs;

/// The processor's name where the system tells it.
pub fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).map(|name| name.trim().to_string())
}

/// The machine's name, where the system tells it.
pub fn host() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok());
    told.map_or("this machine".into(), |name| name.trim().to_owned())
}

/// The system: its name, its kernel's version where that is told, and the processor's architecture.
pub fn system() -> String {
    let told = |path: &str| fs::read_to_string(path).ok();
    let pretty = told("/etc/os-release").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(line.trim_matches('"').to_owned())
    });
    let kernel = told("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    let own = [pretty, kernel].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    if own.is_empty() { format!("{os}, {arch}") } else { format!("{os} ({own}), {arch}") }
}

/// Bytes of memory in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// All of it.
    pub installed: u64,
    /// What programs may still take.
    pub available: u64,
}

/// This machine's memory, where the system tells it.
pub fn memory() -> Option<Memory> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(info: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { installed: bytes("MemTotal")?, available: bytes("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_both_numbers_are_there() {
        let info = "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory_of(info), Some(Memory { installed: 2 << 20, available: 1 << 20 }));
        for wrong in ["", "MemTotal: 5 kB", "MemTotal: x kB\nMemAvailable: 1 kB"] {
            assert_eq!(memory_of(wrong), None, "{wrong}");
        }
    }
}
