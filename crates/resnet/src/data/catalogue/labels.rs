//! Labels that are written as texts: names of classes, or numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::super::DataError;
use super::{Class, Listed};
use crate::base::text;

/// Texts of labels by number, in the order in which they were met.
#[derive(Default)]
pub(in crate::data) struct Labels {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

/// Names of classes that a file gives, and the file.
pub(in crate::data) struct Names<'a> {
    pub(in crate::data) file: &'a Path,
    pub(in crate::data) names: Vec<String>,
}

impl Labels {
    /// The number of a text, without the blanks around it; none for an empty one.
    pub(in crate::data) fn number(&mut self, text: &str) -> Option<u32> {
        let text = text.trim();
        if let Some(&number) = self.numbers.get(text) {
            return Some(number);
        }
        if text.is_empty() {
            return None;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_string(), number);
        self.texts.push(text.to_string());
        Some(number)
    }

    /// Gives parts whose labels are numbers of these texts their classes, and says whether the
    /// texts are labels' numbers themselves. Other texts are names of classes, which are sorted, as
    /// those of folders are.
    ///
    /// # Errors
    /// `names` are given, and lack a class that has pictures.
    pub(in crate::data) fn settle(
        self,
        parts: &mut [Listed],
        names: Option<Names>,
    ) -> Result<bool, DataError> {
        let numbers = self.as_numbers(names.as_ref());
        let Some(names) = names else {
            match &numbers {
                Some(numbers) => parts.iter_mut().for_each(|part| number(part, numbers)),
                None => parts.iter_mut().for_each(|part| sort(part, &self.texts)),
            }
            return Ok(numbers.is_some());
        };
        let composed = apart(names.names.iter().map(|name| text::composed(name)).collect());
        let place: HashMap<&str, u32> = composed.iter().map(String::as_str).zip(0..).collect();
        let label = |at: usize| match &numbers {
            Some(numbers) => Some(numbers[at]),
            None => place.get(text::composed(&self.texts[at]).as_str()).copied(),
        };
        let labels: Vec<Option<u32>> = (0..self.texts.len()).map(label).collect();
        if let Some(at) = labels.iter().position(Option::is_none) {
            return Err(DataError::content(
                names.file,
                format!("the name of every class, one a line ({} are there)", composed.len()),
                format!("none that is `{}`", self.texts[at]),
                "complete the file, or remove it",
            ));
        }
        for part in parts.iter_mut() {
            part.entries.relabel(|label| labels[label as usize].unwrap_or_default());
            part.classes = classes(composed.iter().cloned(), &part.place);
        }
        Ok(true)
    }

    /// The texts as numbers, if they are labels' numbers: written as programs write them, and not
    /// so far apart that they must be names, as of WordNet.
    fn as_numbers(&self, names: Option<&Names>) -> Option<Vec<u32>> {
        let most = match names {
            Some(names) => names.names.len(),
            None => 1000 + 10 * self.texts.len(),
        };
        let number = |text: &String| {
            let plain = text.bytes().all(|b| b.is_ascii_digit());
            let plain = plain && (text == "0" || !text.starts_with('0'));
            text.parse::<u32>().ok().filter(|&number| plain && (number as usize) < most)
        };
        self.texts.iter().map(number).collect()
    }
}

/// Names of which each is another: one that was there before is told apart by its number, as the
/// two cranes of ImageNet are.
fn apart(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let count = names.len();
    let mut told = Vec::with_capacity(count);
    for (label, name) in names.into_iter().enumerate() {
        let (mut own, mut number) = (name.clone(), label);
        while !seen.insert(own.clone()) {
            own = format!("{name} ({number})");
            number += count;
        }
        told.push(own);
    }
    told
}

fn classes(names: impl Iterator<Item = String>, place: &Path) -> Vec<Class> {
    names.map(|name| Class { name, place: place.to_path_buf() }).collect()
}

/// Labels of the texts that a part has.
fn present(part: &Listed) -> Vec<u32> {
    let mut labels = part.entries.labels();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// Classes are the numbers up to the greatest of the training part; another has those that it has.
fn number(part: &mut Listed, numbers: &[u32]) {
    let mut present: Vec<u32> = present(part).iter().map(|&at| numbers[at as usize]).collect();
    present.sort_unstable();
    if part.role == super::Role::Train {
        present = (0..=present.last().copied().unwrap_or_default()).collect();
    }
    let place: HashMap<u32, u32> = present.iter().copied().zip(0..).collect();
    part.entries.relabel(|label| place[&numbers[label as usize]]);
    part.classes = classes(present.iter().map(u32::to_string), &part.place);
}

/// Classes are the texts, sorted.
fn sort(part: &mut Listed, texts: &[String]) {
    let names = present(part).into_iter().map(|at| (at, text::composed(&texts[at as usize])));
    let names: Vec<(u32, String)> = names.collect();
    let sorted: BTreeMap<&str, ()> = names.iter().map(|(_, name)| (name.as_str(), ())).collect();
    let place: HashMap<&str, u32> = sorted.keys().copied().zip(0..).collect();
    let labels: HashMap<u32, u32> =
        names.iter().map(|(at, name)| (*at, place[name.as_str()])).collect();
    part.classes = classes(sorted.keys().map(ToString::to_string), &part.place);
    part.entries.relabel(|label| labels[&label]);
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn classes_of_one_name_are_told_apart() {
        let told = |names: &[&str]| apart(names.iter().map(|name| name.to_string()).collect());
        assert_eq!(told(&["a", "crane", "crane"]), ["a", "crane", "crane (2)"]);
        assert_eq!(told(&["a", "a (2)", "a"]), ["a", "a (2)", "a (5)"]);
        assert_eq!(told(&["a", "a", "a (1)"]), ["a", "a (1)", "a (1) (2)"]);
    }
}
