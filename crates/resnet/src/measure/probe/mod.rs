//! Looks into a network while it computes: gradients, responses and weights of every layer, and
//! what each shortcut carries.
//!
//! A [`Probe`] runs a plan that keeps everything, one step per operation. Gradients are those of
//! the mean loss of the probe's pictures; batch norm uses their statistics, as in training.
//!
//! Of a residual block y = relu(F(x) + S(x)) the gradient of its input is a sum,
//!
//! ```text
//! dL/dx = (dS/dx)^T dL/dy' + (dF/dx)^T dL/dy'        y' = F(x) + S(x); S(x) = x for an identity shortcut
//! ```
//! (He et al. 2016, eq. 5). The engine computes the first term into the gradient's slot and adds
//! the second to it. The probe runs the adding step twice, once on zeros, and so has both terms and
//! their sum from the engine itself.

mod structure;
mod trend;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use resnet_engine::exec::{Device, ExecError, Session, Target};
use resnet_engine::graph::Graph;
use resnet_engine::op::ShapeError;
use resnet_engine::plan::{Options, Plan};
use structure::Structure;

pub(crate) use trend::LIMIT;
pub use trend::{Trend, Verdict};

/// Most pictures that a probe looks at: enough for steady statistics.
pub(crate) const PICTURES: usize = 32;
/// Most memory of a probe that chooses its number of pictures, in bytes.
const MOST_BYTES: usize = 2 << 30;

/// What was measured of one layer with weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerMeasure {
    /// torchvision's name.
    pub name: String,
    /// Whether it stands on the main path; a projection on a shortcut does not.
    pub main: bool,
    /// Whether it is a convolution; else it is linear.
    pub conv: bool,
    /// L2 norm of dL/dw.
    #[serde(with = "crate::base::number")]
    pub gradient_norm: f64,
    /// L2 norm of dL/dy over the batch, y being the response: the layer's output after the batch
    /// norm that follows it, if one does, before addition and ReLU.
    #[serde(with = "crate::base::number")]
    pub activation_gradient_norm: f64,
    /// L2 norm of w.
    #[serde(with = "crate::base::number")]
    pub weight_norm: f64,
    /// Length of the last update over the length of w.
    pub update_ratio: Option<f64>,
    /// Standard deviation of the response over all its numbers (He et al. 2015, figure 7).
    #[serde(with = "crate::base::number")]
    pub response_std: f64,
    /// Fraction of channels of the ReLU behind the response (and behind the addition and batch norm
    /// between them) that are zero everywhere, for every picture.
    pub dead: Option<f64>,
}

/// What was measured of one residual block: the terms of the gradient of its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockMeasure {
    /// Its name, such as `layer1.0`.
    pub name: String,
    /// L2 norm of dL/dx.
    #[serde(with = "crate::base::number")]
    pub gradient_norm: f64,
    /// L2 norm of the term that arrives through the shortcut.
    #[serde(with = "crate::base::number")]
    pub shortcut_norm: f64,
    /// L2 norm of the term that arrives through the branch.
    #[serde(with = "crate::base::number")]
    pub branch_norm: f64,
    /// The shortcut's part of dL/dx: its projection on dL/dx over the length of dL/dx. The branch's
    /// part is 1 minus this.
    #[serde(with = "crate::base::number")]
    pub shortcut_share: f64,
    /// Length of dL/dx minus both terms, over the length of dL/dx: rounding.
    #[serde(with = "crate::base::number")]
    pub residue: f64,
}

/// What was measured of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Mean loss of the pictures, in nats.
    #[serde(with = "crate::base::number")]
    pub loss: f64,
    /// Layers with weights, in order.
    pub layers: Vec<LayerMeasure>,
    /// Residual blocks, in order.
    pub blocks: Vec<BlockMeasure>,
}

impl Measurement {
    /// The convolutions on the main path: what "over depth" goes over.
    pub fn path(&self) -> impl Iterator<Item = &LayerMeasure> {
        self.layers.iter().filter(|layer| layer.main && layer.conv)
    }
}

/// Why a network cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A layer cannot read its inputs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The device; keeping everything may need too much memory.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl ProbeError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        match self {
            ProbeError::Shape(_) => true,
            ProbeError::Exec(_) => false,
        }
    }
}

/// A network prepared to be looked into.
pub struct Probe {
    session: Session,
    structure: Structure,
}

impl Probe {
    /// A probe of `graph` that looks at `pictures` pictures; its weights are yet to be written.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn new(graph: &Graph, pictures: usize, device: &dyn Device) -> Result<Probe, ProbeError> {
        let plan = Plan::build(graph, Self::options(pictures))?;
        let structure = Structure::of(graph, &plan);
        Ok(Probe { session: Session::new(device, plan)?, structure })
    }

    /// A number of pictures, at most `most`, for which a probe of `graph` takes a moderate amount
    /// of memory.
    ///
    /// # Errors
    /// The graph cannot be planned.
    pub(crate) fn affordable(graph: &Graph, most: usize) -> Result<usize, ShapeError> {
        let mut pictures = most.clamp(1, PICTURES);
        while pictures > 2
            && Plan::build(graph, Self::options(pictures))?.len() > MOST_BYTES / size_of::<f32>()
        {
            pictures /= 2;
        }
        Ok(pictures)
    }

    fn options(pictures: usize) -> Options {
        Options { fuse: false, keep_all: true, ..Options::train(pictures, 0.0) }
    }

    /// The session, to write weights into.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Measures everything on these pictures (`x`: `[pictures, h, w, c]`) and their labels.
    ///
    /// # Errors
    /// The device fails.
    pub fn measure(&mut self, x: &[f32], labels: &[u32]) -> Result<Measurement, ExecError> {
        let session = &mut self.session;
        let plan = session.plan().clone();
        let mut target = vec![0.0; labels.len() * plan.classes];
        for (row, &label) in target.chunks_exact_mut(plan.classes).zip(labels) {
            row[label as usize] = 1.0;
        }
        let (weight, total) = (vec![1.0; labels.len()], labels.len() as f32);
        session.feed(x, Target { target: &target, weight: &weight, total })?;
        session.forward()?;
        let mut joins = self.structure.blocks.iter().collect::<Vec<_>>();
        let mut blocks = Vec::new();
        for step in plan.backward.clone() {
            match joins.iter().position(|block| block.join == step) {
                Some(at) => blocks.push(joins.swap_remove(at).measure(session)?),
                None => session.run(step..step + 1)?,
            }
        }
        // The backward pass meets the last block first.
        blocks.reverse();
        let layers = self.structure.layers.iter();
        Ok(Measurement {
            loss: session.sum_of_losses()? / f64::from(total),
            layers: layers.map(|layer| layer.measure(session)).collect::<Result<_, _>>()?,
            blocks,
        })
    }
}
