//! Divides pictures into parts: to learn from, to choose by, to report on. What comes out is a list
//! of files; nothing is moved.
//!
//! Each class is divided by the same shares. Pictures that belong together, such as those of one
//! patient, stay together. Who goes where is decided by a number drawn from the seed and the
//! group's name alone, so it depends neither on the order of a file system nor on where the data
//! lies, and pictures that are added leave nearly all others where they were.

mod allot;
mod files;
mod group;
mod judge;
mod list;
mod parts;
mod path;

use std::collections::BTreeMap;

use super::check::{ClassCount, Part};
use super::role::Role;
use super::source::kind_of;
use super::{DataError, find};
use allot::{Group, allot};
pub use group::GroupBy;
pub use parts::{Division, Shares};
use parts::{PARTS, name_of};

/// Divides data whose pictures are files of their own. Pictures that lie in a split already stay
/// there, and those for training are divided; or all are, where they are pooled.
///
/// # Errors
/// The shares make no sense, or ask for a split that is there already; the data is unknown, cannot
/// be read, or has no files for its pictures; there is nothing to group by.
pub fn divide(source: &str, shares: &Shares) -> Result<Division, DataError> {
    let asked = asked(shares)?;
    let (format, place) = find(source)?;
    let Some(kind) = kind_of(format) else { return Err(files::none_of(source)) };
    let mut division = files::read(source, kind, &place, shares)?;
    if shares.pool {
        division.rows.iter_mut().for_each(|row| row.part = Role::Train);
    }
    for &(role, _) in &asked {
        let found = division.rows.iter().filter(|row| row.part == role).count();
        if found > 0 {
            return Err(DataError::Divide(format!(
                "{source} has a {} split already, of {found} pictures; ask for no other one, or \
                 pool all splits to divide them anew",
                name_of(role)
            )));
        }
    }
    division.check_groups(&shares.group_by)?;
    let divided = division.allot(&asked, shares);
    division.parts = division.count();
    division.judge(&asked, divided);
    Ok(division)
}

/// The parts that are asked for with their shares. What is reported on comes first, so that it does
/// not change with the share to choose by.
fn asked(shares: &Shares) -> Result<Vec<(Role, f64)>, DataError> {
    let wanted = [(Role::Test, shares.test), (Role::Val, shares.val)];
    let asked: Vec<(Role, f64)> =
        wanted.into_iter().filter_map(|(role, share)| Some((role, share?))).collect();
    if let Some((role, share)) = asked.iter().find(|(_, share)| !(*share > 0.0 && *share < 1.0)) {
        return Err(DataError::Divide(format!(
            "the share of {} is {share}, but must lie between 0 and 1",
            name_of(*role)
        )));
    }
    match asked.iter().map(|(_, share)| share).sum::<f64>() < 1.0 {
        true => Ok(asked),
        false => Err(DataError::Divide("these shares leave no pictures for training".into())),
    }
}

impl Division {
    /// Gives the training pictures to the parts that are asked for, and says how many there were.
    fn allot(&mut self, asked: &[(Role, f64)], shares: &Shares) -> usize {
        let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let training = self.rows.iter().enumerate().filter(|(_, row)| row.part == Role::Train);
        for (index, row) in training {
            named.entry(row.key()).or_default().push(index);
        }
        let group = |(key, members): (&String, &Vec<usize>)| {
            Group::of(shares.seed, key, members.iter().map(|&index| self.rows[index].class))
        };
        let groups: Vec<Group> = named.iter().map(group).collect();
        self.groups = (shares.group_by != GroupBy::Picture).then_some(groups.len());
        let fractions: Vec<f64> = asked.iter().map(|(_, share)| *share).collect();
        let places = allot(&groups, self.classes.len(), &fractions);
        let mut divided = 0;
        for (members, place) in named.into_values().zip(places) {
            divided += members.len();
            if let Some(part) = place {
                members.into_iter().for_each(|index| self.rows[index].part = asked[part].0);
            }
        }
        divided
    }

    fn count(&self) -> Vec<Part> {
        let mut counts = [const { Vec::new() }; PARTS.len()];
        counts.iter_mut().for_each(|counts| *counts = vec![0; self.classes.len()]);
        for row in &self.rows {
            let part = PARTS.iter().position(|(role, _)| *role == row.part).unwrap_or_default();
            counts[part][row.class] += 1;
        }
        let part = |((_, name), counts): (&(Role, &str), Vec<usize>)| {
            let class = |(class, images): (&String, &usize)| ClassCount {
                class: class.clone(),
                images: *images,
            };
            Part {
                split: (*name).to_string(),
                images: counts.iter().sum(),
                classes: self.classes.iter().zip(&counts).map(class).collect(),
            }
        };
        let parts = PARTS.iter().zip(counts).map(part);
        parts.filter(|part| part.images > 0).collect()
    }
}

#[cfg(test)]
mod tests;
