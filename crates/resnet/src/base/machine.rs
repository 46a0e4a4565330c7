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
