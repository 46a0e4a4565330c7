//! What is sent of a run: its curves, gradients over depth, predictions of the same pictures. All
//! but the curves are read from the log again when somebody wants them.

use std::path::PathBuf;

use resnet::train::event::{Event, Monitored, PredictedPicture, line_at};
use serde::Serialize;

use super::run::{Evaluation, Kept, Run, Sentence};
use super::series::{Curves, Place};

/// Most numbers of each kind that gradients over depth are sent with: layers times looks.
const GRADIENTS: usize = 40_000;
/// Most evaluations that predictions are sent of.
const PREDICTIONS: usize = 256;

/// The curves of a run.
#[derive(Serialize)]
pub(super) struct Series {
    reading: u64,
    #[serde(flatten)]
    curves: Curves,
    split: String,
    evaluations: Evaluations,
    /// What began on the way.
    entered: Vec<Sentence>,
    warnings: Vec<Sentence>,
}

/// One list a number.
#[derive(Default, Serialize)]
struct Evaluations {
    step: Vec<u64>,
    epoch: Vec<f32>,
    seconds: Vec<f32>,
    top1: Vec<f32>,
    top5: Vec<f32>,
    loss: Vec<f32>,
    train_loss: Vec<f32>,
    train_top1: Vec<f32>,
}

impl Evaluations {
    fn push(&mut self, evaluation: &Evaluation) {
        let Evaluation { place, top1, top5, loss, train_loss, train_top1 } = *evaluation;
        self.step.push(place.step);
        self.epoch.push(place.epoch as f32);
        self.seconds.push(place.seconds as f32);
        self.top1.push(top1 as f32);
        self.top5.push(top5 as f32);
        self.loss.push(loss as f32);
        self.train_loss.push(train_loss as f32);
        self.train_top1.push(train_top1 as f32);
    }
}

/// The curves, points of steps from one on. Who has curves of another reading gets all.
pub(super) fn series(run: &Run, reading: u64, from: usize, width: u64) -> Series {
    let from = if reading == run.reading { from } else { 0 };
    let mut evaluations = Evaluations::default();
    run.evaluations().for_each(|evaluation| evaluations.push(evaluation));
    Series {
        reading: run.reading,
        curves: run.steps().curves(from, width),
        split: run.split().into(),
        evaluations,
        entered: run.entered().to_vec(),
        warnings: run.warnings().to_vec(),
    }
}

/// Events that are to be read from a log.
pub(super) struct Wanted {
    log: PathBuf,
    reading: u64,
    kept: Vec<Kept>,
}

impl Wanted {
    /// The looks into the network, or of them the last one at or before a step.
    pub(super) fn looks(run: &Run, step: Option<u64>) -> Wanted {
        let kept = match step {
            None => run.looks().iter().copied().collect(),
            Some(step) => {
                let until = run.looks().iter().take_while(|kept| kept.place.step <= step);
                until.last().copied().into_iter().collect()
            }
        };
        Wanted { log: run.log().to_owned(), reading: run.reading, kept }
    }

    /// The predictions.
    pub(super) fn predictions(run: &Run) -> Wanted {
        let kept = run.predictions().some(PREDICTIONS);
        Wanted { log: run.log().to_owned(), reading: run.reading, kept }
    }

    /// Reads one; none where the log was cut back since.
    fn read(&self, kept: &Kept) -> Option<Event> {
        let line = line_at(&self.log, kept.offset).ok()?;
        let event: Event = serde_json::from_slice(&line).ok()?;
        (event.step() == Some(kept.place.step)).then_some(event)
    }
}

/// Gradients over depth.
#[derive(Serialize)]
pub(super) struct Gradients {
    reading: u64,
    /// The convolutions on the main path, in order.
    layers: Vec<String>,
    looks: Vec<Look>,
}

/// One look, a number for each layer.
#[derive(Serialize)]
struct Look {
    #[serde(flatten)]
    at: At,
    /// Mean loss of the pictures looked at, in nats.
    loss: f32,
    /// L2 norms of dL/dy.
    activation: Vec<f32>,
    /// L2 norms of dL/dw.
    weight: Vec<f32>,
    /// Standard deviations of the responses.
    response: Vec<f32>,
    /// Lengths of the last updates over those of the weights; none at the first look.
    update: Vec<Option<f32>>,
}

/// Where something was told.
#[derive(Serialize)]
struct At {
    step: u64,
    epoch: f32,
    seconds: f32,
}

impl At {
    fn of(place: Place) -> At {
        At { step: place.step, epoch: place.epoch as f32, seconds: place.seconds as f32 }
    }
}

impl Gradients {
    /// Reads the looks, of networks with many layers fewer of them.
    pub(super) fn read(wanted: &Wanted) -> Gradients {
        let mut gradients =
            Gradients { reading: wanted.reading, layers: Vec::new(), looks: Vec::new() };
        let Some(first) = wanted.kept.iter().find_map(|kept| monitored(wanted, kept)) else {
            return gradients;
        };
        gradients.layers = first.measurement.path().map(|layer| layer.name.clone()).collect();
        let layers = gradients.layers.len();
        let most = (GRADIENTS / layers.max(1)).max(2);
        let all = &wanted.kept;
        let count = all.len().min(most);
        let chosen = (0..count).map(|i| &all[i * (all.len() - 1) / (count - 1).max(1)]);
        for kept in chosen {
            let Some(look) = monitored(wanted, kept) else { continue };
            let path: Vec<_> = look.measurement.path().collect();
            // Another network has no place in the same figure.
            if path.iter().map(|layer| &layer.name).ne(&gradients.layers) {
                continue;
            }
            gradients.looks.push(Look {
                at: At::of(kept.place),
                loss: look.measurement.loss as f32,
                activation: path.iter().map(|l| l.activation_gradient_norm as f32).collect(),
                weight: path.iter().map(|l| l.gradient_norm as f32).collect(),
                response: path.iter().map(|l| l.response_std as f32).collect(),
                update: path.iter().map(|l| l.update_ratio.map(|ratio| ratio as f32)).collect(),
            });
        }
        gradients
    }
}

fn monitored(wanted: &Wanted, kept: &Kept) -> Option<Monitored> {
    match wanted.read(kept) {
        Some(Event::Monitored(look)) => Some(look),
        _ => None,
    }
}

/// What the same pictures were taken for, evaluation by evaluation.
#[derive(Serialize)]
pub(super) struct Predictions {
    reading: u64,
    split: String,
    evaluations: Vec<Guesses>,
}

#[derive(Serialize)]
struct Guesses {
    #[serde(flatten)]
    at: At,
    pictures: Vec<PredictedPicture>,
}

impl Predictions {
    /// Reads them.
    pub(super) fn read(wanted: &Wanted) -> Predictions {
        let (mut split, mut evaluations) = (String::new(), Vec::new());
        for kept in &wanted.kept {
            if let Some(Event::Predicted(predicted)) = wanted.read(kept) {
                split = predicted.split;
                let pictures = predicted.pictures;
                evaluations.push(Guesses { at: At::of(kept.place), pictures });
            }
        }
        Predictions { reading: wanted.reading, split, evaluations }
    }
}
