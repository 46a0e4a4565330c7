//! Whether a written file does what the model does: its network, read back from the file, runs
//! beside the model's on real pictures, each through the preprocessing that the file itself
//! carries.

use std::path::Path;
use std::sync::Arc;

use resnet_formats::Tensors;

use super::error::{Difference, ExportError};
use super::onnx;
use super::options::{Format, Options, Stored};
use crate::base::files;
use crate::data::{Augment, DataError, Dataset, Image, Preprocess, Transform};
use crate::model::{self, Model};
use resnet_engine::exec::{Device, Session};
use resnet_engine::graph::Graph;
use resnet_engine::plan;

/// Pictures compared.
const PICTURES: usize = 64;
/// Pictures in a batch.
const BATCH: usize = 16;

/// Runs a file's network and the model on up to 64 pictures spread evenly over `data`. Pictures
/// that cannot be read are passed over. Logits may differ by 1e-4 of the largest one or of 1; where
/// weights are stored in 16 bits, by the 1e-2 (f16) or 1e-1 (bf16) that their rounding explains.
///
/// # Errors
/// [`ExportError::Differs`] beyond that; the file cannot be read back, no picture can be read, or
/// the system fails.
pub fn verify(
    model: &Model,
    path: &Path,
    format: &Format,
    options: &Options,
    data: &Arc<dyn Dataset>,
    device: &dyn Device,
) -> Result<Difference, ExportError> {
    let (graph, tensors, preprocess) = match format.name {
        "onnx" => {
            let network = read_onnx(path)?;
            let preprocess = Preprocess {
                normalize: network.normalize.unwrap_or_else(|| model.preprocess.normalize.clone()),
                ..model.preprocess.clone()
            };
            (network.graph, network.tensors, preprocess)
        }
        _ => {
            let file = Model::load(path)?;
            (file.graph()?, file.tensors, file.preprocess)
        }
    };
    let mut theirs = Runner::new(&graph, &tensors, preprocess, device, path)?;
    drop(tensors);
    let preprocess = model.preprocess.clone();
    let mut ours = Runner::new(&model.graph()?, &model.tensors, preprocess, device, model.path())?;
    let mut difference = Difference { images: 0, most: 0.0, allowed: 0.0, largest: 1.0, same: 0 };
    let count = PICTURES.min(data.len());
    let indices: Vec<usize> = (0..count).map(|i| i * data.len() / count).collect();
    let mut first_error: Option<DataError> = None;
    for part in indices.chunks(BATCH) {
        let mut images = Vec::new();
        for &index in part {
            let mut image = Image::default();
            match data.read(index, &mut image) {
                Ok(()) => images.push(image),
                Err(error) if error.is_of_system() => return Err(error.into()),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        let classes = model.classes.len();
        let (a, b) = (ours.logits(&images)?.to_vec(), theirs.logits(&images)?);
        for (a, b) in a.chunks_exact(classes).zip(b.chunks_exact(classes)).take(images.len()) {
            let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            // A NaN is as far away as can be.
            let apart = apart.fold(0.0, |most: f32, x| if x <= most { most } else { x });
            difference.most = if apart <= difference.most { difference.most } else { apart };
            let largest = a.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            difference.largest = difference.largest.max(largest);
            difference.same += usize::from(best(a) == best(b));
        }
        difference.images += images.len();
    }
    if difference.images == 0 {
        let none = || DataError::Loader("there are no pictures to verify with".into());
        return Err(first_error.unwrap_or_else(none).into());
    }
    let tolerance = match options.half {
        None => 1e-4,
        Some(Stored::BF16) => 1e-1,
        Some(_) => 1e-2,
    };
    difference.allowed = tolerance * difference.largest;
    // Not `>`, which a NaN would pass.
    if difference.most <= difference.allowed {
        Ok(difference)
    } else {
        Err(ExportError::Differs { path: path.into(), difference })
    }
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]))
}

fn read_onnx(path: &Path) -> Result<onnx::Network, ExportError> {
    let bytes = files::read_bounded(path, resnet_formats::onnx::MAX_BYTES)?;
    let proto = resnet_formats::onnx::read(bytes)
        .map_err(|error| ExportError::Format { path: path.into(), error })?;
    onnx::network(&proto).map_err(|onnx::Refusal { node, problem }| ExportError::Graph {
        path: path.into(),
        node,
        problem,
    })
}

/// A network ready to run.
struct Runner {
    session: Session,
    transform: Transform,
    x: Vec<f32>,
    logits: Vec<f32>,
}

impl Runner {
    fn new(
        graph: &Graph,
        tensors: &Tensors,
        preprocess: Preprocess,
        device: &dyn Device,
        path: &Path,
    ) -> Result<Runner, ExportError> {
        let plan = plan::Plan::build(graph, plan::Options::infer(BATCH))?;
        model::fit(&plan, tensors).map_err(|problem| ExportError::Graph {
            path: path.into(),
            node: "the weights".into(),
            problem,
        })?;
        let logits = vec![0.0; BATCH * plan.classes];
        let mut session = Session::to_run(device, plan)?;
        model::write_all(&mut session, tensors)?;
        let transform = Transform::new(preprocess, Augment::default())?;
        Ok(Runner { x: vec![0.0; BATCH * graph.input.len()], session, transform, logits })
    }

    /// Logits of up to a batch of pictures, a row each.
    fn logits(&mut self, images: &[Image]) -> Result<&[f32], ExportError> {
        let size = self.x.len() / BATCH;
        for (image, x) in images.iter().zip(self.x.chunks_exact_mut(size)) {
            self.transform.eval(image, x);
        }
        self.session.infer(&self.x, &mut self.logits)?;
        Ok(&self.logits)
    }
}
