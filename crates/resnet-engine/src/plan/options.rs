//! How a plan is made.

use crate::graph::LayerId;
use crate::step::{Precision, Rule, Update};

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Forward, backward and update.
    Train {
        /// Label smoothing of the loss.
        label_smoothing: f32,
    },
    /// Forward with running statistics.
    Infer,
    /// The same, and then backward from the logits' gradient, which the caller writes, to the
    /// output of a layer. The plan's `gradients` say where both are.
    Explain {
        /// The layer; one that is fused into the step of a later layer has no output of its own to
        /// go back to.
        layer: LayerId,
    },
}

impl Mode {
    /// Whether weights change.
    pub fn trains(self) -> bool {
        matches!(self, Mode::Train { .. })
    }
}

/// What training leaves as it is: it takes part as in inference, and nothing is computed for it
/// backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Layers from the first on.
    pub layers: usize,
    /// Every batch norm: statistics, gamma and beta.
    pub norm: bool,
}

/// How a plan is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Images in a batch.
    pub batch: usize,
    /// What for.
    pub mode: Mode,
    /// How maps and their gradients are stored.
    pub precision: Precision,
    /// Whether neighbouring steps are joined.
    pub fuse: bool,
    /// Whether every slot keeps memory of its own, so that all can be looked at after a run.
    pub keep_all: bool,
    /// Whether the backward pass computes the outputs of norms again instead of keeping them: the
    /// same bits in less memory.
    pub recompute: bool,
    /// What is not trained.
    pub frozen: Frozen,
    /// How parameters are updated, where the plan trains.
    pub optimizer: Optimizer,
    /// Whether gradients of several batches are summed before an update.
    pub accumulate: bool,
    /// Of a plan whose gradients are summed over the shards of a batch: places for sums that are
    /// put aside meanwhile.
    pub shards: Option<usize>,
    /// Whether a moving average of parameters and state is kept.
    pub average: bool,
}

impl Options {
    /// A fused plan that trains, in f32.
    pub fn train(batch: usize, label_smoothing: f32) -> Options {
        Options {
            batch,
            mode: Mode::Train { label_smoothing },
            precision: Precision::F32,
            fuse: true,
            keep_all: false,
            recompute: true,
            frozen: Frozen::default(),
            optimizer: Optimizer::default(),
            accumulate: false,
            shards: None,
            average: false,
        }
    }

    /// A fused plan that infers, in f32.
    pub fn infer(batch: usize) -> Options {
        Options { batch, mode: Mode::Infer, ..Options::train(batch, 0.0) }
    }
}

/// How parameters are updated: the rule, and how hard it pulls on which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub rule: Rule,
    /// Weight decay of weight matrices.
    pub weight_decay: f32,
    /// Whether norms and biases decay too.
    pub decay_norm_bias: bool,
    /// Factor on the learning rate of the layers before the head.
    pub backbone: f32,
    /// A further factor for each stage between a layer and the head.
    pub stage: f32,
}

impl Default for Optimizer {
    /// SGD with momentum 0.9, no decay, the same rate everywhere.
    fn default() -> Optimizer {
        Optimizer {
            rule: Rule::Sgd { momentum: 0.9, nesterov: false },
            weight_decay: 0.0,
            decay_norm_bias: true,
            backbone: 1.0,
            stage: 1.0,
        }
    }
}

impl Optimizer {
    /// Whether stages learn at rates of their own.
    pub(crate) fn is_staged(&self) -> bool {
        self.backbone != 1.0 || self.stage != 1.0
    }

    /// The update of parameters so many stages below the head, which is 0.
    pub(super) fn update(&self, weights: bool, below: usize) -> Update {
        let decays = weights || self.decay_norm_bias;
        let lr_factors = match below {
            0 => [1.0, 1.0],
            1.. => [self.backbone, self.stage.powi(below as i32 - 1)],
        };
        let weight_decay = if decays { self.weight_decay } else { 0.0 };
        let fitted = weights && self.rule.fits_rates();
        Update { rule: self.rule, weight_decay, lr_factors, fitted }
    }
}
