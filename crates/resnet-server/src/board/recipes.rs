//! The recipes of runs, key by key: what differs between them explains their curves.

use std::collections::BTreeMap;
use std::path::Path;

use resnet::train;
use resnet::train::recipe::{KEYS, Recipe};
use serde::Serialize;

/// The recipes of all runs.
#[derive(Serialize)]
pub(super) struct Recipes {
    keys: Vec<Key>,
    /// By run, a value for each key as TOML; none where the recipe cannot be read.
    runs: BTreeMap<String, Option<Vec<String>>>,
}

#[derive(Serialize)]
struct Key {
    name: &'static str,
    help: &'static str,
}

impl Recipes {
    /// Reads the recipes of runs in these directories.
    pub(super) fn read<'a>(runs: impl Iterator<Item = (String, &'a Path)>) -> Recipes {
        let keys = KEYS.iter().map(|key| Key { name: key.name, help: key.help }).collect();
        let values =
            |recipe: Recipe| KEYS.iter().map(|key| key.value(&recipe)).collect::<Vec<String>>();
        let runs = runs.map(|(id, root)| (id, train::recipe_of_run(root).ok().map(values)));
        Recipes { keys, runs: runs.collect() }
    }
}
