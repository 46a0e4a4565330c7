//! How to evaluate.

use resnet_engine::step::Precision;

/// How to look at each picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crops {
    /// The centre.
    #[default]
    One,
    /// Centre and corners, each also mirrored; the ten probabilities are averaged.
    Ten,
}

/// How to evaluate.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// How to look at each picture.
    pub crops: Crops,
    /// How maps are stored.
    pub precision: Precision,
    /// Pictures a batch; left open, as many as keep the cores busy in about a GiB.
    pub batch: Option<usize>,
}
