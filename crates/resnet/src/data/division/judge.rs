//! What is to be said of a division.

use std::collections::{BTreeSet, HashMap};

use super::super::DataError;
use super::super::check::Part;
use super::super::role::Role;
use super::group::GroupBy;
use super::parts::{Division, Row, name_of};

/// Pictures of a class in a part to measure on below which its figures say little.
const FEW: usize = 5;
/// Classes that a warning names.
const NAMED: usize = 5;
/// By how much of what was asked a part's share may miss it.
const MISS: f64 = 0.25;

impl Division {
    /// Checks that the rule for groups has something to go by.
    ///
    /// # Errors
    /// No training picture has a group.
    pub(super) fn check_groups(&mut self, rule: &GroupBy) -> Result<(), DataError> {
        if *rule == GroupBy::Picture {
            return Ok(());
        }
        let training = || self.rows.iter().filter(|row| row.part == Role::Train);
        let alone = training().filter(|row| row.group.is_none()).count();
        let total = training().count();
        if alone == total {
            return Err(DataError::Divide(format!(
                "nothing to group by: the pictures of {} {}",
                self.source,
                rule.lack()
            )));
        }
        if alone > 0 {
            let example = training().find(|row| row.group.is_none());
            let example = example.map_or(String::new(), |row| row.name.display().to_string());
            self.warnings.push(format!(
                "{alone} of {total} pictures {}, such as {example}; each of these is on its own",
                rule.lack()
            ));
        }
        Ok(())
    }

    /// Adds what is worth telling of the parts that were asked for, into which so many pictures
    /// were divided.
    pub(super) fn judge(&mut self, asked: &[(Role, f64)], divided: usize) {
        let mut told = Vec::new();
        for &(role, share) in asked.iter().rev() {
            let name = name_of(role);
            let Some(part) = self.parts.iter().find(|part| part.split == name) else {
                told.push(format!(
                    "{name} is empty: no class has a picture or a group to spare for it"
                ));
                continue;
            };
            told.extend(missing(part));
            told.extend(few(part));
            let found = part.images as f64 / divided.max(1) as f64;
            let off = (found - share).abs();
            if off > MISS * share && off * divided as f64 > 1.0 {
                let why = match self.groups {
                    Some(_) => "groups stay whole, and every class has one in each part if it can",
                    None => "every class has a picture in each part if it can spare one",
                };
                told.push(format!(
                    "{name} is {:.1} % of the pictures where {:.1} % were asked for: {why}",
                    found * 100.0,
                    share * 100.0
                ));
            }
        }
        told.extend(self.untrained());
        told.extend(self.torn());
        told.extend(self.largest_group(divided));
        self.warnings.extend(told);
    }

    /// Classes that have pictures, but none to learn from.
    fn untrained(&self) -> Option<String> {
        let train = self.parts.iter().find(|part| part.split == "train")?;
        let without = train.classes.iter().filter(|class| class.images == 0);
        let names = named(without.map(|class| format!("`{}`", class.class)))?;
        Some(format!("no training pictures of {names}; a network cannot learn these"))
    }

    /// Groups that lie in several parts, which splits that were there leave so.
    fn torn(&self) -> Option<String> {
        let mut parts: HashMap<&str, Role> = HashMap::new();
        let mut torn: BTreeSet<&str> = BTreeSet::new();
        for Row { group, part, .. } in &self.rows {
            if let Some(group) = group
                && *parts.entry(group).or_insert(*part) != *part
            {
                torn.insert(group);
            }
        }
        let example = torn.first()?;
        let (count, have) = match torn.len() {
            1 => ("a group".to_string(), "has"),
            n => (format!("{n} groups"), "have"),
        };
        Some(format!(
            "{count}, such as `{example}`, {have} pictures in a split that was there and in another \
             part; pool all splits to keep them together"
        ))
    }

    /// A group that is so large that it decides what the parts are.
    fn largest_group(&self, divided: usize) -> Option<String> {
        self.groups?;
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        for Row { group, .. } in &self.rows {
            if let Some(group) = group {
                *sizes.entry(group).or_default() += 1;
            }
        }
        let (name, size) = sizes.into_iter().max_by_key(|(name, size)| (*size, *name))?;
        (size * 4 > divided).then(|| {
            format!("group `{name}` alone is {size} of {divided} pictures; is the rule meant so?")
        })
    }
}

fn missing(part: &Part) -> Option<String> {
    let without = part.classes.iter().filter(|class| class.images == 0);
    let names = named(without.map(|class| format!("`{}`", class.class)))?;
    Some(format!("{} has no pictures of {names}: too few pictures or groups", part.split))
}

fn few(part: &Part) -> Option<String> {
    let few = part.classes.iter().filter(|class| (1..FEW).contains(&class.images));
    let names = named(few.map(|class| format!("`{}` ({})", class.class, class.images)))?;
    Some(format!(
        "{} has fewer than {FEW} pictures of {names}; figures of such a class say little",
        part.split
    ))
}

/// The first few of some names, and how many more there are.
fn named(names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    let first = names.get(..NAMED).unwrap_or(&names).join(", ");
    match names.len() {
        0 => None,
        n if n > NAMED => Some(format!("{first} and {} more classes", n - NAMED)),
        _ => Some(first),
    }
}
