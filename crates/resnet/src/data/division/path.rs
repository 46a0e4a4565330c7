//! Paths as lists and names of groups have them.

use std::path::{Component, Path};

use crate::base::text;

/// A path in one way on every system, its parts between `/`.
pub(super) fn slashed(path: &Path) -> String {
    let mut shown = String::new();
    for part in path.components() {
        let ends = shown.is_empty() || shown.ends_with('/');
        match part {
            Component::RootDir => shown.push('/'),
            part => {
                shown.push_str(if ends { "" } else { "/" });
                shown += &text::name(part.as_os_str()).to_string();
            }
        }
    }
    shown
}
