//! What a look at features finds, as `features.json` has it.

use serde::Serialize;

use super::added::Added;
use crate::data::DataError;
use crate::measure::evaluate::UseError;
use crate::measure::feature::Lesions;
use crate::measure::summary::SummaryError;
use crate::page::charts::tile::Tile;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The network cannot be used.
    #[error(transparent)]
    Use(#[from] UseError),
    /// The pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network's size.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// Nothing of the network has maps.
    #[error("{0} has no layer with a ReLU whose maps have places, so there are no features to see")]
    NoMaps(String),
    /// No picture could be read.
    #[error("none of the pictures of {0} can be read")]
    NoPictures(String),
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// The network, options included.
    pub arch: String,
    /// The model file.
    pub weights: String,
    /// The pictures' source.
    pub data: String,
    /// Which part of them.
    pub split: String,
    /// How many were looked at.
    pub pictures: usize,
    /// The ends of the blocks, in order.
    pub points: Vec<PointSeen>,
    /// What the linear classifiers were made of, where the data has classes and two splits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// What each residual block adds.
    pub added: Vec<Added>,
    /// What is lost without each block.
    pub lesions: Lesions,
    /// What should be known.
    pub warnings: Vec<String>,
    /// Filters of the first layer.
    #[serde(skip)]
    pub(crate) filters: Vec<Tile>,
    /// The picture whose maps are shown, and its maps stage by stage.
    #[serde(skip)]
    pub(crate) shown: Option<Shown>,
}

/// A picture and its maps.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) picture: Tile,
    /// For each stage its point, and channels with their maps.
    pub(crate) maps: Vec<(usize, Vec<(usize, Tile)>)>,
}

/// The end of a block.
#[derive(Clone, Debug, Serialize)]
pub struct PointSeen {
    /// The block, or the layer.
    pub name: String,
    /// Convolutions from the picture to here.
    pub depth: usize,
    /// Channels.
    pub channels: usize,
    /// Rows of a map.
    pub height: usize,
    /// Columns of a map.
    pub width: usize,
    /// Side of the square of pixels that a place depends on, padding included; absent if it is the
    /// whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<usize>,
    /// Pixels from one place's square to the next one's.
    pub jump: usize,
    /// How many channels are in use: the participation ratio of the covariance of their means.
    pub used: f64,
    /// Share of pictures that a linear classifier of the channels' means tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<f64>,
    /// Channels that were looked at one by one: first the most selective one of each kind of
    /// picture, then the second, and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<ChannelSeen>,
}

/// A channel that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelSeen {
    /// Its number.
    pub channel: usize,
    /// The least peak of its top pictures over the mean peak of all.
    pub selectivity: f64,
    /// The pictures that excite it most.
    pub top: Vec<Patch>,
    /// The picture made for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<MadeFor>,
}

/// The part of a picture that a channel answered to.
#[derive(Clone, Debug, Serialize)]
pub struct Patch {
    /// The picture.
    pub picture: String,
    /// The channel's answer.
    pub value: f32,
    /// The pixels of the network's input that the answer depends on: first and last row, first and
    /// last column, ends not counted.
    pub rows: [usize; 2],
    /// See `rows`.
    pub columns: [usize; 2],
    #[serde(skip)]
    pub(crate) tile: Tile,
}

/// A picture that was made for a channel, and how the channel answers to it.
#[derive(Clone, Debug, Serialize)]
pub struct MadeFor {
    /// Mean answer over the places.
    pub response: f64,
    /// The same to the noise that it was made from.
    pub noise: f64,
    /// The same to the picture of the data to which it is largest.
    pub best_picture: f64,
    #[serde(skip)]
    pub(crate) tile: Tile,
}

/// What linear classifiers were made of.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Probes {
    /// Pictures that they were fitted to.
    pub fitted: usize,
    /// Pictures that they were measured on.
    pub measured: usize,
    /// Classes.
    pub classes: usize,
}
