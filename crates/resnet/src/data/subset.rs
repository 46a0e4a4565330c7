//! Parts and views of data: chosen pictures, a validation part split off, labels numbered by
//! another's classes.

use std::sync::Arc;

use super::{DataError, Dataset, Image, Part};
use crate::base::rng::Rng;
use crate::base::suggest::nearest;
use crate::base::text::composed;
use resnet_engine::graph::Shape;
use resnet_engine::picture::Area;

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

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, DataError> {
        self.data.read_part(self.indices[index] as usize, wanted, image)
    }

    fn file(&self, index: usize, bytes: &mut Vec<u8>) -> Result<bool, DataError> {
        self.data.file(self.indices[index] as usize, bytes)
    }

    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }

    fn sizes(&self) -> Option<String> {
        self.data.sizes()
    }

    fn channels(&self) -> usize {
        self.data.channels()
    }
}

/// Splits `fraction` of the pictures off for validation: the same fraction of each class, chosen by
/// `seed` alone. Both parts keep the order of `data`; the first is for training.
///
/// Of a class with two pictures or more, at least one is in each part; a class with a single
/// picture is for training only.
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
    Ok((Subset::new(data.clone(), train), Subset::new(data, held_out)))
}

/// `data` with labels numbered by `classes`, such as those of a trained model. Equal names are the
/// same class, whether a letter with an accent is one character in them or two.
///
/// # Errors
/// A class of `data` that has pictures is not among `classes`.
pub(crate) fn with_classes(
    data: Arc<dyn Dataset>,
    classes: &[String],
) -> Result<Arc<dyn Dataset>, DataError> {
    with_aliases(data, classes, &[])
}

/// The same where data may call a class by its other name in `aliases`, which are by label too;
/// those past the last label name nothing.
///
/// # Errors
/// As [`with_classes`].
pub(crate) fn with_aliases(
    data: Arc<dyn Dataset>,
    classes: &[String],
    aliases: &[String],
) -> Result<Arc<dyn Dataset>, DataError> {
    if data.classes() == classes {
        return Ok(data);
    }
    let composed_all =
        |names: &[String]| -> Vec<String> { names.iter().map(|name| composed(name)).collect() };
    let aliases = &aliases[..aliases.len().min(classes.len())];
    let (known, others) = (composed_all(classes), composed_all(aliases));
    let find = |name: &String| {
        let name = composed(name);
        let at = known.iter().position(|known| *known == name);
        at.or_else(|| others.iter().position(|known| *known == name))
    };
    let labels: Vec<Option<usize>> = data.classes().iter().map(find).collect();
    let unknown = (0..data.len()).find(|&index| labels[data.label(index) as usize].is_none());
    if let Some(index) = unknown {
        let class = data.classes()[data.label(index) as usize].as_str();
        let hint = match nearest(class, classes.iter().map(String::as_str)) {
            Some(near) => format!("rename it, if `{near}` is meant"),
            None => "use data with the model's classes".to_string(),
        };
        return Err(DataError::UnknownClass {
            place: data.name(index).into(),
            class: class.into(),
            known: classes.len(),
            of: "the model".into(),
            hint: hint.into(),
        });
    }
    let labels = labels.into_iter().map(|label| label.unwrap_or_default() as u32).collect();
    Ok(relabelled(data, classes.to_vec(), labels))
}

/// `data` whose labels are those of `classes`; `labels` are the new ones by the old.
pub(super) fn relabelled(
    data: Arc<dyn Dataset>,
    classes: Vec<String>,
    labels: Vec<u32>,
) -> Arc<dyn Dataset> {
    Arc::new(Relabelled { data, classes, labels })
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

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, DataError> {
        self.data.read_part(index, wanted, image)
    }

    fn file(&self, index: usize, bytes: &mut Vec<u8>) -> Result<bool, DataError> {
        self.data.file(index, bytes)
    }

    fn shape(&self) -> Option<Shape> {
        self.data.shape()
    }

    fn sizes(&self) -> Option<String> {
        self.data.sizes()
    }

    fn channels(&self) -> usize {
        self.data.channels()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    /// Pictures of one pixel, whose value is their index.
    fn data(labels: &[u8], classes: &[&str]) -> Arc<dyn Dataset> {
        let pixels = (0..labels.len()).map(|index| index as u8).collect();
        let classes = classes.iter().map(|&name| name.to_string()).collect();
        let shape = Shape::new(1, 1, 1);
        Arc::new(Memory::new("picture", shape, pixels, labels.to_vec(), classes).unwrap())
    }

    fn pictures(part: &Subset) -> Vec<u8> {
        let mut image = Image::default();
        let read = |index| {
            part.read(index, &mut image).unwrap();
            image.pixels[0]
        };
        (0..part.len()).map(read).collect()
    }

    #[test]
    fn a_validation_part_is_balanced_and_repeatable() {
        let labels: Vec<u8> = (0..100).map(|index| u8::from(index % 5 == 0)).collect();
        let data = data(&labels, &["many", "few"]);
        let (train, held_out) = split(data.clone(), 0.1, 7).unwrap();
        assert_eq!((train.len(), held_out.len()), (90, 10));
        let few = (0..10).filter(|&index| held_out.label(index) == 1).count();
        assert_eq!(few, 2);
        let mut all = [pictures(&train), pictures(&held_out)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert!(pictures(&held_out).is_sorted());
        for index in 0..10 {
            let picture = pictures(&held_out)[index] as usize;
            assert_eq!(held_out.label(index), u32::from(labels[picture]));
            assert_eq!(held_out.name(index), format!("picture {picture}"));
        }
        let (_, again) = split(data.clone(), 0.1, 7).unwrap();
        let (_, other) = split(data, 0.1, 8).unwrap();
        assert_eq!(pictures(&held_out), pictures(&again));
        assert_ne!(pictures(&held_out), pictures(&other));
    }

    #[test]
    fn small_classes_stay_in_training() {
        let small = data(&[0, 1, 1, 2, 2, 2], &["one", "two", "three"]);
        for fraction in [0.01, 0.5, 0.99] {
            let (train, held_out) = split(small.clone(), fraction, 0).unwrap();
            for label in 0..3 {
                assert!((0..train.len()).any(|index| train.label(index) == label), "{fraction}");
                assert_eq!(
                    (0..held_out.len()).any(|index| held_out.label(index) == label),
                    label > 0
                );
            }
        }
        let error =
            |data, fraction| split(data, fraction, 0).err().expect("it was split").to_string();
        assert!(error(data(&[0, 1], &["a", "b"]), 0.5).contains("no class has two pictures"));
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(error(small.clone(), fraction).contains("must lie between 0 and 1"));
        }
    }

    #[test]
    fn labels_follow_the_names() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|&name| name.to_string()).collect()
        };
        let data = data(&[0, 1, 0], &["bees", "wasps"]);
        let model = names(&["ants", "wasps", "bees"]);
        let seen = with_classes(data.clone(), &model).unwrap();
        assert_eq!((0..3).map(|index| seen.label(index)).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(seen.classes(), model);
        let error = with_classes(data.clone(), &names(&["ants", "bees", "wasp"]))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("picture 1: class `wasps` is not among the 3 classes of the model"),
            "{error}"
        );
        assert!(error.ends_with("rename it, if `wasp` is meant"), "{error}");
        // Data may call a class by its other name; its first name goes before.
        let aliases = names(&["bees", "wasps", "n02206856"]);
        let seen = with_aliases(data.clone(), &names(&["ant", "wasp", "bees"]), &aliases).unwrap();
        assert_eq!((0..3).map(|index| seen.label(index)).collect::<Vec<_>>(), [2, 1, 2]);
        let error = with_aliases(data.clone(), &names(&["ant", "wasp"]), &names(&["", "", "bees"]));
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`bees` is not among the 2 classes"), "{error}");
        // A class without pictures needs no place.
        let one = Arc::new(Subset::new(data, vec![0, 2]));
        assert!(with_classes(one, &names(&["bees"])).is_ok());
    }
}
