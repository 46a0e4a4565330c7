//! What is drawn, and why it may not be.

use resnet_engine::graph::{Graph, Shape};
use resnet_engine::op::ShapeError;

use crate::net::{Arch, ArchError};

/// Most networks in one drawing; more columns than this are narrower than their texts on any
/// screen.
pub const MOST_NETWORKS: usize = 12;

/// A network to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What is written above it.
    pub name: String,
    /// Its depth as its source counts it.
    pub depth: usize,
    /// The layers.
    pub graph: Graph,
}

impl Network {
    /// A network of the catalogue for images of shape `input` and so many classes.
    ///
    /// # Errors
    /// The network cannot read such images.
    pub fn of(arch: &Arch, input: Shape, classes: usize) -> Result<Network, ArchError> {
        Ok(Network { name: arch.name(), depth: arch.depth(), graph: arch.graph(input, classes)? })
    }
}

/// Why there is no drawing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// No network was given.
    #[error("no network to draw; name one or more, such as resnet34")]
    Nothing,
    /// More networks than can stand side by side.
    #[error(
        "{found} networks are too many for one drawing; it has room for {MOST_NETWORKS}, make several"
    )]
    TooMany {
        /// How many were given.
        found: usize,
    },
    /// A layer cannot read its inputs.
    #[error("network `{network}`: {source}")]
    Shape {
        /// The network.
        network: String,
        /// The layer and what does not fit.
        source: ShapeError,
    },
    /// A network has no block of that name.
    #[error("network `{network}` has no block `{block}`; {known}")]
    NoBlock {
        /// The network.
        network: String,
        /// The block that was asked for.
        block: String,
        /// What blocks it has.
        known: String,
    },
    /// The graph is not a path with shortcuts beside it, one after another.
    #[error("network `{network}` cannot be drawn: layer `{layer}` {reason}")]
    Form {
        /// The network.
        network: String,
        /// The layer.
        layer: String,
        /// What about it has no place in a column.
        reason: &'static str,
    },
}
