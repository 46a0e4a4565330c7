//! Data for a model whose classes nobody named: their names are the numbers of its labels.
//!
//! Folders called by numbers are those labels, as long as this can mean but one thing. Programs
//! that number folders sorted as text, as `ImageFolder` does, call the folders `0`, `1`, `10`, `2`
//! by 0, 1, 2, 3; a model of such a program would be measured on wrong labels.

use std::collections::HashMap;
use std::sync::Arc;

use super::subset::relabelled;
use super::{DataError, Dataset};

/// Most digits that numbers are padded to.
const MOST_DIGITS: usize = 20;

/// `data` with the labels that its class names are the numbers of, below `count`.
///
/// # Errors
/// A class that has pictures is called by no such number, by that of another, or its number can be
/// read in two ways.
pub(crate) fn with_numbers(
    data: Arc<dyn Dataset>,
    count: usize,
) -> Result<Arc<dyn Dataset>, DataError> {
    let number = |name: &str| {
        let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        name.parse().ok().filter(|&n: &usize| digits && n < count)
    };
    let labels: Vec<Option<usize>> = data.classes().iter().map(|name| number(name)).collect();
    let mut holds = vec![None; labels.len()];
    for index in (0..data.len()).rev() {
        holds[data.label(index) as usize] = Some(index);
    }
    let mut called: HashMap<usize, &str> = HashMap::new();
    for (class, index) in data.classes().iter().zip(&holds) {
        let Some(index) = *index else { continue };
        let (class, place) = (class.as_str(), data.name(index).into());
        let Some(label) = number(class) else {
            return Err(DataError::UnknownClass {
                place,
                class: class.into(),
                known: count,
                of: "the model".into(),
                hint: "they have numbers for names, as none were given when it was imported: \
                       import it again with a list of its class names"
                    .into(),
            });
        };
        if let Some(other) = called.insert(label, class) {
            let (class, other) = (class.into(), other.into());
            return Err(DataError::SameNumber { place, class, label, other });
        }
    }
    // Folders are sorted as text; in the order of numbers they were labels themselves.
    let ordered = data.classes().len() > 10
        && data.classes().iter().enumerate().all(|(at, class)| *class == at.to_string());
    let sorted = if ordered { HashMap::new() } else { sorted_as_text(&called, count) };
    for (class, index) in data.classes().iter().zip(&holds) {
        let Some(index) = *index else { continue };
        let label = number(class).unwrap_or_default();
        let other = sorted.get(class).copied().unwrap_or(label);
        if other != label {
            let (place, class) = (data.name(index).into(), class.as_str().into());
            return Err(DataError::Numbered { place, class, label, other });
        }
    }
    let labels = labels.into_iter().map(|label| label.unwrap_or_default() as u32).collect();
    let classes = (0..count).map(|n| n.to_string()).collect();
    Ok(relabelled(data, classes, labels))
}

/// The place of each of `count` numbers where they are sorted as text: written as in `called`, and
/// the others as long as those.
fn sorted_as_text(called: &HashMap<usize, &str>, count: usize) -> HashMap<String, usize> {
    // Of numbers that zeros bring to equal length, such as `007`, both orders are one, up to the
    // first number that is longer.
    let padded = called.values().filter(|name| name.len() > 1 && name.starts_with('0'));
    let width = padded.map(|name| name.len().min(MOST_DIGITS)).min().unwrap_or(1);
    let written = |n: usize| match called.get(&n) {
        Some(&name) => name.to_owned(),
        None => format!("{n:0width$}"),
    };
    let mut sorted: Vec<String> = (0..count).map(written).collect();
    sorted.sort_unstable();
    sorted.into_iter().zip(0..).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;
    use resnet_engine::graph::Shape;

    fn data(classes: &[&str]) -> Arc<dyn Dataset> {
        let labels = (0..classes.len() as u32).collect();
        let names = classes.iter().map(ToString::to_string).collect();
        let pixels = vec![0; classes.len()];
        Arc::new(Memory::new("picture", Shape::new(1, 1, 1), pixels, labels, names).unwrap())
    }

    fn labels(classes: &[&str], count: usize) -> Result<Vec<u32>, String> {
        let data = with_numbers(data(classes), count).map_err(|error| error.to_string())?;
        assert_eq!(data.classes().len(), count);
        Ok((0..data.len()).map(|index| data.label(index)).collect())
    }

    #[test]
    fn numbers_match_numbers_where_they_can_mean_but_one_thing() {
        assert_eq!(labels(&["0", "1", "3"], 10), Ok(vec![0, 1, 3]));
        assert_eq!(labels(&["007", "010", "100"], 1000), Ok(vec![7, 10, 100]));
        assert_eq!(labels(&["0", "1"], 11), Ok(vec![0, 1]));
        let error = labels(&["0", "1", "10", "2"], 11).unwrap_err();
        assert!(
            error
                .starts_with("picture 2: class `10` is label 10 of the model by its number, but 2"),
            "{error}"
        );
        // As many digits as the greatest number of some has, and one of them is left out.
        for classes in [vec!["00", "11"], vec!["10", "11", "05"], vec!["01", "11", "100"]] {
            assert_eq!(labels(&classes, 100).is_ok(), !classes.contains(&"100"), "{classes:?}");
            let error = labels(&classes, 101).unwrap_err();
            let part = "class `11` is label 11 of the model by its number, but 12 where folders";
            assert!(error.contains(part), "{error}");
        }
        let error = labels(&["01", "002"], 10).unwrap_err();
        assert!(error.contains("class `01` is label 1 of the model by its number, but"), "{error}");
        let error = labels(&["1", "2", "01"], 10).unwrap_err();
        let part = "picture 2: class `01` is label 1 of the model by its number, and so is `1`";
        assert!(error.starts_with(part), "{error}");
        let error = labels(&["ants", "bees"], 2).unwrap_err();
        assert!(error.contains("class `ants` is not among the 2 classes of the model"), "{error}");
        assert!(error.ends_with("import it again with a list of its class names"), "{error}");
        assert!(labels(&["2"], 2).is_err() && labels(&["-1", "+1"], 2).is_err());
    }
}
