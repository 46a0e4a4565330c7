//! From names, files and overrides to a recipe.

use super::error::{Origin, RecipeError};
use super::keys::{Follows, KEYS, Key, Recipe};
use super::value::AUTO;
use super::{BuiltIn, RECIPES};
use crate::base::files::read_bounded;
use crate::base::suggest::{did_you_mean, nearest};
use std::path::Path;
use toml::{Table, Value};

/// Largest recipe file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Longest chain of bases.
const DEEPEST: usize = 8;

impl Default for Recipe {
    fn default() -> Recipe {
        let mut recipe = Recipe::blank();
        let BuiltIn { name, text, .. } = &RECIPES[0];
        let read = recipe.apply_text(text, &Origin::BuiltIn(name), None, 0);
        read.expect("a test reads every built-in recipe");
        recipe
    }
}

impl Recipe {
    /// Reads a built-in recipe or a TOML file, then applies overrides, later ones over earlier
    /// ones.
    ///
    /// An override's key is whole (`optimizer.lr`) or its last part (`lr`); its value is TOML, or
    /// else plain text.
    ///
    /// # Errors
    /// [`RecipeError`] names the recipe or file and the key, and the nearest known name.
    pub fn load(name_or_file: &str, overrides: &[(String, String)]) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::default();
        recipe.apply_named(name_or_file, None, 0)?;
        recipe.apply_overrides(overrides)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The same recipe with overrides.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn with(mut self, overrides: &[(String, String)]) -> Result<Recipe, RecipeError> {
        self.apply_overrides(overrides)?;
        self.check()?;
        Ok(self)
    }

    /// Reads a TOML file, whatever it is called.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub(super) fn from_file(path: &Path) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::default();
        recipe.apply_file(path, 0)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Reads a recipe from TOML text, such as the configuration kept in a checkpoint.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn from_toml(text: &str) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::default();
        recipe.apply_text(text, &Origin::Resolved, None, 0)?;
        recipe.check()?;
        Ok(recipe)
    }

    fn apply_named(
        &mut self,
        name: &str,
        beside: Option<&Path>,
        depth: usize,
    ) -> Result<(), RecipeError> {
        if let Some(built_in) = RECIPES.iter().find(|built_in| built_in.name == name) {
            return self.apply_text(built_in.text, &Origin::BuiltIn(built_in.name), None, depth);
        }
        let path = beside.and_then(Path::parent).unwrap_or(Path::new("")).join(name);
        if !(name.ends_with(".toml") || path.is_file()) {
            let names = || RECIPES.iter().map(|built_in| built_in.name);
            return Err(RecipeError::UnknownRecipe {
                name: name.to_owned(),
                nearest: did_you_mean(name, names()),
                known: names().collect::<Vec<_>>().join(", "),
            });
        }
        self.apply_file(&path, depth)
    }

    fn apply_file(&mut self, path: &Path, depth: usize) -> Result<(), RecipeError> {
        let bytes = read_bounded(path, LARGEST)?;
        let origin = Origin::File(path.to_owned());
        let text = std::str::from_utf8(&bytes).map_err(|error| RecipeError::Syntax {
            origin: origin.clone(),
            line: String::new(),
            message: format!("{error}; recipes are UTF-8 text"),
        })?;
        self.apply_text(text, &origin, Some(path), depth)
    }

    fn apply_text(
        &mut self,
        text: &str,
        origin: &Origin,
        file: Option<&Path>,
        depth: usize,
    ) -> Result<(), RecipeError> {
        let mut table: Table = text.parse().map_err(|error| syntax(origin, text, &error))?;
        if let Some(base) = table.remove("base") {
            let Value::String(base) = base else {
                return Err(shape(origin, "base", "the name or file of a recipe", &base));
            };
            if depth == DEEPEST {
                return Err(RecipeError::TooDeep { origin: origin.clone(), limit: DEEPEST });
            }
            self.apply_named(&base, file, depth + 1)?;
        }
        self.apply(&table, origin)
    }

    /// Applies one layer of values.
    fn apply(&mut self, table: &Table, origin: &Origin) -> Result<(), RecipeError> {
        let mut budget = Budget::default();
        for (section, entries) in table {
            if let Some(key) = KEYS.iter().find(|key| key.name == section) {
                self.set(key, entries, origin)?;
                continue;
            }
            let known = sections().any(|known| known == section);
            let Value::Table(entries) = entries else {
                return Err(match known {
                    true => shape(origin, section, "a section of keys", entries),
                    false => unknown(origin, section),
                });
            };
            if entries.is_empty() && !known {
                return Err(unknown(origin, section));
            }
            for (last, value) in entries {
                let name = format!("{section}.{last}");
                let key = KEYS.iter().find(|key| key.name == name);
                let key = key.ok_or_else(|| unknown(origin, &name))?;
                self.set(key, value, origin)?;
                budget.note(key, value);
            }
        }
        budget.settle(self, origin)
    }

    fn apply_overrides(&mut self, overrides: &[(String, String)]) -> Result<(), RecipeError> {
        let origin = Origin::Overrides;
        let mut budget = Budget::default();
        for (name, text) in overrides {
            let key = find(name)?;
            let (first, others) = readings(text);
            let value = match self.set(key, &first, &origin) {
                Ok(()) => first,
                Err(error) => {
                    let mut others = others.into_iter();
                    let other = others.find(|value| self.set(key, value, &origin).is_ok());
                    other.ok_or(error)?
                }
            };
            budget.note(key, &value);
        }
        budget.settle(self, &origin)
    }

    pub(super) fn set(
        &mut self,
        key: &Key,
        value: &Value,
        origin: &Origin,
    ) -> Result<(), RecipeError> {
        let (name, found) = (key.name, || shown(value));
        if name == "train.batch" {
            self.batch_follows = Follows(matches!(origin, Origin::BuiltIn(_)));
        }
        key.set(self, value).ok_or_else(|| RecipeError::Value {
            origin: origin.clone(),
            key: name,
            expected: key.expected(),
            found: found(),
        })
    }
}

/// Takes `lr=0.05` apart.
///
/// # Errors
/// [`RecipeError::NotOverride`].
pub fn split_override(text: &str) -> Result<(String, String), RecipeError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(RecipeError::NotOverride(text.to_owned())),
    }
}

/// Which budgets one layer sets.
#[derive(Default)]
struct Budget {
    epochs: bool,
    steps: bool,
}

impl Budget {
    fn note(&mut self, key: &Key, value: &Value) {
        let set = value.as_str() != Some(AUTO);
        match key.name {
            "train.epochs" => self.epochs = set,
            "train.steps" => self.steps = set,
            _ => {}
        }
    }

    fn settle(self, recipe: &mut Recipe, origin: &Origin) -> Result<(), RecipeError> {
        match (self.epochs, self.steps) {
            (true, true) => {
                return Err(RecipeError::Together {
                    origin: origin.clone(),
                    keys: "`train.epochs`, `train.steps`",
                    reason: "both are set, and a run has one budget; leave one out",
                });
            }
            (true, false) => recipe.train.steps = None,
            (false, true) => recipe.train.epochs = None,
            (false, false) => {}
        }
        Ok(())
    }
}

/// The key with this whole name or last part.
fn find(name: &str) -> Result<&'static Key, RecipeError> {
    let matching: Vec<&Key> =
        KEYS.iter().filter(|key| key.name == name || key.last() == name).collect();
    match matching[..] {
        [key] => Ok(key),
        [] => Err(unknown(&Origin::Overrides, name)),
        _ => {
            let names: Vec<String> = matching.iter().map(|key| format!("`{}`", key.name)).collect();
            Err(RecipeError::Ambiguous { key: name.to_owned(), candidates: names.join(" or ") })
        }
    }
}

/// What the text of an override may mean, likeliest first: TOML, a number as people write it
/// (`.05`), plain text.
fn readings(text: &str) -> (Value, Option<Value>) {
    let plain = Value::String(text.to_owned());
    let toml = format!("value = {text}").parse::<Table>().ok();
    let toml = toml.filter(|table| table.len() == 1);
    if let Some(value) = toml.and_then(|mut table| table.remove("value")) {
        return (value, Some(plain));
    }
    let number = text.parse::<f64>().ok();
    match number.filter(|number| number.is_finite()) {
        Some(number) => (Value::Float(number), Some(plain)),
        None => (plain, None),
    }
}

/// The section of each key that has one.
fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(Key::section).filter(|section| !section.is_empty())
}

/// What to say of a key that people look for in a section.
fn about_section(name: &str) -> Option<String> {
    let (section, last) = name.split_once('.').unwrap_or((name, ""));
    let section = sections().find(|known| known.eq_ignore_ascii_case(section))?;
    let keys = KEYS.iter().filter(|key| key.section() == section).map(|key| key.name);
    let keys = keys.collect::<Vec<_>>().join(", ");
    match (section, last) {
        ("optimizer", "" | "kind" | "name" | "type") => Some(format!(
            "; it is stochastic gradient descent with momentum (no Adam), and `optimizer.rule` says \
             whether with LARS; set {keys}"
        )),
        (_, "") => Some(format!("; `{section}` is a section, whose keys are {keys}")),
        _ => None,
    }
}

fn unknown(origin: &Origin, name: &str) -> RecipeError {
    let last = name.rsplit('.').next().unwrap_or(name);
    let same_last = KEYS.iter().find(|key| key.last() == last).map(|key| key.name);
    let near_last = || {
        let last = nearest(last, KEYS.iter().map(Key::last))?;
        KEYS.iter().find(|key| key.last() == last).map(|key| key.name)
    };
    let found = same_last
        .or_else(|| nearest(name, KEYS.iter().map(|key| key.name).chain(sections())))
        .or_else(near_last);
    RecipeError::UnknownKey {
        origin: origin.clone(),
        key: name.to_owned(),
        nearest: about_section(name)
            .or_else(|| found.map(|key| format!("; did you mean `{key}`?")))
            .unwrap_or_default(),
    }
}

fn shape(origin: &Origin, name: &str, expected: &'static str, value: &Value) -> RecipeError {
    RecipeError::Shape {
        origin: origin.clone(),
        name: name.to_owned(),
        expected,
        found: shown(value),
    }
}

/// A value in an error: as TOML, on one line, not too long.
fn shown(value: &Value) -> String {
    let text = value.to_string().replace('\n', " ");
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn syntax(origin: &Origin, text: &str, error: &toml::de::Error) -> RecipeError {
    let line = error.span().and_then(|span| text.get(..span.start));
    RecipeError::Syntax {
        origin: origin.clone(),
        line: line
            .map(|before| format!(", line {}", before.matches('\n').count() + 1))
            .unwrap_or_default(),
        message: error.message().replace('\n', ", "),
    }
}
