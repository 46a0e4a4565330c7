//! Measures a network on a data set, in memory that does not grow with it.

mod error;
mod evaluation;
mod how;
mod page;
mod save;
mod shared;
mod shown;
mod tally;
mod worst;

use std::sync::Arc;

use crate::data::{Augment, CROPS, Dataset, Loader, LoaderOptions, Transform};
use crate::model::Model;
use crate::ranks::{Ranks, together};
use resnet_engine::exec::{self, Device, Session};
use resnet_engine::graph::Graph;
use resnet_engine::op::ShapeError;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::{Memory, Precision};

pub use error::UseError;
pub use evaluation::{Evaluation, Uncalibrated};
pub use how::{Crops, How};
pub(crate) use page::{confused, matrix};
pub use save::{Report, save};
pub(crate) use shared::share;
pub use shown::Shown;
pub(crate) use shown::chosen;
use tally::Tally;
pub use worst::{Mistake, Mistakes};

/// Most images in a batch of an evaluation: enough to keep the cores busy, few enough to need
/// little memory.
pub(crate) const BATCH: usize = 100;

/// Loader threads that keep up with `threads` that compute: pictures of one size lie in memory and
/// cost little, others are decoded and resized.
pub(crate) fn loader_workers(data: &dyn Dataset, threads: usize) -> usize {
    if data.shape().is_some() { 1 } else { threads.min(MOST_WORKERS) }
}

/// Most loader threads; each holds batches in memory.
const MOST_WORKERS: usize = 16;

impl Model {
    /// Measures the model on a data set, in f32 on this machine's CPU; see [`evaluate_model`].
    ///
    /// # Errors
    /// As there.
    pub fn evaluate(&self, data: impl Dataset + 'static) -> Result<Evaluation, UseError> {
        let device = exec::cpu(0)?;
        evaluate_model(&mut self.clone(), Arc::new(data), device.as_ref(), &mut |_| {})
    }
}

/// Evaluates a model file's network, in f32, on a data set, whose classes are matched to the
/// model's by name, by the centre of each image. Of a calibrated model the probabilities are those
/// that its predictions have.
///
/// The weights move into the engine, see [`Model::hand_over`]; what is left of the model says what
/// it was.
///
/// # Errors
/// The model's parts do not fit each other, the data has a class that the model does not know, or
/// an image cannot be read.
pub fn evaluate_model(
    model: &mut Model,
    data: Arc<dyn Dataset>,
    device: &dyn Device,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, UseError> {
    evaluate_as(model, data, How::default(), None, device, on)
}

/// The same with every choice, and by several processes, where there are ranks: each computes its
/// share of the batches, and has the evaluation that one of them alone would come to.
///
/// # Errors
/// As [`evaluate_model`]; on every rank if one fails.
pub fn evaluate_as(
    model: &mut Model,
    data: Arc<dyn Dataset>,
    how: How,
    ranks: Option<&dyn Ranks>,
    device: &dyn Device,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, UseError> {
    let temperature = model.confidence.as_ref().map(|confidence| confidence.temperature);
    let prepared = prepare(model, data, how, ranks, device);
    let Prepared { mut session, loader, same } = match ranks {
        Some(ranks) => together(ranks, prepared)?,
        None => prepared?,
    };
    if let Some(ranks) = ranks {
        shared::check_same(ranks, same)?;
    }
    let evaluation = evaluate_at(temperature, &mut session, &loader, ranks, on)?;
    match evaluation.not_finite.first() {
        None => Ok(evaluation),
        Some(&first) => {
            let name = loader.data().name(first as usize);
            let what = match evaluation.not_finite.len() - 1 {
                0 => name,
                more => format!("{name} and {more} more of {} pictures", evaluation.count),
            };
            Err(UseError::NotFinite { what, arch: model.arch.name() })
        }
    }
}

/// All that an evaluation needs.
struct Prepared {
    session: Session,
    loader: Loader,
    /// What must be the same on all ranks; empty where there are none.
    same: shared::Same,
}

fn prepare(
    model: &mut Model,
    data: Arc<dyn Dataset>,
    how: How,
    ranks: Option<&dyn Ranks>,
    device: &dyn Device,
) -> Result<Prepared, UseError> {
    model.check_head()?;
    let data = model.relabel(data)?;
    let (crops, most) = match how.crops {
        Crops::One => (1, BATCH),
        Crops::Ten => (CROPS, BATCH / CROPS),
    };
    let graph = model.graph()?;
    let len = data.len().max(1);
    let (plan, batch) = match how.batch {
        Some(batch) => {
            let batch = batch.clamp(1, len);
            let options = Options { precision: how.precision, ..Options::infer(batch * crops) };
            (Plan::build(&graph, options)?, batch)
        }
        None => plan_within(&graph, how.precision, most.min(len), crops)?,
    };
    let mut session = Session::to_run(device, plan)?;
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let workers = loader_workers(data.as_ref(), device.threads());
    let share = share(ranks);
    let options = LoaderOptions { crops, share, ..LoaderOptions::eval(batch, workers) };
    let same = match ranks {
        Some(_) => shared::same(model, data.as_ref(), how, batch, device),
        None => Vec::new(),
    };
    let loader = Loader::new(data, transform, options)?;
    model.hand_over(&mut session)?;
    Ok(Prepared { session, loader, same })
}

/// Most bytes that the maps of an evaluation take where fewer images a batch would do.
const MOST_BYTES: usize = 1 << 30;

/// A plan that evaluates up to `most` pictures a batch, and how many: fewer where their maps would
/// take more than [`MOST_BYTES`]. It is the same on every machine.
pub(crate) fn plan_within(
    graph: &Graph,
    precision: Precision,
    most: usize,
    crops: usize,
) -> Result<(Plan, usize), ShapeError> {
    let build =
        |batch: usize| Plan::build(graph, Options { precision, ..Options::infer(batch * crops) });
    let plan = build(most)?;
    let bytes = plan.len_of(Memory::Arena).saturating_mul(4);
    if bytes <= MOST_BYTES || most == 1 {
        return Ok((plan, most));
    }
    let batch = (most as u64 * MOST_BYTES as u64 / bytes as u64).max(1) as usize;
    Ok((build(batch)?, batch))
}

/// Runs every image of `loader` through a session prepared for inference with the loader's batch
/// (times its crops), and calls `on` with the number of images done.
///
/// # Errors
/// An image cannot be read.
pub fn evaluate(
    session: &mut Session,
    loader: &Loader,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, UseError> {
    evaluate_at(None, session, loader, None, on)
}

/// The same of probabilities at a temperature.
fn evaluate_at(
    temperature: Option<f64>,
    session: &mut Session,
    loader: &Loader,
    ranks: Option<&dyn Ranks>,
    on: &mut dyn FnMut(usize),
) -> Result<Evaluation, UseError> {
    let mut on = |done| {
        on(done);
        true
    };
    let evaluation = evaluate_while(temperature, session, loader, ranks, &mut on)?;
    Ok(evaluation.expect("nobody ends it"))
}

/// The same while `on` says `true`; without an evaluation once it said `false`. On several ranks
/// all of them come here with the same network, each with a loader of its [`share`] of the same
/// pictures, and none has an evaluation once `on` of one said `false`.
pub(crate) fn evaluate_while(
    temperature: Option<f64>,
    session: &mut Session,
    loader: &Loader,
    ranks: Option<&dyn Ranks>,
    on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Evaluation>, UseError> {
    let plan = session.plan();
    let mut tally = Tally::new(temperature, plan.classes, loader.crops(), loader.data().len());
    let done = match ranks {
        Some(ranks) => shared::run(ranks, session, loader, &mut tally, on)?,
        None => alone(session, loader, &mut tally, on)?,
    };
    done.then(|| tally.evaluation()).transpose()
}

/// Counts every batch; whether `on` let it come to the end.
fn alone(
    session: &mut Session,
    loader: &Loader,
    tally: &mut Tally,
    on: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, UseError> {
    let mut logits = vec![0.0; session.plan().options.batch * session.plan().classes];
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        session.infer(&batch.x, &mut logits)?;
        let (labels, indices) = (&batch.labels[..batch.count], &batch.indices[..batch.count]);
        tally.add(&mut logits, labels, indices, batch.warnings.iter().map(ToString::to_string));
        if !on(tally.count()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, plan_within};
    use crate::Shape;
    use crate::net::Arch;
    use resnet_engine::step::{Memory, Precision};

    #[test]
    fn the_batch_of_an_evaluation_follows_memory() {
        for (side, all) in [(224, true), (512, false), (1024, false)] {
            let graph = Arch::parse("resnet50").unwrap().graph(Shape::new(3, side, side), 5);
            let (plan, batch) = plan_within(&graph.unwrap(), Precision::F32, 100, 1).unwrap();
            assert_eq!(batch == 100, all, "{side}: {batch}");
            assert!(batch >= 4 && plan.len_of(Memory::Arena) * 4 <= MOST_BYTES, "{side}: {batch}");
            assert_eq!(plan.options.batch, batch);
        }
    }
}
