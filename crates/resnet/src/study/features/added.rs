//! What each residual block adds to what it is given.

use std::sync::Arc;

use serde::Serialize;

use crate::data::{Augment, Dataset, Loader, LoaderOptions, Transform};
use crate::measure::evaluate::{UseError, loader_workers};
use crate::model::Model;
use resnet_engine::exec::{Device, Session};
use resnet_engine::plan::{Options, Plan};

/// A block y = relu(F(x) + S(x)): how large are F(x) and S(x)?
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Added {
    /// The block.
    pub block: String,
    /// L2 norm of F(x), what the branch adds, over all places of some pictures.
    pub branch_norm: f64,
    /// L2 norm of S(x), what the shortcut carries.
    pub shortcut_norm: f64,
}

/// Measures the blocks of a model on the first `count` pictures of `data`; none for a network
/// without shortcuts.
///
/// # Errors
/// The network cannot be run.
pub(super) fn added(
    model: &Model,
    data: &Arc<dyn Dataset>,
    count: usize,
    device: &dyn Device,
) -> Result<Vec<Added>, UseError> {
    let graph = model.graph()?;
    let blocks = graph.residual_blocks();
    if blocks.is_empty() || count == 0 {
        return Ok(Vec::new());
    }
    let options = Options { keep_all: true, fuse: false, ..Options::infer(1) };
    let mut session = Session::to_run(device, Plan::build(&graph, options)?)?;
    model.apply(&mut session)?;
    let plan = session.plan().clone();
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let workers = loader_workers(data.as_ref(), device.threads());
    let loader = Loader::new(data.clone(), transform, LoaderOptions::eval(1, workers))?;
    let mut squares = vec![[0f64; 2]; blocks.len()];
    let mut logits = vec![0.0; plan.classes];
    for batch in loader.epoch(0, 0).take(count) {
        let batch = batch?;
        if batch.count == 0 {
            continue;
        }
        session.infer(&batch.x, &mut logits)?;
        for ((_, add), squares) in blocks.iter().zip(&mut squares) {
            for (square, input) in squares.iter_mut().zip(&graph.layer(*add).inputs) {
                let slot = plan.outputs[input.0].expect("an unfused plan keeps every output");
                *square += session.norm(slot)?.powi(2);
            }
        }
    }
    let added = blocks.iter().zip(squares).map(|((_, add), [branch, shortcut])| {
        let name = &graph.layer(*add).name;
        Added {
            block: name.strip_suffix(".add").unwrap_or(name).to_owned(),
            branch_norm: branch.sqrt(),
            shortcut_norm: shortcut.sqrt(),
        }
    });
    Ok(added.collect())
}
