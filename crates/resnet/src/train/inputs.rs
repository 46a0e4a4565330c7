//! What a run's network sees, without the run.

use super::error::TrainError;
use super::learner;
use super::recipe::{Calendar, Duration, Stretch};
use super::task::Task;
use crate::data::{Batch, Transform};

/// The training inputs of a task, epoch by epoch, as the run makes them.
pub(crate) struct Inputs<'a> {
    task: &'a Task,
    calendar: Calendar,
}

impl Inputs<'_> {
    /// Those of a task.
    ///
    /// # Errors
    /// A batch would be larger than the data.
    pub(crate) fn of(task: &Task) -> Result<Inputs<'_>, TrainError> {
        let calendar = task.recipe.calendar(task.train.len() as u64)?;
        Ok(Inputs { task, calendar })
    }

    /// Epochs of the run, at least one.
    pub(crate) fn epochs(&self) -> u64 {
        self.calendar.epochs().max(1)
    }

    /// What makes an epoch's inputs of pictures, as the epoch begins.
    ///
    /// # Errors
    /// The images of its phase make no sense.
    pub(crate) fn transform(&self, epoch: u64) -> Result<Transform, TrainError> {
        learner::transform(self.task, &self.stretch(epoch))
    }

    /// The first batch of the run: pairs of pictures are mixed, if the recipe mixes them.
    ///
    /// # Errors
    /// Its pictures cannot be read.
    pub(crate) fn first_batch(&self) -> Result<Option<Batch>, TrainError> {
        let targets = learner::targets(self.task);
        let loader = learner::loader(self.task, &self.stretch(0), &targets)?;
        Ok(loader.epoch(0, 0).next().transpose()?)
    }

    fn stretch(&self, epoch: u64) -> Stretch {
        let step = self.calendar.at(Duration::Epochs(epoch as f64));
        self.calendar.phases()[self.calendar.phase(step)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Image;
    use crate::train::recipe::{Recipe, split_override};

    fn task(changes: &[&str]) -> Task {
        let changes: Vec<_> = changes.iter().map(|text| split_override(text).unwrap()).collect();
        Task::open(Recipe::load("default", &changes).unwrap()).unwrap()
    }

    #[test]
    fn the_first_batch_is_made_of_the_inputs_of_epoch_0() {
        let task = task(&["batch=8", "seed=3", "pad=2", "flip=true"]);
        let inputs = Inputs::of(&task).unwrap();
        let batch = inputs.first_batch().unwrap().unwrap();
        let transform = inputs.transform(0).unwrap();
        let size = transform.shape().len();
        let (mut image, mut out) = (Image::default(), vec![0.0; size]);
        for (place, &index) in batch.indices.iter().enumerate() {
            task.train.read(index as usize, &mut image).unwrap();
            transform.train(3, 0, index.into(), &image, &mut out);
            assert!(out == batch.x[place * size..][..size], "picture {index}");
            assert_eq!(batch.labels[place], task.train.label(index as usize));
        }
    }

    #[test]
    fn epochs_of_another_phase_have_its_size() {
        let mut recipe = task(&["batch=100", "epochs=6"]).recipe;
        recipe.phase =
            Recipe::from_toml("base = \"default\"\n[[phase]]\nfrom = \"2ep\"\nside = 20\n")
                .unwrap()
                .phase;
        let task = Task::open(recipe).unwrap();
        let inputs = Inputs::of(&task).unwrap();
        let side = |epoch| inputs.transform(epoch).unwrap().shape().h;
        assert_eq!([0, 1, 2, 5].map(side), [28, 28, 20, 20]);
        assert_eq!(inputs.epochs(), 6);
    }
}
