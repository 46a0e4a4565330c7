//! Compares networks: trains what is missing, gathers what is there, and says what depth did.
//!
//! `record` reads a run's directory, `group` joins the seeds of a network, `verdict` draws the
//! conclusions, `figures` and `page` show them. Runs of one comparison share seed, batches,
//! augmentation and the initial weights of layers that they share.

mod error;
mod figures;
mod group;
mod learned;
mod page;
mod published;
mod record;
mod save;
#[cfg(test)]
mod tests;
mod verdict;

use std::path::{Path, PathBuf};

use crate::device::Wanted;
use crate::net::Arch;
use crate::train::recipe::Recipe;
use crate::train::task::{Task, TaskError};
use crate::train::{Observer, TrainError, Trainer};

pub use error::CompareError;
pub use figures::{Look, Start, figures};
pub use group::{Group, Mean, groups};
pub use page::render;
pub use record::{Outcome, Record, RunProblem, State};
pub use save::save;
pub use verdict::{About, Finding, conclusions};

/// Most runs of one comparison.
pub const MOST_RUNS: usize = 1000;

/// A comparison to be made.
pub struct Request {
    /// The networks, as [`Arch::parse`] reads them.
    pub archs: Vec<String>,
    /// How many seeds each is trained with: that of the recipe and those after it.
    pub seeds: u64,
    /// How each is trained.
    pub recipe: Recipe,
    /// Directory of the comparison; runs go into its folder `runs`.
    pub out: PathBuf,
    /// Directories of runs made earlier, to be compared as well.
    pub runs: Vec<PathBuf>,
    /// What was typed; it goes on as well.
    pub command: String,
}

/// Who watches a comparison.
pub trait Watch {
    /// A run begins, goes on or is found finished.
    fn run(&mut self, number: usize, of: usize, name: &str, state: State);

    /// Something that is neither a run's beginning nor its event.
    fn tell(&mut self, text: &str);

    /// Who watches the run under way.
    fn observer(&mut self) -> &mut dyn Observer;

    /// Whether to go on with the next run.
    fn goes_on(&mut self) -> bool {
        true
    }
}

/// A plain network and its residual twin for each depth: `plain20`, `resnet20`, ...
pub fn twins(depths: &[usize]) -> Vec<String> {
    let both = depths.iter().flat_map(|depth| [format!("plain{depth}"), format!("resnet{depth}")]);
    both.collect()
}

struct Planned {
    name: String,
    directory: PathBuf,
    recipe: Recipe,
}

/// The runs of a request, checked against its data before any starts.
fn plan(request: &Request) -> Result<(Task, Vec<Planned>), CompareError> {
    let refuse = |text: String| Err(CompareError::Request(text));
    let runs = (request.archs.len() as u64).saturating_mul(request.seeds);
    if request.archs.is_empty() || request.seeds == 0 {
        return refuse(
            "there is nothing to compare; name networks or depths, and at least 1 seed".into(),
        );
    }
    if runs > MOST_RUNS as u64 {
        return refuse(format!(
            "{runs} runs were asked for, at most {MOST_RUNS} are possible; use fewer networks or seeds"
        ));
    }
    if request.recipe.train.seed > i64::MAX as u64 - request.seeds {
        return refuse(format!(
            "seeds from {} on are too large; use a smaller seed",
            request.recipe.train.seed
        ));
    }
    let mut recipe = request.recipe.clone();
    recipe.model.arch.clone_from(&request.archs[0]);
    let task = Task::open(recipe)?;
    let mut planned: Vec<Planned> = Vec::new();
    for arch in &request.archs {
        let mut recipe = task.recipe.clone();
        recipe.model.arch.clone_from(arch);
        let network: Arch = crate::train::task::network(&recipe).map_err(TaskError::from)?;
        network.graph(task.preprocess.shape, task.classes.len()).map_err(TaskError::from)?;
        for seed in (task.recipe.train.seed..).take(request.seeds as usize) {
            let mut recipe = recipe.clone();
            recipe.train.seed = seed;
            let name = format!("{}, seed {seed}", network.name());
            if planned.iter().any(|other| other.name == name) {
                return refuse(format!(
                    "network `{}` is named twice; name each network once",
                    network.name()
                ));
            }
            let folder = format!("{}-seed{seed}", crate::base::files::safe_name(&network.name()));
            planned.push(Planned {
                name,
                directory: request.out.join("runs").join(folder),
                recipe,
            });
        }
    }
    Ok((task, planned))
}

/// Trains what is missing and returns the task and all runs; `None` if the watcher stopped it,
/// which loses nothing.
///
/// # Errors
/// [`CompareError`]; what was trained until then stays.
pub fn run(
    request: &Request,
    watch: &mut dyn Watch,
) -> Result<Option<(Task, Vec<Record>)>, CompareError> {
    let (task, planned) = plan(request)?;
    for run in &planned {
        record::check_recipe(&run.directory, &run.recipe)?;
    }
    let again = {
        let command = request.command.clone();
        move |_: &Path| command.clone()
    };
    let mut records = Vec::new();
    for (number, run) in (1..).zip(&planned) {
        if !watch.goes_on() {
            return Ok(None);
        }
        let state = record::state(&run.directory)?;
        watch.run(number, planned.len(), &run.name, state);
        let ended = match state {
            State::Finished => None,
            State::Resumed => Some(
                Trainer::resume(&run.directory)
                    .set("train.threads", run.recipe.train.threads)
                    .set("train.device", &run.recipe.train.device)
                    .resume_command(again.clone())
                    .observer(watch.observer())
                    .run(),
            ),
            State::New => Some(
                Trainer::of(run.recipe.clone())
                    .out(&run.directory)
                    .command(&request.command)
                    .resume_command(again.clone())
                    .observer(watch.observer())
                    .run(),
            ),
        };
        match ended {
            None => {}
            // A network that cannot be trained is a result.
            Some(Err(error @ TrainError::Diverged { .. })) => watch.tell(&error.to_string()),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(trained)) if trained.interrupted() => return Ok(None),
            Some(Ok(_)) => {}
        }
        records.push(Record::read(&run.directory)?);
    }
    records.extend(read(&request.runs)?);
    check(&records)?;
    Ok(Some((task, records)))
}

/// Reads runs made earlier, to be looked into by a device and so many threads, 0 for what is
/// fastest.
///
/// # Errors
/// A directory holds no finished run, or a copy of another, or the runs do not learn from the same
/// data.
pub fn gather(
    directories: &[PathBuf],
    device: &Wanted,
    threads: usize,
) -> Result<(Task, Vec<Record>), CompareError> {
    let records = read(directories)?;
    let Some(first) = records.first() else {
        return Err(CompareError::Request("there are no runs to compare".into()));
    };
    check(&records)?;
    let mut recipe = first.recipe.clone();
    recipe.train.device = device.clone();
    recipe.train.threads = threads;
    let task = Task::open(recipe)?;
    Ok((task, records))
}

fn read(directories: &[PathBuf]) -> Result<Vec<Record>, CompareError> {
    directories.iter().map(|path| Record::read(path)).collect()
}

fn check(records: &[Record]) -> Result<(), CompareError> {
    check_same_data(records)?;
    for (i, record) in records.iter().enumerate() {
        let same = |other: &&Record| record::differences(&record.recipe, &other.recipe).is_empty();
        if let Some(other) = records[..i].iter().find(same) {
            return Err(CompareError::Run {
                path: record.directory.clone(),
                problem: RunProblem::Same { of: other.directory.clone() },
            });
        }
    }
    Ok(())
}

/// Errors are comparable only on the same pictures.
fn check_same_data(records: &[Record]) -> Result<(), CompareError> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    let same = |a: &Record, b: &Record| {
        let data = |r: &Record| {
            let s = &r.started;
            (s.data.clone(), s.train_images, s.test_images)
        };
        // A run that diverged early was never evaluated, and names no split.
        let never = a.split.is_empty() || b.split.is_empty();
        data(a) == data(b) && (never || a.split == b.split)
    };
    let tell = |r: &Record| {
        let s = &r.started;
        format!(
            "{} ({} training pictures, {} of {})",
            s.data, s.train_images, s.test_images, r.split
        )
    };
    match records.iter().find(|other| !same(first, other)) {
        Some(other) => Err(CompareError::Run {
            path: other.directory.clone(),
            problem: RunProblem::Data {
                found: tell(other),
                of: first.directory.clone(),
                expected: tell(first),
            },
        }),
        None => Ok(()),
    }
}
