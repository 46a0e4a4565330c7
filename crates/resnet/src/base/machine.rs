//! What the program runs on.

use std::fs;

/// The processor's name where the system tells it.
pub fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).map(|name| name.trim().to_string())
}
