//! `[[phase]]`: parts of a run that differ from the rest of the recipe.

use toml::{Table, Value};

use super::value::Field;
use crate::train::schedule::Duration;

/// A change in the course of a run; what it leaves out stays as before.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// When it begins.
    pub from: Duration,
    /// The side of the square that the network sees while training, in pixels.
    pub side: Option<usize>,
    /// Images a batch.
    pub batch: Option<usize>,
    /// Factor on the learning rate.
    pub lr: Option<f64>,
    /// Whether only the last layer is trained.
    pub freeze: Option<bool>,
}

/// Most phases of a recipe.
const MOST: usize = 100;

impl Phase {
    /// Whether it begins with an epoch, since batches of other images or another size are drawn.
    pub(crate) fn redraws(&self) -> bool {
        self.side.is_some() || self.batch.is_some()
    }

    /// Its keys as TOML, a line each.
    pub(super) fn to_toml(&self) -> String {
        self.write().to_string()
    }

    fn parse(table: &Table) -> Option<Phase> {
        const KEYS: [&str; 5] = ["from", "side", "batch", "lr", "freeze"];
        if table.keys().any(|key| !KEYS.contains(&key.as_str())) {
            return None;
        }
        /// A value within a range, if it is there.
        fn read<T: Field>(
            table: &Table,
            key: &str,
            accepts: impl Fn(&T) -> bool,
        ) -> Option<Option<T>> {
            match table.get(key) {
                None => Some(None),
                Some(value) => T::parse(value).filter(accepts).map(Some),
            }
        }
        Some(Phase {
            from: read(table, "from", |_| true)??,
            side: read(table, "side", |side| (1..=4096).contains(side))?,
            batch: read(table, "batch", |batch| (1..=65_536).contains(batch))?,
            lr: read(table, "lr", |lr| *lr > 0.0 && *lr <= 1000.0)?,
            freeze: read(table, "freeze", |_| true)?,
        })
    }

    fn write(&self) -> Table {
        let mut table = Table::new();
        table.insert("from".into(), self.from.write());
        let values = [
            ("side", self.side.map(|side| side.write())),
            ("batch", self.batch.map(|batch| batch.write())),
            ("lr", self.lr.map(|lr| lr.write())),
            ("freeze", self.freeze.map(|freeze| freeze.write())),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                table.insert(key.into(), value);
            }
        }
        table
    }
}

impl Field for Vec<Phase> {
    fn kind() -> String {
        "a list of tables, each with `from` (`5ep`, `300it`, `50%`) and any of `side` (pixels), \
         `batch` (images), `lr` (a factor) and `freeze` (true or false)"
            .into()
    }

    fn blank() -> Vec<Phase> {
        Vec::new()
    }

    fn parse(value: &Value) -> Option<Vec<Phase>> {
        let list = value.as_array().filter(|list| list.len() <= MOST)?;
        list.iter().map(|value| Phase::parse(value.as_table()?)).collect()
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(|phase| Value::Table(phase.write())).collect())
    }
}
