//! Residual networks explained to who knows basic convolutional networks, with numbers and pictures
//! that the reader's own machine makes.
//!
//! `story.md` is the text, once, with names in the places of numbers and figures; [`Story`] is what
//! stands in those places, all of it measured in runs on the built-in pictures. `page` writes both
//! as a page, `save` also as Markdown with figures beside it.

mod error;
mod figures;
mod measured;
mod numbers;
mod page;
mod save;
mod story;
mod text;

use std::path::PathBuf;

use resnet_engine::exec::Device;
use resnet_engine::step::Precision;

use crate::base::machine;
use crate::data::Image;
use crate::measure::predict::{Guess, Predictor};
use crate::model::Model;
use crate::page::charts::format::plural;
use crate::study::compare::{self, Look, Outcome, Record, Watch, groups};
use crate::study::features::{Asked, Material, features};
use crate::train::recipe::Recipe;
use crate::train::task::Task;
use measured::Measured;

pub use error::ExplainError;
pub use save::save;
pub use story::Story;

/// The network of the first section.
const CLASSIC: &str = "classic";
/// Depths of the twins.
const DEPTHS: [usize; 2] = [20, 56];
/// Steps of each run where no other number is asked for.
pub const STEPS: u64 = 300;
/// Pictures that features are looked for in.
const PICTURES: usize = 500;
/// Channels of each stage that are shown.
const CHANNELS: usize = 3;

/// An explanation to be made.
pub struct Request {
    /// How networks are trained; the network is left open.
    pub recipe: Recipe,
    /// Directory of the explanation; runs go into its folder `runs`.
    pub out: PathBuf,
    /// What was typed; it goes on as well.
    pub command: String,
    /// What the text says of other commands.
    pub words: Words,
}

/// How the program that explains is told to do other things.
pub struct Words {
    /// To draw a block, by its network's name and its own.
    pub block: fn(&str, &str) -> String,
    /// To draw networks of these names, one line a layer.
    pub skyline: fn(&[&str]) -> String,
    /// A sentence about what to try next, in Markdown.
    pub next: &'static str,
}

/// Trains what is missing, looks into it and makes the story; `None` if the watcher stopped it,
/// which loses nothing. `on` is told what is being looked at.
///
/// # Errors
/// [`ExplainError`]; what was trained until then stays.
pub fn run(
    request: &Request,
    watch: &mut dyn Watch,
    on: &mut dyn FnMut(&str),
) -> Result<Option<Story>, ExplainError> {
    let mut archs = vec![CLASSIC.to_owned()];
    archs.extend(compare::twins(&DEPTHS));
    let asked = compare::Request {
        archs,
        seeds: 1,
        recipe: request.recipe.clone(),
        out: request.out.clone(),
        runs: Vec::new(),
        command: request.command.clone(),
    };
    let Some((task, mut records)) = compare::run(&asked, watch)? else {
        return Ok(None);
    };
    for record in &records {
        if let Outcome::Diverged { step, reason } = &record.outcome {
            let (network, reason) = (record.arch.name(), reason.clone());
            return Err(ExplainError::Diverged { network, step: *step, reason });
        }
    }
    let classic = records.remove(0);
    let groups = groups(&records);
    on("looking into the networks");
    let Some(look) = Look::into(&task, &groups, &mut || watch.goes_on())? else {
        return Ok(None);
    };
    let residual = groups.iter().filter(|g| g.residual);
    let deepest = residual.max_by_key(|g| g.depth).expect("twins were trained");
    on("looking for features");
    let device = task.device.as_ref();
    let source = &task.recipe.data.source;
    let (model, material) = opened(&classic, source)?;
    let seed = task.recipe.train.seed;
    let few = Asked { channels: 0, made: 0, pictures: Some(1), seed, channels_only: true };
    let seen = features(&model, &material, few, device, &mut |_, _, _| ())?;
    let guesses = guesses(model, &material, device)?;
    if !watch.goes_on() {
        return Ok(None);
    }
    let (model, material) = opened(deepest.runs[0], source)?;
    let asked = Asked { channels: CHANNELS, made: CHANNELS, pictures: Some(PICTURES), ..few };
    let deep = features(&model, &material, asked, device, &mut |_, _, _| ())?;
    if !watch.goes_on() {
        return Ok(None);
    }
    let measured = Measured {
        groups: &groups,
        look: &look,
        classic: &classic,
        seen: &seen,
        guesses: &guesses,
        deep: &deep,
        machine: about(&task),
    };
    Ok(Some(Story {
        numbers: numbers::all(&measured, &request.words)?,
        figures: figures::all(&measured, request)?,
        command: request.command.clone(),
    }))
}

fn opened(run: &Record, source: &str) -> Result<(Model, Material), ExplainError> {
    let path = run.model().ok_or_else(|| ExplainError::NoModel(run.directory.clone()))?;
    let model = Model::load(&path)?;
    let material = Material::open(&model, source)?;
    Ok((model, material))
}

/// What a model takes the first picture for.
fn guesses(
    model: Model,
    material: &Material,
    device: &dyn Device,
) -> Result<Vec<Guess>, ExplainError> {
    let mut image = Image::default();
    material.look.read(0, &mut image)?;
    Ok(Predictor::new(model, Precision::F32, device)?.image(&image, 3)?)
}

fn about(task: &Task) -> String {
    let threads = plural(task.device.threads() as u64, "thread");
    let precision = task.recipe.train.precision.asked().unwrap_or(Precision::F32).name();
    let cpu = machine::cpu().map_or(String::new(), |name| format!("{name}, "));
    format!("{cpu}{threads}, {}, maps stored in {precision}", task.device.about())
}
