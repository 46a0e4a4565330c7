//! Networks as data: a catalogue of rows ([`CATALOG`]), families of any depth ([`FAMILIES`]) and
//! options ([`OPTIONS`]).
//!
//! An [`Arch`] is a row plus options, written `resnet20:shortcut=B,norm=none`. It becomes a
//! [`Graph`](resnet_engine::graph::Graph) once the shape of the images and the number of classes
//! are known.
//!
//! To add a network of known blocks, add a row to `catalog.rs`; a kind of block, a variant to
//! `Block::convs` in `residual.rs`; an option, a row to `options.rs`.

mod arch;
mod catalog;
mod chain;
mod error;
mod layers;
mod options;
mod parse;
mod residual;
#[cfg(test)]
mod tests;

pub use arch::Arch;
pub(crate) use catalog::with_blocks;
pub use catalog::{CATALOG, FAMILIES, Family, Row};
pub use error::ArchError;
pub use options::{ArchOption, OPTIONS};

/// The block that a layer's name tells: `layer1.0` of `layer1.0.conv1`; none of `conv1` or
/// `features.0`.
pub fn block_of(layer: &str) -> Option<&str> {
    layer.match_indices('.').nth(1).map(|(end, _)| &layer[..end])
}
