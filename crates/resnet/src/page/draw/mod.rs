//! Networks as a picture, drawn to scale and side by side: figure 3 of He et al. 2015, for any
//! network.
//!
//! One column a network, the image at the top and the logits at the bottom; one box a layer with
//! weights; what stands at the same height has maps of the same size. A shortcut is an arc from
//! where the map is kept to where it is added.
//!
//! From the bottom up: `trace` finds rows and shortcuts in a [`Graph`], `fold` leaves out
//! repetitions, `layout` gives everything its place, `paint` and `key` write the SVG. Nothing knows
//! any network by name.

mod fold;
mod key;
mod layout;
mod paint;
mod trace;

use crate::net::{Arch, ArchError};
use resnet_engine::graph::{Graph, Shape};
use resnet_engine::op::ShapeError;

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

/// Networks side by side, as an SVG file of its own for light and dark screens.
///
/// # Errors
/// No network, too many, or one whose graph has another form than a path with shortcuts.
pub fn draw(networks: &[Network]) -> Result<String, DrawError> {
    let traces = traces(networks)?;
    Ok(paint::file(&layout::lay_out(&traces, paint::FILE_TOP)))
}

/// The same as an `svg` element for a page that holds the styles of
/// [`palette`](crate::page::charts::palette); `id` makes the ids inside it unique in the page.
///
/// # Errors
/// As [`draw`].
pub fn embed(networks: &[Network], id: &str) -> Result<String, DrawError> {
    let traces = traces(networks)?;
    Ok(paint::element(&layout::lay_out(&traces, 0.0), id))
}

fn traces(networks: &[Network]) -> Result<Vec<trace::Trace>, DrawError> {
    match networks.len() {
        0 => Err(DrawError::Nothing),
        found if found > MOST_NETWORKS => Err(DrawError::TooMany { found }),
        _ => networks.iter().map(trace::trace).collect(),
    }
}
