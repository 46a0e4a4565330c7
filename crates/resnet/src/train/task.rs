//! What a recipe is about: its network, its pictures and how they reach the network.

use std::path::Path;
use std::sync::Arc;

use crate::data::{
    self, Augment, DataError, Dataset, Loader, LoaderOptions, Normalize, OnBroken, OpenOptions,
    Preprocess, RandomResizedCrop, Subset, Transform,
};
use crate::device::{self, Opened, Wanted};
use crate::model::{Model, ModelError};
use crate::net::{Arch, ArchError, OPTIONS};
use crate::ranks::Group;
use crate::train::recipe::{self, ImageFacts, Recipe, RecipeError};
use resnet_engine::exec::{Device, OpenError};
use resnet_engine::graph::{Graph, Shape};

/// What `data.source` says of pictures that a program gave.
pub const GIVEN: &str = "given";

/// Warnings about the data that are told one by one.
const WARNINGS: usize = 20;

/// Names the pictures that are held out of data with one split: the same ones for every seed, so
/// that seeds can be compared.
const HELD_OUT: u64 = 1;

/// A recipe with its data opened and every choice made.
#[derive(Clone)]
pub struct Task {
    /// Every choice, nothing left to be chosen from the data.
    pub recipe: Recipe,
    /// The network.
    pub arch: Arch,
    /// The network for these pictures and classes.
    pub graph: Graph,
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
    /// The same, with the recipe's augmentation.
    pub transform: Transform,
    /// Pictures to learn from.
    pub train: Arc<dyn Dataset>,
    /// Pictures to evaluate on.
    pub eval: Arc<dyn Dataset>,
    /// What the data calls them.
    pub eval_name: String,
    /// Whether they are a test split, by which nothing may be chosen.
    pub eval_is_test: bool,
    /// What the data says should be known.
    pub warnings: Vec<String>,
    /// Why maps are stored as the recipe says, where it left that to this machine.
    pub precision_why: Option<&'static str>,
    /// Of pictures of different sizes: which sizes, and how they become inputs of one.
    pub sizes: Option<String>,
    /// The model that training starts from, where the recipe names one.
    pub start: Option<Arc<Model>>,
    /// What computes.
    pub device: Arc<dyn Device>,
    /// Why it does, where the recipe left that to this machine.
    pub device_why: Option<String>,
    /// The processes that train together.
    pub ranks: Group,
}

/// Why a recipe cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The network does not exist or cannot read the data's images.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A program gave the pictures, and gives none now.
    #[error(
        "`data.source` is `{GIVEN}`: the pictures were a program's own; name others in their place"
    )]
    Given,
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The model that training starts from.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What computes.
    #[error(transparent)]
    Device(#[from] OpenError),
}

impl TaskError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing. Data and models that cannot be read are failures.
    pub fn is_usage(&self) -> bool {
        match self {
            TaskError::Arch(error) => error.is_usage(),
            TaskError::Recipe(error) => error.is_usage(),
            TaskError::Given | TaskError::Device(_) => true,
            TaskError::Data(_) | TaskError::Model(_) => false,
        }
    }
}

impl Task {
    /// Opens the recipe's data and fits the network to it.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn open(recipe: Recipe) -> Result<Task, TaskError> {
        let Opened { device, why, .. } = device::open(&recipe.train.device, recipe.train.threads)?;
        let start = match recipe.model.start.as_str() {
            "" => None,
            path => Some(Arc::new(Model::load(Path::new(path))?)),
        };
        Ok(Task { device_why: why, ..Task::from(recipe, start, device)? })
    }

    /// The same with a model to start from that is loaded already, in the place of the file that
    /// the recipe names.
    ///
    /// # Errors
    /// [`TaskError`].
    pub(crate) fn from(
        recipe: Recipe,
        start: Option<Arc<Model>>,
        device: Arc<dyn Device>,
    ) -> Result<Task, TaskError> {
        let pictures = Pictures::open(&recipe)?;
        Task::on(recipe, pictures, start, device)
    }

    /// The same on pictures that are open already: some to learn from and some to evaluate on, or
    /// without the latter a part of the former.
    ///
    /// # Errors
    /// [`TaskError`].
    pub(crate) fn of_data(
        recipe: Recipe,
        train: Arc<dyn Dataset>,
        eval: Option<Arc<dyn Dataset>>,
        start: Option<Arc<Model>>,
        device: Arc<dyn Device>,
    ) -> Result<Task, TaskError> {
        let pictures = Pictures::of_data(&recipe, train, eval)?;
        Task::on(recipe, pictures, start, device)
    }

    fn on(
        mut recipe: Recipe,
        pictures: Pictures,
        start: Option<Arc<Model>>,
        device: Arc<dyn Device>,
    ) -> Result<Task, TaskError> {
        if let Some(start) = &start {
            rename(&mut recipe, &start.arch.name());
        }
        let arch = network(&recipe)?;
        Task::fit(recipe, arch, pictures, start, device)
    }

    /// What a model file was trained for: its network and preprocessing, and the data that its
    /// recipe names, or `data`. What computes is wanted anew, as a model file does not say.
    ///
    /// # Errors
    /// [`TaskError`]; the data has a class that the model does not know.
    pub fn of_model(
        model: &Model,
        data: Option<&str>,
        device: &Wanted,
        threads: Option<usize>,
    ) -> Result<Task, TaskError> {
        let mut recipe = match model.tensors.metadata.get("recipe") {
            Some(text) => Recipe::from_toml(text)?,
            None => Recipe::load("default", &[])?,
        };
        if let Some(data) = data {
            recipe.data.source = data.into();
        }
        recipe.train.threads = threads.unwrap_or(recipe.train.threads);
        recipe.train.device = device.clone();
        let pictures = Pictures::open(&recipe)?;
        let Opened { device, why, .. } = device::open(device, recipe.train.threads)?;
        Ok(Task { device_why: why, ..Task::with(recipe, model, pictures, device)? })
    }

    /// The same data with a model's network and preprocessing.
    ///
    /// # Errors
    /// [`TaskError`]; the data has a class that the model does not know.
    pub(crate) fn with_model(&self, model: &Model) -> Result<Task, TaskError> {
        Task::with(self.recipe.clone(), model, self.pictures(), self.device.clone())
    }

    fn with(
        recipe: Recipe,
        model: &Model,
        pictures: Pictures,
        device: Arc<dyn Device>,
    ) -> Result<Task, TaskError> {
        model.check_head()?;
        Ok(Task {
            recipe,
            train: model.relabel(pictures.train)?,
            eval: model.relabel(pictures.eval)?,
            eval_name: pictures.eval_name,
            eval_is_test: pictures.eval_is_test,
            warnings: pictures.warnings,
            arch: model.arch.clone(),
            graph: model.graph()?,
            classes: model.classes.clone(),
            preprocess: model.preprocess.clone(),
            transform: Transform::new(model.preprocess.clone(), Augment::default())?,
            precision_why: None,
            sizes: None,
            start: None,
            device,
            device_why: None,
            ranks: None,
        })
    }

    fn pictures(&self) -> Pictures {
        Pictures {
            train: self.train.clone(),
            eval: self.eval.clone(),
            eval_name: self.eval_name.clone(),
            eval_is_test: self.eval_is_test,
            warnings: Vec::new(),
        }
    }

    /// The same data and seed with another network.
    ///
    /// # Errors
    /// [`TaskError`].
    pub(crate) fn with_network(&self, name: &str) -> Result<Task, TaskError> {
        let mut recipe = self.recipe.clone();
        rename(&mut recipe, name);
        recipe.model.start.clear();
        let arch = network(&recipe)?;
        Ok(Task {
            graph: arch.graph(self.preprocess.shape, self.classes.len())?,
            arch,
            recipe,
            start: None,
            ..self.clone()
        })
    }

    /// The part of the pictures that the name of a split means, and what it is called, if it is one
    /// of the two that a run trains and is evaluated on: `train` is then without what was held out.
    pub fn part(&self, name: &str) -> Option<(String, Arc<dyn Dataset>)> {
        let wanted = data::split_name(name);
        let alike = wanted.is_some() && wanted == data::split_name(&self.eval_name);
        if alike || name == self.eval_name {
            return Some((self.eval_name.clone(), self.eval.clone()));
        }
        (wanted == Some("train")).then(|| ("train".into(), self.train.clone()))
    }

    /// `count` training pictures, evenly spaced over the data and without augmentation: inputs
    /// `[count, h, w, c]` and labels.
    ///
    /// # Errors
    /// None of them can be read.
    pub fn sample(&self, count: usize) -> Result<(Vec<f32>, Vec<u32>), DataError> {
        let len = self.train.len();
        let indices = (0..count).map(|i| (i * len / count) as u32).collect();
        let some = Arc::new(Subset::new(self.train.clone(), indices));
        let options =
            LoaderOptions { on_broken: OnBroken::Replace, ..LoaderOptions::eval(count, 0) };
        let loader = Loader::new(some, self.transform.clone(), options)?;
        let mut batches = loader.epoch(0, 0);
        let batch = batches.next().expect("the data has pictures")?;
        Ok((batch.x.clone(), batch.labels.clone()))
    }

    fn fit(
        mut recipe: Recipe,
        arch: Arch,
        pictures: Pictures,
        start: Option<Arc<Model>>,
        device: Arc<dyn Device>,
    ) -> Result<Task, TaskError> {
        let Pictures { train, eval, eval_name, eval_is_test, warnings } = pictures;
        let size = train.shape().map(|shape| (shape.h, shape.w));
        if let Some(model) = &start {
            take_size(&mut recipe, &model.preprocess, size);
        }
        recipe.resolve(ImageFacts { size })?;
        if recipe.batch_follows.0 {
            let most = (train.len() / recipe.train.accumulate).max(1);
            recipe.train.batch = recipe.train.batch.min(most);
            // Where there are fewer images than shards, the calendar says so.
            let over = recipe.train.batch % recipe.train.shards.unwrap_or(1);
            recipe.train.batch -= if over < recipe.train.batch { over } else { 0 };
        }
        recipe.train.shards.get_or_insert(1);
        let (precision, precision_why) = match recipe.train.precision.asked() {
            Some(precision) => (precision, None),
            None => {
                let (precision, why) = device.precision();
                (precision, Some(why))
            }
        };
        recipe.train.precision = precision.into();
        let classes = train.classes().to_vec();
        let preprocess = match &start {
            Some(model) => preprocess_of(model, &recipe),
            None => preprocess(&recipe, train.as_ref())?,
        };
        let graph = arch.graph(preprocess.shape, classes.len())?;
        let augment = Augment {
            pad: recipe.augment.pad.unwrap_or(0),
            flip: recipe.augment.flip,
            random_resized_crop: recipe.augment.random_resized_crop.unwrap_or(false).then(|| {
                RandomResizedCrop {
                    scale: (recipe.augment.least_area, 1.0),
                    ..RandomResizedCrop::default()
                }
            }),
        };
        let sizes = train.sizes().map(|sizes| told(&sizes, &preprocess, &augment));
        let transform = Transform::new(preprocess.clone(), augment)?;
        Ok(Task {
            recipe,
            arch,
            graph,
            classes,
            preprocess,
            transform,
            train,
            eval,
            eval_name,
            eval_is_test,
            warnings,
            precision_why,
            sizes,
            start,
            device,
            device_why: None,
            ranks: None,
        })
    }
}

/// The pictures of a task.
struct Pictures {
    train: Arc<dyn Dataset>,
    eval: Arc<dyn Dataset>,
    eval_name: String,
    eval_is_test: bool,
    warnings: Vec<String>,
}

impl Pictures {
    fn open(recipe: &Recipe) -> Result<Pictures, TaskError> {
        if recipe.data.source == GIVEN {
            return Err(TaskError::Given);
        }
        let bad_files = match recipe.data.bad_files {
            recipe::BadFiles::Skip => data::BadFiles::Skip,
            recipe::BadFiles::Refuse => data::BadFiles::Refuse,
        };
        let splits =
            data::open(&recipe.data.source, &OpenOptions { bad_files, ..OpenOptions::default() })?;
        let mut warnings: Vec<String> = splits.warnings.iter().map(ToString::to_string).collect();
        if warnings.len() > WARNINGS {
            let more = warnings.len() - WARNINGS;
            warnings.truncate(WARNINGS);
            warnings.push(format!("and {more} more warnings about the data"));
        }
        let (train, eval, eval_name): (Arc<dyn Dataset>, Arc<dyn Dataset>, String) =
            match (splits.val, splits.test) {
                (Some(val), _) => (splits.train, val, "val".into()),
                (None, Some(test)) => (splits.train, test, splits.test_name),
                (None, None) => {
                    let (train, val) =
                        data::split(splits.train, recipe.data.val_fraction, HELD_OUT)?;
                    (Arc::new(train), Arc::new(val), "val".into())
                }
            };
        let eval_is_test = data::is_test(&eval_name);
        Ok(Pictures { train, eval, eval_name, eval_is_test, warnings })
    }

    fn of_data(
        recipe: &Recipe,
        train: Arc<dyn Dataset>,
        eval: Option<Arc<dyn Dataset>>,
    ) -> Result<Pictures, TaskError> {
        data::check_classes(&recipe.data.source, train.as_ref())?;
        let (train, eval): (Arc<dyn Dataset>, Arc<dyn Dataset>) = match eval {
            Some(eval) => {
                let eval = data::with_classes(eval, train.classes())?;
                (train, eval)
            }
            None => {
                let (train, val) = data::split(train, recipe.data.val_fraction, HELD_OUT)?;
                (Arc::new(train), Arc::new(val))
            }
        };
        let (eval_name, eval_is_test) = ("val".into(), false);
        Ok(Pictures { train, eval, eval_name, eval_is_test, warnings: Vec::new() })
    }
}

/// What becomes of pictures whose sizes differ.
fn told(sizes: &str, preprocess: &Preprocess, augment: &Augment) -> String {
    let Shape { h, w, .. } = preprocess.shape;
    let side = match preprocess.resize {
        Some(side) => format!("their shorter side becomes {side}"),
        None => format!("they are resized to cover {w} x {h}"),
    };
    let random = match augment.random_resized_crop {
        Some(_) => ", in training a random part of any size",
        None => "",
    };
    format!("{sizes}: {side}, the middle {w} x {h} is used{random}")
}

/// The network of a recipe, options included.
///
/// # Errors
/// [`ArchError`].
pub fn network(recipe: &Recipe) -> Result<Arch, ArchError> {
    let mut arch = Arch::parse(&recipe.model.arch)?;
    for option in OPTIONS {
        if let Some(recipe::Setting(value)) = recipe.network.get(option.key) {
            arch.set(option.key, value)?;
        }
    }
    Ok(arch)
}

/// Names another network, with every option as its name says.
fn rename(recipe: &mut Recipe, name: &str) {
    name.clone_into(&mut recipe.model.arch);
    recipe.network.clear();
}

/// Sizes of pictures as a model wants them, where the recipe leaves them open.
fn take_size(recipe: &mut Recipe, of: &Preprocess, size: Option<(usize, usize)>) {
    let side = of.shape.h;
    if side == of.shape.w && recipe.data.crop.is_none() {
        recipe.data.crop = Some(side);
        // A model without a size to resize to lets pictures just cover its input.
        let cover = (size != Some((side, side))).then_some(side);
        recipe.data.resize = recipe.data.resize.or(of.resize).or(cover);
    }
}

/// A model's preprocessing, with the recipe's sizes.
fn preprocess_of(model: &Model, recipe: &Recipe) -> Preprocess {
    let nonzero = |value: Option<usize>| value.filter(|&v| v > 0);
    let mut preprocess = model.preprocess.clone();
    if let Some(crop) = nonzero(recipe.data.crop) {
        preprocess.shape = Shape::new(preprocess.shape.c, crop, crop);
        preprocess.resize = nonzero(recipe.data.resize);
    }
    preprocess
}

/// What the recipe and the data make of a picture.
fn preprocess(recipe: &Recipe, train: &dyn Dataset) -> Result<Preprocess, TaskError> {
    let nonzero = |value: Option<usize>| value.filter(|&v| v > 0);
    let (h, w) = match (nonzero(recipe.data.crop), train.shape()) {
        (Some(crop), _) => (crop, crop),
        (None, Some(shape)) => (shape.h, shape.w),
        (None, None) => (224, 224),
    };
    let shape = Shape::new(train.channels(), h, w);
    let normalize = match recipe.augment.normalize {
        recipe::Normalize::Channel => Normalize::channel(train, shape.c)?,
        recipe::Normalize::Pixel => Normalize::pixel(train, shape)?,
    };
    Ok(Preprocess { shape, resize: nonzero(recipe.data.resize), normalize })
}
