//! What training makes of pictures: the inputs that a run's first epochs and its evaluation have of
//! some, and its first batch, made as the run makes them.

use super::shown::STORED;
use crate::data::{Augment, Batch, Dataset, Image, Normalize, Preprocess, Transform, shrink};
use crate::train::TrainError;
use crate::train::inputs::Inputs;
use crate::train::task::Task;

/// Pictures of the first batch that are shown at most.
const OF_BATCH: usize = 24;

/// What training makes of some pictures.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The data.
    pub source: String,
    /// The network.
    pub arch: String,
    /// Names the run's randomness.
    pub seed: u64,
    /// Training pictures there are.
    pub images: usize,
    /// How every picture is prepared.
    pub preprocess: Preprocess,
    /// How training pictures are varied.
    pub augment: Augment,
    /// The shape of the distribution from which mixed pairs have their shares; 0 mixes none.
    pub mixup: f64,
    /// Which sizes the pictures have, and how they become inputs of one, where they differ.
    pub sizes: Option<String>,
    /// Pictures, evenly spaced over the training data.
    pub pictures: Vec<Previewed>,
    /// The first batch of the run, or its beginning.
    pub batch: Vec<Mixed>,
    /// Pictures in a batch.
    pub batch_size: usize,
}

/// A picture and what is made of it.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// What it is called.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its width and height in pixels.
    pub size: (usize, usize),
    /// The picture, made small.
    pub original: Image,
    /// Top, left, height and width of the part that an evaluation uses, in the small picture's
    /// pixels; padding lies outside of it.
    pub part: [f64; 4],
    /// The input of an evaluation.
    pub eval: Image,
    /// The inputs of epochs, from the run's first on.
    pub train: Vec<Made>,
}

/// An input of an epoch.
#[derive(Clone, Debug)]
pub struct Made {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The input, with its normalisation undone.
    pub input: Image,
}

/// An input of a batch.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The input, with its normalisation undone.
    pub input: Image,
    /// Classes that are wanted of the network, each with its share, the largest first.
    pub wanted: Vec<(String, f32)>,
}

/// What training makes of `pictures` pictures of a task in its first `epochs` epochs.
///
/// # Errors
/// The task's batch is larger than its data, or pictures cannot be read.
pub fn preview(task: &Task, pictures: usize, epochs: u64) -> Result<Preview, TrainError> {
    let inputs = Inputs::of(task)?;
    let transforms = (0..epochs.min(inputs.epochs()))
        .map(|epoch| Ok((epoch, inputs.transform(epoch)?)))
        .collect::<Result<Vec<_>, TrainError>>()?;
    let shown = spread(task.train.len(), pictures)
        .map(|index| previewed(task, index, &transforms))
        .collect::<Result<Vec<_>, _>>()?;
    let batch = inputs.first_batch()?;
    let first = inputs.transform(0)?;
    Ok(Preview {
        source: task.recipe.data.source.clone(),
        arch: task.arch.name(),
        seed: task.recipe.train.seed,
        images: task.train.len(),
        preprocess: task.preprocess.clone(),
        augment: task.transform.augment().clone(),
        mixup: task.recipe.augment.mixup,
        sizes: task.sizes.clone(),
        pictures: shown.into_iter().flatten().collect(),
        batch_size: batch.as_ref().map_or(0, |batch| batch.labels.len()),
        batch: batch.map_or(Vec::new(), |batch| mixed(&batch, &first, &task.classes)),
    })
}

/// `count` of so many places, evenly spaced, each further on than that by one, so that classes that
/// take turns do not all fall on one.
fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    let room = (len / count.max(1)).saturating_sub(1) / 2;
    (0..count).map(move |i| (2 * i + 1) * len / (2 * count) + i.min(room))
}

/// What is made of a picture; nothing of one that is damaged.
fn previewed(
    task: &Task,
    index: usize,
    transforms: &[(u64, Transform)],
) -> Result<Option<Previewed>, TrainError> {
    let data = task.train.as_ref();
    let mut image = Image::default();
    match data.read(index, &mut image) {
        Ok(()) => {}
        Err(error) if error.is_of_system() => return Err(error.into()),
        Err(_) => return Ok(None),
    }
    let input = |transform: &Transform, fill: &dyn Fn(&Transform, &mut [f32])| {
        let mut numbers = vec![0.0; transform.shape().len()];
        fill(transform, &mut numbers);
        shrink(&picture(&numbers, transform.preprocess()), STORED)
    };
    let (seed, place) = (task.recipe.train.seed, index as u64);
    let train = transforms.iter().map(|(epoch, transform)| Made {
        epoch: *epoch,
        input: input(transform, &|t, out| t.train(seed, *epoch, place, &image, out)),
    });
    let original = shrink(&image, STORED);
    let scale = original.width as f64 / image.width as f64;
    Ok(Some(Previewed {
        name: data.name(index),
        class: data.classes()[data.label(index) as usize].clone(),
        size: (image.width, image.height),
        part: task.transform.seen(&image).map(|side| side * scale),
        eval: input(&task.transform, &|t, out| t.eval(&image, out)),
        train: train.collect(),
        original,
    }))
}

/// The pictures of a batch.
fn mixed(batch: &Batch, transform: &Transform, classes: &[String]) -> Vec<Mixed> {
    let size = transform.shape().len();
    let of = |place: usize| {
        let input = picture(&batch.x[place * size..][..size], transform.preprocess());
        let row = batch.target.get(place * classes.len()..(place + 1) * classes.len());
        let wanted = row.into_iter().flatten().zip(classes).filter(|(share, _)| **share > 0.0);
        let mut wanted: Vec<(String, f32)> =
            wanted.map(|(share, class)| (class.clone(), *share)).collect();
        wanted.sort_by(|a, b| b.1.total_cmp(&a.1));
        Mixed { input: shrink(&input, STORED), wanted }
    };
    (0..batch.count.min(OF_BATCH)).map(of).collect()
}

/// The picture that an input is, its normalisation undone. What was padded has the mean's colour.
fn picture(input: &[f32], preprocess: &Preprocess) -> Image {
    let shape = preprocess.shape;
    let value = |(at, x): (usize, &f32)| {
        let channel = at % shape.c;
        let value = match &preprocess.normalize {
            Normalize::Channel { mean, std } => x * std[channel] + mean[channel],
            Normalize::Pixel { mean } => x + mean[at],
        };
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    let pixels = input.iter().enumerate().map(value).collect();
    Image { width: shape.w, height: shape.h, channels: shape.c, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::{Recipe, split_override};

    fn previewed(changes: &[&str], pictures: usize, epochs: u64) -> (Task, Preview) {
        let changes: Vec<_> = changes.iter().map(|text| split_override(text).unwrap()).collect();
        let task = Task::open(Recipe::load("default", &changes).unwrap()).unwrap();
        let preview = preview(&task, pictures, epochs).unwrap();
        (task, preview)
    }

    #[test]
    fn inputs_are_shown_as_pictures_again() {
        let (task, preview) = previewed(&["batch=8", "pad=0", "flip=false"], 5, 3);
        assert_eq!(preview.pictures.len(), 5);
        let mut image = Image::default();
        for (shown, index) in preview.pictures.iter().zip(spread(task.train.len(), 5)) {
            task.train.read(index, &mut image).unwrap();
            // Nothing is varied, so all of them are the picture itself.
            assert_eq!(shown.eval, image);
            assert_eq!(shown.train.len(), 3);
            assert!(shown.train.iter().all(|made| made.input == image), "{}", shown.name);
            assert_eq!(shown.part, [0.0, 0.0, 28.0, 28.0]);
        }
        let (_, varied) = previewed(&["batch=8", "pad=2", "flip=true"], 5, 3);
        let train = |preview: &Preview| -> Vec<Image> {
            let made = preview.pictures.iter().flat_map(|shown| &shown.train);
            made.map(|made| made.input.clone()).collect()
        };
        assert_ne!(train(&preview), train(&varied));
        assert_eq!(train(&varied), train(&previewed(&["batch=8", "pad=2", "flip=true"], 5, 3).1));
    }

    #[test]
    fn the_mean_of_each_pixel_is_added_again() {
        let changes = ["batch=8", "pad=0", "flip=false", "augment.normalize=pixel"];
        let (task, preview) = previewed(&changes, 3, 1);
        let mut image = Image::default();
        for (shown, index) in preview.pictures.iter().zip(spread(task.train.len(), 3)) {
            task.train.read(index, &mut image).unwrap();
            assert_eq!(shown.train[0].input, image);
        }
    }

    #[test]
    fn the_first_batch_shows_what_is_mixed() {
        let (_, plain) = previewed(&["batch=8"], 1, 1);
        assert_eq!((plain.batch.len(), plain.batch_size), (8, 8));
        assert!(plain.batch.iter().all(|mixed| mixed.wanted.len() == 1));
        let (_, mixed) = previewed(&["batch=40", "augment.mixup=5"], 1, 1);
        assert_eq!((mixed.batch.len(), mixed.batch_size), (OF_BATCH, 40));
        assert!(mixed.batch.iter().any(|mixed| mixed.wanted.len() == 2));
        for picture in &mixed.batch {
            let sum: f32 = picture.wanted.iter().map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-6 && picture.wanted.is_sorted_by(|a, b| a.1 >= b.1));
        }
    }

    #[test]
    fn a_run_of_one_epoch_has_one() {
        let (_, preview) = previewed(&["batch=8", "epochs=1"], 2, 4);
        assert!(preview.pictures.iter().all(|shown| shown.train.len() == 1));
    }
}
