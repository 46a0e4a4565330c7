//! What is lost when one block is removed (Veit et al. 2016, section 4.1: a residual network hardly
//! notices, a plain one breaks).
//!
//! Of a residual block y = relu(F(x) + S(x)) the branch F is removed, by zeros in its last layer;
//! S(x) stays, also where it projects. Of a plain network the layers of a block are left out, which
//! is possible where its output has the shape of its input.

use std::sync::Arc;

use resnet_engine::exec::{Device, Session};
use resnet_engine::graph::{Graph, Layer, LayerId};
use resnet_engine::op::{self, ShapeError};
use resnet_engine::plan::Plan;
use resnet_engine::step::SlotId;

use super::points::{Point, points};
use super::survey::keeping;
use crate::data::{Augment, Dataset, Loader, LoaderOptions, Transform};
use crate::measure::evaluate::{UseError, loader_workers};
use crate::measure::metric::predicted;
use crate::model::Model;

/// What a network does on some pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Score {
    /// Pictures taken for something else than by the whole network.
    pub changed: u64,
    /// Pictures taken for what they are not; `None` where nobody knows what they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<u64>,
}

/// A network without one of its blocks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lesion {
    /// The block.
    pub block: String,
    /// What the rest does; `None` where nothing is left that fits together.
    pub score: Option<Score>,
}

/// What was lost block by block.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lesions {
    /// Pictures.
    pub pictures: u64,
    /// The whole network.
    pub whole: Score,
    /// Of each class how many pictures the whole network takes for what they are, and how many
    /// there are; empty where nobody knows what they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<[u64; 2]>,
    /// The blocks, in order.
    pub blocks: Vec<Lesion>,
}

/// Removes each block of a model's network in turn and runs the first `most` pictures of `data`
/// through the rest; `labelled` says whether the data's labels are the model's classes. `on` is
/// told how many pictures are done.
///
/// # Errors
/// The network cannot be run, or the system fails while pictures are read.
pub fn lesions(
    model: &Model,
    data: Arc<dyn Dataset>,
    labelled: bool,
    most: usize,
    device: &dyn Device,
    on: &mut dyn FnMut(usize),
) -> Result<Lesions, UseError> {
    let graph = model.graph()?;
    let (plan, batch) = keeping(&graph, most.min(data.len()))?;
    let mut session = Session::new(device, plan)?;
    model.apply(&mut session)?;
    let mut cuts = Vec::new();
    for (name, cut) in cuts_of(&graph)? {
        cuts.push((name, cut.prepared(model, &session, batch, device)?));
    }
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let workers = loader_workers(data.as_ref(), device.threads());
    let loader = Loader::new(data, transform, LoaderOptions::eval(batch, workers))?;
    let mut found = Lesions::default();
    let mut scores = vec![Score::default(); cuts.len() + 1];
    let classes = session.plan().classes;
    let mut by_class = vec![[0; 2]; classes.max(loader.data().classes().len())];
    let mut logits = vec![0.0; batch * classes];
    let answers = |logits: &[f32]| logits.chunks_exact(classes).map(predicted).collect::<Vec<_>>();
    for pictures in loader.epoch(0, 0) {
        let pictures = pictures?;
        let count = pictures.count.min(most - found.pictures as usize);
        session.infer(&pictures.x, &mut logits)?;
        let whole = answers(&logits);
        let count_up = |score: &mut Score, answers: &[Option<u32>]| {
            let answers = || answers[..count].iter().zip(&whole).zip(&pictures.labels);
            score.changed += answers().filter(|((a, b), _)| a != b).count() as u64;
            let wrong = answers().filter(|((a, _), label)| **a != Some(**label)).count() as u64;
            *score.wrong.get_or_insert(0) += wrong;
        };
        count_up(&mut scores[0], &whole);
        for (answer, &label) in whole[..count].iter().zip(&pictures.labels) {
            let [right, of] = &mut by_class[label as usize];
            *right += u64::from(*answer == Some(label));
            *of += 1;
        }
        // From the last block on: what lies before a block is still there.
        for (i, (_, cut)) in cuts.iter_mut().enumerate().rev() {
            if cut.run(&mut session, &pictures.x, &mut logits)? {
                count_up(&mut scores[i + 1], &answers(&logits));
            }
        }
        found.pictures += count as u64;
        on(found.pictures as usize);
        if found.pictures as usize == most {
            break;
        }
    }
    match labelled {
        true => found.classes = by_class,
        false => scores.iter_mut().for_each(|score| score.wrong = None),
    }
    let mut scores = scores.into_iter();
    found.whole = scores.next().unwrap_or_default();
    let lesion = |((name, cut), score): ((String, Ready), Score)| Lesion {
        block: name,
        score: (!matches!(cut, Ready::Impossible)).then_some(score),
    };
    found.blocks = cuts.into_iter().zip(scores).map(lesion).collect();
    Ok(found)
}

/// How a block is removed.
enum Cut {
    /// By zeros in the last layer of its branch; `fork` is where branch and shortcut part.
    Branch { fork: LayerId, last: LayerId },
    /// By a network without its layers.
    Layers(Graph),
    /// Not at all: what is left would not fit together.
    Impossible,
}

/// The same with what it takes.
enum Ready {
    Zeros {
        /// The first step after the fork.
        from: usize,
        /// The slots to be zero, and what they hold.
        slots: Vec<(SlotId, Vec<f32>)>,
    },
    Session(Box<Session>),
    Impossible,
}

impl Cut {
    fn prepared(
        self,
        model: &Model,
        whole: &Session,
        batch: usize,
        device: &dyn Device,
    ) -> Result<Ready, UseError> {
        Ok(match self {
            Cut::Branch { fork, last } => {
                let plan = whole.plan();
                let is_behind = |&step: &usize| {
                    let step = &plan.steps[step];
                    step.fused.iter().chain([&step.layer]).any(|layer| *layer > fork)
                };
                let from = plan.forward.clone().find(is_behind).unwrap_or(plan.forward.end);
                let params = plan.params.iter().filter(|p| p.layer == last);
                let params = params.filter(|p| p.param.role.is_trained());
                let slots = params.map(|p| Ok((p.value, whole.get(p.value)?)));
                Ready::Zeros { from, slots: slots.collect::<Result<_, UseError>>()? }
            }
            Cut::Layers(graph) => {
                let options = resnet_engine::plan::Options::infer(batch);
                let mut session = Session::to_run(device, Plan::build(&graph, options)?)?;
                model.apply(&mut session)?;
                Ready::Session(Box::new(session))
            }
            Cut::Impossible => Ready::Impossible,
        })
    }
}

impl Ready {
    /// Logits of the pictures that `whole` has just run; false where there are none.
    fn run(
        &mut self,
        whole: &mut Session,
        x: &[f32],
        logits: &mut [f32],
    ) -> Result<bool, UseError> {
        match self {
            Ready::Zeros { from, slots } => {
                for (slot, values) in slots.iter() {
                    whole.write(*slot, &vec![0.0; values.len()])?;
                }
                let plan = whole.plan().clone();
                whole.run(*from..plan.forward.end)?;
                whole.read(plan.logits, logits)?;
                for (slot, values) in slots.iter() {
                    whole.write(*slot, values)?;
                }
            }
            Ready::Session(session) => session.infer(x, logits)?,
            Ready::Impossible => return Ok(false),
        }
        Ok(true)
    }
}

/// The blocks of a network, and how each is removed.
fn cuts_of(graph: &Graph) -> Result<Vec<(String, Cut)>, ShapeError> {
    let points = points(graph)?;
    let residual = graph.residual_blocks();
    if !residual.is_empty() {
        let cut = |(fork, add): &(LayerId, LayerId)| {
            let name = &graph.layer(*add).name;
            let name = name.strip_suffix(".add").unwrap_or(name);
            (name.to_owned(), Cut::Branch { fork: *fork, last: graph.layer(*add).inputs[0] })
        };
        return Ok(residual.iter().map(cut).collect());
    }
    let pairs = points.windows(2);
    Ok(pairs.map(|pair| (pair[1].name.clone(), without(graph, &pair[0], &pair[1]))).collect())
}

/// The network without the layers from one point to another.
fn without(graph: &Graph, from: &Point, to: &Point) -> Cut {
    let (first, last) = (from.layer.0, to.layer.0);
    let moved = |id: LayerId| {
        LayerId(match id.0 {
            id if id <= first => id,
            id if id <= last => first,
            id => id - (last - first),
        })
    };
    let kept = graph.layers.iter().enumerate().filter(|(i, _)| *i <= first || *i > last);
    let kept = kept.map(|(_, layer)| Layer {
        inputs: layer.inputs.iter().copied().map(moved).collect(),
        ..layer.clone()
    });
    let shorter = Graph { layers: kept.collect(), ..graph.clone() };
    match from.shape == to.shape && op::shapes(&shorter).is_ok() {
        true => Cut::Layers(shorter),
        false => Cut::Impossible,
    }
}
