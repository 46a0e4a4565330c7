//! The training library's front door.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnet_engine::exec::Device;

use super::checkpoint::FREE;
use super::directory::{self, Directory, LAST, Place, ResumeCommand};
use super::event::Event;
use super::job::Job;
use super::observe::{Events, Observer};
use super::recipe::{Recipe, RecipeError, Train};
use super::run::Run;
use super::task::{GIVEN, Task, TaskError};
use super::{TrainError, Trained, company};
use crate::base::files;
use crate::data::Dataset;
use crate::device::{self, Wanted};
use crate::model::Model;
use crate::ranks::{Group, Ranks, is_first, open_device};

/// Trains a network: on data that a recipe names or any [`Dataset`], with or without a run
/// directory.
///
/// ```
/// use resnet::train::Trainer;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let trained = Trainer::new("resnet8").set("steps", 5).set("batch", 8).run()?;
/// println!("top-1 {:.1} %", 100.0 * trained.ended.top1.unwrap_or(0.0));
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'a> {
    base: Base,
    changes: Vec<(String, String)>,
    train: Option<Arc<dyn Dataset>>,
    eval: Option<Arc<dyn Dataset>>,
    start: Option<Arc<Model>>,
    device: Option<Arc<dyn Device>>,
    ranks: Group,
    out: Option<Place>,
    command: String,
    resume_command: Option<ResumeCommand>,
    notes: Vec<String>,
    observer: Option<Watcher<'a>>,
}

enum Base {
    /// A built-in recipe or a file.
    Named(String),
    Recipe(Box<Recipe>),
    /// The run in a directory.
    Resumed(PathBuf),
}

enum Watcher<'a> {
    Borrowed(&'a mut dyn Observer),
    Owned(Events<'a>),
}

/// A run to go on with.
struct Opened {
    /// On the first process alone.
    directory: Option<Directory>,
    recipe: Recipe,
    last: Option<Arc<Model>>,
}

impl<'a> Trainer<'a> {
    fn from_base(base: Base) -> Trainer<'a> {
        Trainer {
            base,
            changes: Vec::new(),
            train: None,
            eval: None,
            start: None,
            device: None,
            ranks: None,
            out: None,
            command: String::new(),
            resume_command: None,
            notes: Vec::new(),
            observer: None,
        }
    }

    /// Trains the network of this name, such as `resnet20`, by the recipe `default`.
    pub fn new(network: &str) -> Trainer<'a> {
        Trainer::recipe("default").set("model.arch", network)
    }

    /// Trains by a built-in recipe or a TOML file.
    pub fn recipe(name_or_file: &str) -> Trainer<'a> {
        Trainer::from_base(Base::Named(name_or_file.to_owned()))
    }

    /// Trains by a recipe.
    pub fn of(recipe: Recipe) -> Trainer<'a> {
        Trainer::from_base(Base::Recipe(Box::new(recipe)))
    }

    /// Continues the run in a directory where its last checkpoint stands; it ends with the same
    /// bits as a run that never stopped.
    ///
    /// The recipe is the run's. What may be set is how fast it goes (`train.device`,
    /// `train.threads`, `train.workers`), where its files are (`data.source`), what is looked at
    /// and kept (`train.monitor_every`, `train.checkpoint_every`, `train.keep`), and when it ends
    /// (`train.epochs`, `train.steps`, `train.patience`): a finished run goes on with more epochs,
    /// at the rates that the longer run has from there on.
    pub fn resume(directory: impl Into<PathBuf>) -> Trainer<'a> {
        Trainer::from_base(Base::Resumed(directory.into()))
    }

    /// Changes a key of the recipe, by its whole name or its last part; the value is as in TOML, or
    /// plain text. Mistakes are told by [`Trainer::run`].
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Trainer<'a> {
        self.changes.push((key.to_owned(), value.to_string()));
        self
    }

    /// Learns from these pictures instead of those that the recipe names.
    #[must_use]
    pub fn data(mut self, train: impl Dataset + 'static) -> Trainer<'a> {
        self.train = Some(Arc::new(train));
        self
    }

    /// Evaluates on these pictures; without them, a part of those to learn from is held out.
    #[must_use]
    pub fn evaluate_on(mut self, eval: impl Dataset + 'static) -> Trainer<'a> {
        self.eval = Some(Arc::new(eval));
        self
    }

    /// Starts from a trained model, which decides the network and its normalising; for other
    /// classes than its own its last layer starts at zero.
    #[must_use]
    pub fn start_from(mut self, model: Model) -> Trainer<'a> {
        self.start = Some(Arc::new(model));
        self
    }

    /// Computes there; without it, where `train.device` says.
    #[must_use]
    pub fn device(mut self, device: Arc<dyn Device>) -> Trainer<'a> {
        self.device = Some(device);
        self
    }

    /// Trains together with other processes, each of which trains by the same recipe on the same
    /// pictures: they share the shards of each batch, and all end with the same weights. The first
    /// alone reads and writes the run's directory.
    #[must_use]
    pub fn ranks(mut self, ranks: Arc<dyn Ranks>) -> Trainer<'a> {
        // One alone has nobody to agree with.
        self.ranks = Some(ranks).filter(|ranks| ranks.count() > 1);
        self
    }

    /// Keeps the run in a directory, which must not hold one yet: events, checkpoints, the model
    /// and a page. Without one nothing is written.
    #[must_use]
    pub fn out(mut self, directory: impl Into<PathBuf>) -> Trainer<'a> {
        self.out = Some(Place::At(directory.into()));
        self
    }

    /// Keeps the run in the first of `directory`, `directory-2`, `directory-3`, ... that nobody
    /// has; the event of its start says which.
    #[must_use]
    pub fn out_beside(mut self, directory: impl Into<PathBuf>) -> Trainer<'a> {
        self.out = Some(Place::Free(directory.into()));
        self
    }

    /// What the page says was typed to start the run.
    #[must_use]
    pub fn command(mut self, command: &str) -> Trainer<'a> {
        self.command = command.to_owned();
        self
    }

    /// What the page of a run that was stopped in this directory says to type to go on; without
    /// it, nothing.
    #[must_use]
    pub fn resume_command(mut self, command: impl Fn(&Path) -> String + 'static) -> Trainer<'a> {
        self.resume_command = Some(Box::new(command));
        self
    }

    /// A note about the data, which becomes a warning of the run.
    #[must_use]
    pub fn note(mut self, note: String) -> Trainer<'a> {
        self.notes.push(note);
        self
    }

    /// Tells an observer, which may stop the run.
    #[must_use]
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Trainer<'a> {
        self.observer = Some(Watcher::Borrowed(observer));
        self
    }

    /// Tells a closure what happens.
    #[must_use]
    pub fn on_event(mut self, on: impl FnMut(&Event) + 'a) -> Trainer<'a> {
        self.observer = Some(Watcher::Owned(Events(Box::new(on))));
        self
    }

    /// Trains until the budget is spent or the observer says stop.
    ///
    /// # Errors
    /// [`TrainError`]; what was saved until then stays.
    pub fn run(mut self) -> Result<Trained, TrainError> {
        let mut watcher = self.observer.take();
        let mut nobody = ();
        let observer: &mut dyn Observer = match &mut watcher {
            Some(Watcher::Borrowed(observer)) => *observer,
            Some(Watcher::Owned(events)) => events,
            None => &mut nobody,
        };
        let ranks = self.ranks.clone();
        if let Base::Resumed(directory) = &self.base {
            let directory = directory.clone();
            let opened = match is_first(&ranks) {
                true => self.open_run(&directory).map(Some),
                false => Ok(None),
            };
            let mut opened = company::together(&ranks, opened)?;
            if let Some(ranks) = ranks.as_deref() {
                let own = opened.as_ref().map(|run| (&run.recipe, &run.last));
                let (recipe, last) = company::resumed(ranks, own)?;
                let run = opened.get_or_insert(Opened { directory: None, recipe, last: None });
                run.last = run.last.take().or(last);
            }
            let Some(Opened { directory, recipe, last }) = opened else {
                unreachable!("the first process opened the run, and told the others")
            };
            // The checkpoint knows the preprocessing that the run took over from the model it
            // started from, which may be gone.
            if !recipe.model.start.is_empty() && last.is_some() {
                self.start.clone_from(&last);
            }
            let job = company::together(&ranks, self.prepare(recipe, Vec::new()))?;
            company::check_same(&ranks, &job)?;
            return Run::resume(job, directory, last, observer)?.go();
        }
        let notes = std::mem::take(&mut self.notes);
        let (out, command) = (self.out.take(), std::mem::take(&mut self.command));
        let resume_command = self.resume_command.take();
        let prepared = self.resolved().and_then(|recipe| self.prepare(recipe, notes));
        let job = company::together(&ranks, prepared)?;
        company::check_same(&ranks, &job)?;
        let create = |job: &Job| -> Result<Option<Directory>, TrainError> {
            let Some(place) = out else { return Ok(None) };
            let device = job.task.device.as_ref();
            let mut directory = Directory::create(&place, job.recipe(), &command, device)?;
            let root = directory.root().to_owned();
            directory.resume_command = resume_command.map(|command| command(&root));
            Ok(Some(directory))
        };
        Run::start(job, create, observer)?.go()
    }

    /// Opens the run to go on with.
    fn open_run(&mut self, root: &Path) -> Result<Opened, TrainError> {
        let (mut directory, recipe) = Directory::open(root)?;
        let root = directory.root().to_owned();
        directory.resume_command = self.resume_command.take().map(|command| command(&root));
        let may_change =
            |key: &str| FREE.iter().any(|free| *free == key || free.split('.').nth(1) == Some(key));
        if let Some((key, _)) = self.changes.iter().find(|(key, _)| !may_change(key)) {
            return Err(RecipeError::Fixed { key: key.clone(), free: &FREE }.into());
        }
        let mut recipe = recipe.with(&self.changes)?;
        directory.place_paths(&mut recipe);
        let last = directory.path(LAST);
        let there = files::is_there(&last)?;
        let last = there.then(|| Model::load(&last).map(Arc::new)).transpose()?;
        Ok(Opened { directory: Some(directory), recipe, last })
    }

    fn prepare(self, mut recipe: Recipe, notes: Vec<String>) -> Result<Job, TrainError> {
        let ranks = self.ranks.clone();
        company::share(&mut recipe, &ranks)?;
        let mut task = self.task(recipe)?;
        task.warnings.extend(notes);
        task.ranks = ranks;
        Job::prepare(task)
    }

    /// The recipe with its changes.
    fn resolved(&self) -> Result<Recipe, TrainError> {
        let mut changes = Vec::new();
        if self.train.is_some() {
            changes.push(("data.source".to_owned(), GIVEN.to_owned()));
        }
        changes.extend_from_slice(&self.changes);
        Ok(match &self.base {
            Base::Recipe(recipe) => recipe.as_ref().clone().with(&changes)?,
            Base::Named(name) => Recipe::load(name, &changes)?,
            Base::Resumed(root) => directory::recipe_of_run(root)?,
        })
    }

    fn task(self, recipe: Recipe) -> Result<Task, TaskError> {
        let (device, why) = match self.device {
            Some(device) => (device, None),
            None => {
                let Train { device, threads, .. } = &recipe.train;
                let wanted = match &self.base {
                    // Another one would end with other last digits.
                    Base::Resumed(root) if *device == Wanted::Auto => {
                        device::named(&directory::device_of_run(root)).unwrap_or_default()
                    }
                    _ => device.clone(),
                };
                let opened = open_device(&wanted, *threads, &self.ranks)?;
                (opened.device, opened.why)
            }
        };
        let start = match (self.start, recipe.model.start.as_str()) {
            (Some(model), _) => Some(model),
            (None, "") => None,
            (None, path) => Some(Arc::new(Model::load(Path::new(path))?)),
        };
        let task = match self.train {
            Some(train) => Task::of_data(recipe, train, self.eval, start, device),
            None => Task::from(recipe, start, device),
        }?;
        Ok(Task { device_why: why, ..task })
    }
}
