//! Data for a model whose classes nobody named: their names are the numbers of its labels.
//!
//! Folders called by numbers are those labels, as long as this can mean but one thing. Programs
//! that number folders sorted as text, as `ImageFolder` does, call the folders `0`, `1`, `10`, `2`
//! by 0, 1, 2, 3; a model of such a program would be measured on wrong labels.

use std::sync::Arc;

use super::subset::relabelled;
use super::{DataError, Dataset};

/// `data` with the labels that its class names are the numbers of, below `count`.
///
/// # Errors
/// A class that has pictures is called by no such number, or its number can be read in two ways.
pub(crate) fn with_numbers(
    data: Arc<dyn Dataset>,
    count: usize,
) -> Result<Arc<dyn Dataset>, DataError> {
    let mut sorted: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    sorted.sort();
    let number = |name: &str| {
        let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        name.parse().ok().filter(|&n: &usize| digits && n < count)
    };
    // Of numbers of equal length, such as `007`, both orders are one.
    let padded = data.classes().iter().any(|name| name.len() > 1 && name.starts_with('0'));
    let labels: Vec<Option<usize>> = data.classes().iter().map(|name| number(name)).collect();
    let mut holds = vec![None; labels.len()];
    for index in (0..data.len()).rev() {
        holds[data.label(index) as usize] = Some(index);
    }
    for (old, index) in holds.iter().enumerate() {
        let Some(index) = *index else { continue };
        let class = data.classes()[old].as_str();
        let place = || data.name(index).into();
        let Some(label) = labels[old] else {
            return Err(DataError::UnknownClass {
                place: place(),
                class: class.into(),
                known: count,
                of: "the model".into(),
                hint: "they have numbers for names, as none were given when it was imported: \
                       import it again with a list of its class names"
                    .into(),
            });
        };
        let place_as_text = sorted.iter().position(|name| name == class);
        if let Some(other) = place_as_text.filter(|&other| !padded && other != label) {
            return Err(DataError::Numbered { place: place(), class: class.into(), other });
        }
    }
    let labels = labels.into_iter().map(|label| label.unwrap_or_default() as u32).collect();
    let classes = (0..count).map(|n| n.to_string()).collect();
    Ok(relabelled(data, classes, labels))
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
        let error = labels(&["ants", "bees"], 2).unwrap_err();
        assert!(error.contains("class `ants` is not among the 2 classes of the model"), "{error}");
        assert!(error.ends_with("import it again with a list of its class names"), "{error}");
        assert!(labels(&["2"], 2).is_err() && labels(&["-1", "+1"], 2).is_err());
    }
}
