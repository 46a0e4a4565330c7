//! A network as the catalogue and options describe it, and its graph.

use resnet_engine::graph::{Graph, Init, Shape};

use super::chain::Chain;
use super::error::ArchError;
use super::residual::{Residual, Shortcuts};

/// Most channels of an input image.
const MAX_CHANNELS: usize = 1024;
/// Longest side of an input image, in pixels.
const MAX_SIDE: usize = 16_384;
/// Most classes.
const MAX_CLASSES: usize = 1_000_000;

/// A network: what a row of the catalogue says, as changed by options.
#[derive(Clone, Debug, PartialEq)]
pub struct Arch {
    /// Name of the row, without options.
    pub(super) base: String,
    pub(super) depth: usize,
    pub(super) input: Shape,
    pub(super) classes: usize,
    pub(super) body: Body,
    pub(super) norm: bool,
    pub(super) init: Init,
    pub(super) gain: f32,
}

/// What stands between input and logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Body {
    Chain(Chain),
    Residual(Residual),
}

impl Arch {
    /// The same convolutions without shortcuts; itself if it has none.
    pub(crate) fn plain_twin(&self) -> Arch {
        let mut twin = self.clone();
        if let Body::Residual(net) = &mut twin.body
            && net.shortcuts == Shortcuts::Kept
        {
            net.shortcuts = Shortcuts::Cut;
            net.zero_init = false;
        }
        twin
    }

    /// The network for images of shape `input` and so many classes.
    ///
    /// # Errors
    /// Images too small for the network, and sizes that no image or label set has.
    pub fn graph(&self, input: Shape, classes: usize) -> Result<Graph, ArchError> {
        let size = |what, found: String, max: usize| ArchError::Size {
            arch: self.name(),
            what,
            found,
            expected: format!("1 to {max}"),
        };
        if !(1..=MAX_CHANNELS).contains(&input.c) {
            return Err(size("the number of input channels", input.c.to_string(), MAX_CHANNELS));
        }
        if !(1..=MAX_SIDE).contains(&input.h.min(input.w)) || input.h.max(input.w) > MAX_SIDE {
            let found = format!("{}x{}", input.h, input.w);
            return Err(size("the size of the images in pixels", found, MAX_SIDE));
        }
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(size("the number of classes", classes.to_string(), MAX_CLASSES));
        }
        let mut graph = Graph::new(input);
        graph.init = self.init;
        graph.gain = self.gain;
        match &self.body {
            Body::Residual(net) => net.build(&mut graph, self.norm, classes),
            Body::Chain(net) => net.build(&mut graph, self.norm, classes).map_err(|layer| {
                let smallest = net.smallest_side();
                ArchError::TooSmall { arch: self.name(), input, layer, smallest }
            })?,
        }
        Ok(graph)
    }

    /// Number of layers with weights, as counted in its name.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether it has shortcuts.
    pub(crate) fn is_residual(&self) -> bool {
        matches!(&self.body, Body::Residual(net) if net.shortcuts == Shortcuts::Kept)
    }

    /// Shape of the images it was designed for.
    pub fn default_input(&self) -> Shape {
        self.input
    }

    /// Number of classes it was designed for.
    pub fn default_classes(&self) -> usize {
        self.classes
    }

    /// Layer-name prefix of every block in order, such as `layer1.0`; empty for a network without
    /// blocks.
    pub fn blocks(&self) -> Vec<String> {
        match &self.body {
            Body::Residual(net) => net.block_names(),
            Body::Chain(_) => Vec::new(),
        }
    }
}
