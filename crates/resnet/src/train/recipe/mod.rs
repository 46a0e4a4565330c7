//! Recipes: every choice of a training run, as strict TOML.
//!
//! Values come from, each over the one before: the recipe `default`, the recipe that was asked for
//! (over its own `base`, if it names one), overrides. Unknown keys are errors. [`Recipe::to_toml`]
//! writes every key, so that the `config.toml` of a run is itself a recipe that repeats it.
//!
//! `auto` stands for a value that is chosen from the data or the network; `Recipe::resolve`
//! replaces those that depend on the images. Exactly one of `train.epochs` and `train.steps` is
//! set: a recipe or override that sets one unsets the other.

mod calendar;
mod error;
mod keys;
mod load;
mod phase;
mod value;

pub use calendar::{Calendar, Stretch};
pub use error::{Origin, RecipeError};
pub use keys::{Augment, Data, Follows, KEYS, Key, Model, Optimizer, Recipe, ScheduleKeys, Train};
pub use load::split_override;
pub use phase::Phase;
pub use value::{
    BadFiles, ClassWeights, Keep, Normalize, Precision, Sampling, Setting, UpdateRule,
};

use std::path::Path;

pub use crate::train::schedule::{BadDuration, Course, Duration};
use crate::train::schedule::{Schedule, WarmStart};

/// A recipe that is part of the program.
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// Its TOML.
    pub text: &'static str,
}

/// The built-in recipes. `default` sets every key; the others stand on it.
pub const RECIPES: &[BuiltIn] = &[
    BuiltIn {
        name: "default",
        about: "ResNet-20 on the built-in pictures, in minutes",
        text: include_str!("../recipes/default.toml"),
    },
    BuiltIn {
        name: "depth",
        about: "a few hundred steps: what comparisons over depth train twins with",
        text: include_str!("../recipes/depth.toml"),
    },
    BuiltIn {
        name: "cifar-fast",
        about: "ten epochs of CIFAR-10 or CIFAR-100",
        text: include_str!("../recipes/cifar-fast.toml"),
    },
    BuiltIn {
        name: "paper-cifar",
        about: "He et al. 2015, section 4.2: CIFAR, 64,000 steps",
        text: include_str!("../recipes/paper-cifar.toml"),
    },
    BuiltIn {
        name: "paper-imagenet",
        about: "He et al. 2015, section 3.4: ImageNet, 90 epochs",
        text: include_str!("../recipes/paper-imagenet.toml"),
    },
    BuiltIn {
        name: "imagenet-large-batch",
        about: "Goyal et al. 2017: ImageNet, 90 epochs of 8,192 images a step",
        text: include_str!("../recipes/imagenet-large-batch.toml"),
    },
    BuiltIn {
        name: "finetune",
        about: "a trained network for other classes: its head first, then all of it",
        text: include_str!("../recipes/finetune.toml"),
    },
];

/// What the images say about the values that are `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    /// Height and width if all images have the same; `None` if they differ.
    pub size: Option<(usize, usize)>,
}

impl Recipe {
    /// Every key with its value: a recipe that gives this one again.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS.iter().filter(|key| !key.section().is_empty()) {
            if key.section() != section {
                if !section.is_empty() {
                    text.push('\n');
                }
                section = key.section();
                text += &format!("[{section}]\n");
            }
            text += &format!("{} = {}\n", key.last(), key.value(self));
        }
        for phase in &self.phase {
            text += &format!("\n[[phase]]\n{}", phase.to_toml());
        }
        text
    }

    /// The recipe of a run, from its `config.toml`, where all is decided: a precision that it
    /// leaves open was f32.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub(crate) fn of_run(config: &Path) -> Result<Recipe, RecipeError> {
        Ok(Recipe::from_file(config)?.decided())
    }

    /// The recipe of a run that began, where a precision that is left open was f32 and a batch that
    /// says nothing of shards was one.
    pub(crate) fn decided(mut self) -> Recipe {
        self.train.shards.get_or_insert(1);
        if self.train.precision == Precision::Auto {
            self.train.precision = Precision::F32;
        }
        self
    }

    /// Replaces what is `auto` because it depends on the images: `data.resize`, `data.crop`,
    /// `augment.pad`, `augment.random_resized_crop`.
    ///
    /// # Errors
    /// [`RecipeError::Together`] when what is set does not suit the images.
    pub(crate) fn resolve(&mut self, images: ImageFacts) -> Result<(), RecipeError> {
        let (data, augment) = (&mut self.data, &mut self.augment);
        let random = *augment.random_resized_crop.get_or_insert(images.size.is_none());
        let pad = match images.size {
            Some((height, width)) => {
                let side = data.resize.filter(|&resize| resize > 0);
                let side = side.unwrap_or(height.min(width));
                let crop = *data.crop.get_or_insert(if random { side } else { 0 });
                data.resize.get_or_insert(if crop > side { crop } else { 0 });
                let seen = if crop > 0 { crop } else { side };
                if random { 0 } else { seen / 8 }
            }
            None => {
                let crop = *data.crop.get_or_insert(match data.resize {
                    Some(resize) if resize > 0 => (resize * 7 / 8).max(1),
                    _ => 224,
                });
                data.resize.get_or_insert(crop + crop / 7);
                0
            }
        };
        augment.pad.get_or_insert(pad.min(256));
        let whole = data.crop == Some(0) || data.resize == Some(0);
        let rules = [
            (
                images.size.is_none() && whole,
                "`data.resize`, `data.crop`",
                "the images differ in size, so neither may be 0; leave them at \"auto\", or set a size in pixels",
            ),
            (
                data.resize == Some(0)
                    && images.size.is_some_and(|(h, w)| data.crop > Some(h.min(w))),
                "`data.resize`, `data.crop`",
                "the crop is larger than the images; lower it, or leave resize at \"auto\"",
            ),
        ];
        refuse(&rules)?;
        self.check()
    }

    /// Keys in which it differs from another recipe, with its value and the other's, but for keys
    /// that do not count.
    pub(crate) fn differences(
        &self,
        other: &Recipe,
        but: &[&str],
    ) -> Vec<(&'static str, String, String)> {
        let keys = KEYS.iter().filter(|key| !but.contains(&key.name));
        let pairs = keys.map(|key| (key.name, key.value(self), key.value(other)));
        pairs.filter(|(_, own, other)| own != other).collect()
    }

    /// When what happens in a run over so many training images.
    ///
    /// # Errors
    /// A step would take more images than there are.
    pub fn calendar(&self, images: u64) -> Result<Calendar, RecipeError> {
        Calendar::new(self, images)
    }

    /// The learning rate of every step, phases left out.
    pub(crate) fn schedule(&self, calendar: &Calendar) -> Schedule {
        let keys = &self.schedule;
        Schedule {
            course: keys.kind,
            lr: self.optimizer.lr,
            total: calendar.total(),
            milestones: keys.milestones.iter().map(|&m| calendar.at(m)).collect(),
            gamma: keys.gamma,
            warmup: calendar.at(keys.warmup),
            warmup_lr: keys.warmup_lr,
        }
    }

    /// The warm start of a network with this many layers; it may be none.
    pub(crate) fn warm_start(&self, depth: usize) -> WarmStart {
        let until = self.schedule.warmup_until_train_error;
        if until > 0.0 && depth >= self.schedule.warmup_min_depth {
            WarmStart::until(until)
        } else {
            WarmStart::none()
        }
    }

    /// Checks each value's range, and the rules over several keys. [`Recipe::load`] has done so;
    /// fields set since may not fit.
    ///
    /// # Errors
    /// [`RecipeError`] names the keys.
    pub fn check(&self) -> Result<(), RecipeError> {
        // TOML has no larger numbers, so that the copy below could not hold one either.
        if i64::try_from(self.train.seed).is_err() {
            return Err(RecipeError::Value {
                origin: Origin::Resolved,
                key: "train.seed",
                expected: format!("an integer of at most {}", i64::MAX),
                found: self.train.seed.to_string(),
            });
        }
        let mut copy = self.clone();
        for key in KEYS.iter() {
            copy.set(key, &key.get(self), &Origin::Resolved)?;
        }
        let (schedule, data) = (&self.schedule, &self.data);
        if data.source.is_empty() {
            return Err(RecipeError::NoImages);
        }
        let warm_start = schedule.warmup_until_train_error > 0.0;
        let cut = data.resize.filter(|&resize| resize > 0);
        refuse(&[
            (
                self.train.epochs.is_some() == self.train.steps.is_some(),
                "`train.epochs`, `train.steps`",
                "a run has one budget; set exactly one of them",
            ),
            (
                self.train.accumulate > 1 && self.train.shards.is_some_and(|shards| shards > 1),
                "`train.accumulate`, `train.shards`",
                "shards of a batch are computed one after another already; set accumulate to 1 and \
                 batch to the images of all",
            ),
            (
                self.optimizer.nesterov && self.optimizer.momentum == 0.0,
                "`optimizer.nesterov`, `optimizer.momentum`",
                "Nesterov needs momentum; raise momentum or set nesterov to false",
            ),
            (
                schedule.kind == Course::Step && schedule.milestones.is_empty(),
                "`schedule.milestones`",
                "a `step` schedule needs some, such as [\"50%\", \"75%\"]; or choose another schedule.kind",
            ),
            (
                warm_start && !schedule.warmup.is_zero(),
                "`schedule.warmup`, `schedule.warmup_until_train_error`",
                "they exclude each other; set warmup to \"0it\" or warmup_until_train_error to 0",
            ),
            (
                warm_start && schedule.warmup_lr == 0.0,
                "`schedule.warmup_lr`",
                "with a rate of 0 the training error never falls; set it to 0.01, say",
            ),
            (
                self.phase.iter().any(|phase| phase.side.is_some())
                    && self.augment.normalize == Normalize::Pixel,
                "`phase`, `augment.normalize`",
                "a mean for each pixel is of one size; set augment.normalize to \"channel\"",
            ),
            (
                cut.is_some() && data.crop > cut,
                "`data.crop`, `data.resize`",
                "the crop is larger than the image it is cut from; lower crop or raise resize",
            ),
        ])
    }
}

/// A rule over several keys: whether it is broken, the keys, why and what to do.
type Rule = (bool, &'static str, &'static str);

fn refuse(rules: &[Rule]) -> Result<(), RecipeError> {
    match rules.iter().find(|(broken, ..)| *broken) {
        Some(&(_, keys, reason)) => {
            Err(RecipeError::Together { origin: Origin::Resolved, keys, reason })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
