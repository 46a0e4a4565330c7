//! Parts and views of data: chosen pictures, a validation part split off, labels numbered by another's classes.

use std::sync::Arc;

use super::{DataError, Dataset, Image};
use crate::graph::Shape;
use crate::rng::Rng;
use crate::suggest::nearest;

/// Some pictures of a data set, in a given order.
pub struct Subset {
    data: Arc<dyn Dataset>,
    indices: Vec<u32>,
}

impl Subset {
    /// The pictures of `data` with these indices.
    ///
    /// # Panics
    /// If an index is not below `data.len()`.
    pub fn new(data: Arc<dyn Dataset>, indices: Vec<u32>) -> Subset {
        assert!(
            indices.iter().all(|&index| (index as usize) < data.len()),
            "an index past the data"
        );
        Subset { data, indices }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.data.label(self.indices[index] as usize)
    }

    fn name(&self, index: usize) -> String {
        self.data.name(self.indices[index] as usize)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        self.data.read(self.indices[index] as usize, image)
    }

    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }

    fn channels(&self) -> usize {
        self.data.channels()
    }
}

/// Splits `fraction` of the pictures off for validation: the same fraction of each class, chosen by `seed` alone. Both parts
/// keep the order of `data`; the first is for training.
///
/// Of a class with two pictures or more, at least one is in each part; a class with a single picture is for training only.
///
/// # Errors
/// `fraction` is not between 0 and 1, or no class has two pictures.
pub fn split(
    data: Arc<dyn Dataset>,
    fraction: f64,
    seed: u64,
) -> Result<(Subset, Subset), DataError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(DataError::Split(format!(
            "the fraction is {fraction}, but must lie between 0 and 1"
        )));
    }
    let mut by_class = vec![Vec::new(); data.classes().len()];
    for index in 0..data.len() {
        by_class[data.label(index) as usize].push(index as u32);
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (class, mut members) in by_class.into_iter().enumerate() {
        Rng::named(seed, &format!("validation split, class {class}")).shuffle(&mut members);
        let wanted = (members.len() as f64 * fraction).round() as usize;
        let most = members.len().saturating_sub(1);
        held_out.extend(members.drain(..wanted.max(1).min(most)));
        train.extend(members);
    }
    if held_out.is_empty() {
        return Err(DataError::Split("no class has two pictures".to_string()));
    }
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((
        Subset::new(data.clone(), train),
        Subset::new(data, held_out),
    ))
}

/// `data` with labels numbered by `classes`, such as those of a trained model. Equal names are the same class.
///
/// # Errors
/// A class of `data` that has pictures is not among `classes`.
pub fn with_classes(
    data: Arc<dyn Dataset>,
    classes: &[String],
) -> Result<Arc<dyn Dataset>, DataError> {
    if data.classes() == classes {
        return Ok(data);
    }
    let find = |name: &String| classes.iter().position(|known| known == name);
    let labels: Vec<Option<usize>> = data.classes().iter().map(find).collect();
    let unknown = (0..data.len()).find(|&index| labels[data.label(index) as usize].is_none());
    if let Some(index) = unknown {
        let class = data.classes()[data.label(index) as usize].clone();
        return Err(DataError::UnknownClass {
            place: data.name(index),
            known: classes.len(),
            of: "the model".to_string(),
            hint: match nearest(&class, classes.iter().map(String::as_str)) {
                Some(near) => format!("rename it, if `{near}` is meant"),
                None => "use data with the model's classes".to_string(),
            },
            class,
        });
    }
    Ok(Arc::new(Relabelled {
        data,
        classes: classes.to_vec(),
        labels: labels
            .into_iter()
            .map(|label| label.unwrap_or_default() as u32)
            .collect(),
    }))
}

struct Relabelled {
    data: Arc<dyn Dataset>,
    classes: Vec<String>,
    /// New label by old label.
    labels: Vec<u32>,
}

impl Dataset for Relabelled {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[self.data.label(index) as usize]
    }

    fn name(&self, index: usize) -> String {
        self.data.name(index)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        self.data.read(index, image)
    }

    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }

    fn channels(&self) -> usize {
        self.data.channels()
    }
}
