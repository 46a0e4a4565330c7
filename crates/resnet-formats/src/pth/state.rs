//! Finds the state dict in what a checkpoint holds.

use super::globals::unread;
use super::value::{Arena, Value};
use crate::error::{FormatError, MAX_NAME, shorten};
use std::collections::BTreeMap;

/// Keys under which training programs keep the state dict, in the order they are tried.
const WRAPPERS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "network"];
/// How many of them may stand inside each other.
const MAX_LEVELS: usize = 4;
/// What wrappers of a model put in front of every name: `DataParallel` and `torch.compile`.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
/// Twenty times those of a 1,202-layer network.
const MAX_TENSORS: usize = 1 << 17;
/// Entries read over that are named one by one.
const MAX_IGNORED: usize = 1000;

/// The state dict of an object.
#[derive(Debug, Default)]
pub(super) struct State<'a> {
    /// Keys that lead to it.
    pub(super) path: Vec<String>,
    /// What was taken off every name.
    pub(super) prefix: String,
    /// Its tensors by name.
    pub(super) tensors: BTreeMap<&'a str, Value>,
    /// Entries read over, and a few words on each.
    pub(super) ignored: BTreeMap<String, String>,
}

/// Finds the state dict: the object itself, or what stands under one of [`WRAPPERS`].
pub(super) fn find(arena: &Arena, object: Value) -> Result<State<'_>, FormatError> {
    let mut state = State::default();
    let mut here = object;
    loop {
        let Some(dict) = arena.dict(here) else {
            return Err(content(arena.describe(here)));
        };
        // The last of equal keys counts, as in Python.
        let mut entries = BTreeMap::new();
        for &(key, value) in dict {
            match arena.text(key) {
                Some(key) => drop(entries.insert(key, value)),
                None => state.ignore(arena.describe(key), arena.describe(value)),
            }
        }
        let inner = WRAPPERS
            .into_iter()
            .find(|key| entries.get(key).is_some_and(|&value| leads_on(arena, value)));
        if let Some(key) = inner.filter(|_| state.path.len() < MAX_LEVELS) {
            for (&other, &value) in &entries {
                if other != key {
                    state.ignore(shorten(other), arena.describe(value));
                }
            }
            here = entries[key];
            state.path.push(key.to_owned());
            continue;
        }
        for (&name, &value) in &entries {
            if arena.tensor(value).is_some() {
                if name.len() > MAX_NAME {
                    return Err(FormatError::long_name(name));
                }
                state.tensors.insert(name, value);
            } else {
                state.ignore(shorten(name), arena.describe(value));
            }
        }
        // Beside weights an object may be anything. With a weight's name it would be a weight that
        // is passed over.
        for (&name, &value) in &entries {
            let class = arena.class(value).filter(|_| name.contains('.'));
            if let Some(class) = class.filter(|_| !name.ends_with("_extra_state")) {
                return Err(FormatError::Tensor {
                    tensor: shorten(name),
                    field: "value",
                    expected: "a tensor".into(),
                    found: format!("{}; {}", arena.describe(value), unread(class)),
                });
            }
        }
        if state.tensors.is_empty() && !entries.is_empty() {
            let shown = entries.iter().take(8).map(|(key, &value)| match arena.class(value) {
                Some(_) => format!("{} ({})", shorten(key), arena.describe(value)),
                None => shorten(key),
            });
            let keys: Vec<_> = shown.collect();
            return Err(content(format!("a dictionary of {}", keys.join(", "))));
        }
        break;
    }
    if state.tensors.len() > MAX_TENSORS {
        return Err(FormatError::Limit {
            what: "tensors in the state dict",
            limit: MAX_TENSORS as u64,
        });
    }
    state.strip();
    Ok(state)
}

/// Whether a value is a dictionary with a tensor, or with a wrapper's key, in it.
fn leads_on(arena: &Arena, value: Value) -> bool {
    arena.dict(value).is_some_and(|dict| {
        dict.iter().any(|&(key, value)| {
            let wrapper = arena.text(key).is_some_and(|key| WRAPPERS.contains(&key));
            arena.tensor(value).is_some() || wrapper && arena.dict(value).is_some()
        })
    })
}

fn content(found: String) -> FormatError {
    FormatError::Content {
        expected: "a state dict, names and tensors, at the top or under state_dict, model_state_dict, model, net or network",
        found,
        advice: "save model.state_dict() with torch.save",
    }
}

impl State<'_> {
    fn ignore(&mut self, key: String, what: String) {
        let mut name = self.path.join(".");
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&key);
        if self.ignored.len() < MAX_IGNORED {
            self.ignored.insert(name, what);
        } else {
            self.ignored.insert("…".into(), "and more".into());
        }
    }

    /// Takes off what all names begin with, as long as something is left of each.
    fn strip(&mut self) {
        while let Some(prefix) = PREFIXES.into_iter().find(|prefix| {
            !self.tensors.is_empty()
                && self
                    .tensors
                    .keys()
                    .all(|name| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()))
        }) {
            let tensors = std::mem::take(&mut self.tensors);
            self.tensors =
                tensors.into_iter().map(|(name, value)| (&name[prefix.len()..], value)).collect();
            self.prefix.push_str(prefix);
        }
    }
}
