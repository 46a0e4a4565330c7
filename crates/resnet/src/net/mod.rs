//! Networks as data: a catalogue of rows ([`CATALOG`]), families of any depth ([`FAMILIES`]) and
//! options ([`OPTIONS`]).
//!
//! An [`Arch`] is a row plus options, written `resnet20:shortcut=B,norm=none`. It becomes a
//! [`Graph`] once the shape of the images and the number of classes are known.
//!
//! To add a network of known blocks, add a row to `catalog.rs`; a kind of block, a variant to
//! `Block::convs` in `residual.rs`; an option, a row to `options.rs`.

mod catalog;
mod chain;
mod options;
mod residual;
#[cfg(test)]
mod tests;

use chain::Chain;
use residual::{Order, Residual, Shortcuts};
use resnet_engine::graph::{Graph, Init, Op, Shape};

pub use catalog::{CATALOG, FAMILIES, Family, Row, with_blocks};
pub use options::{ArchOption, OPTIONS};

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
    base: String,
    depth: usize,
    input: Shape,
    classes: usize,
    body: Body,
    norm: bool,
    init: Init,
    gain: f32,
}

/// What stands between input and logits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Chain(Chain),
    Residual(Residual),
}

/// Why a text names no network, or a network cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchError {
    /// No row and no family has this name.
    #[error("unknown network `{name}`{}", like(nearest))]
    UnknownNetwork {
        /// What was asked for.
        name: String,
        /// Names that look like it, best first.
        nearest: Vec<String>,
    },
    /// The family exists, but not at this depth or width.
    #[error("no network `{name}`: {rule}; nearest: {}", nearest.join(", "))]
    Depth {
        /// What was asked for.
        name: String,
        /// Which depths exist.
        rule: String,
        /// The nearest networks that exist.
        nearest: Vec<String>,
    },
    /// No option has this name.
    #[error("unknown option `{key}` of network `{arch}`{}", did_you_mean(nearest.as_slice(), &options::keys()))]
    UnknownOption {
        /// The network.
        arch: String,
        /// What was given.
        key: String,
        /// The option it may be a slip of.
        nearest: Option<String>,
    },
    /// An option without a value, or given twice.
    #[error(
        "network `{text}`: found `{part}`, expected each option once as key=value, \
         as in `resnet20:shortcut=B,norm=none`"
    )]
    Syntax {
        /// The whole text.
        text: String,
        /// The part that cannot be read.
        part: String,
    },
    /// The option exists, its value does not.
    #[error("option `{key}` of network `{arch}` is `{value}`, expected {expected}")]
    Value {
        /// The network.
        arch: String,
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What can be given.
        expected: String,
    },
    /// The option means nothing for this network.
    #[error("option `{key}` cannot apply to network `{arch}`: {reason}")]
    NotApplicable {
        /// The network.
        arch: String,
        /// The option.
        key: String,
        /// What is missing, and what to do instead.
        reason: String,
    },
    /// The images are too small.
    #[error(
        "network `{arch}` cannot read images of {input}: no map is left at its layer `{layer}`; \
         the smallest images it can read are {smallest}x{smallest} pixels"
    )]
    TooSmall {
        /// The network.
        arch: String,
        /// Shape of the images.
        input: Shape,
        /// The first layer without an output.
        layer: String,
        /// Side of the smallest image that works.
        smallest: usize,
    },
    /// A size that no image has.
    #[error("network `{arch}`: {what} is {found}, expected {expected}")]
    Size {
        /// The network.
        arch: String,
        /// Which size.
        what: &'static str,
        /// Its value.
        found: String,
        /// What can be built.
        expected: String,
    },
}

impl ArchError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing: always, for a network is what was asked for.
    pub fn is_usage(&self) -> bool {
        true
    }
}

/// The end of an error about a name of the catalogue.
fn like(nearest: &[String]) -> String {
    match nearest {
        [] => "; expected a name of the catalogue, such as resnet20 or vgg16_bn".to_string(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

fn did_you_mean(nearest: &[String], otherwise: &str) -> String {
    match nearest {
        [] => format!("; {otherwise}"),
        names => format!("; did you mean {}? {otherwise}", names.join(" or ")),
    }
}

fn batch_norm(zero_init: bool) -> Op {
    Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init }
}

impl Arch {
    /// Reads a network's name and options, `resnet20` or `resnet20:shortcut=B,norm=none`. The order
    /// of options does not matter.
    ///
    /// # Errors
    /// A name, depth, option, value or combination that does not exist.
    pub fn parse(text: &str) -> Result<Arch, ArchError> {
        let (base, list) = text.split_once(':').map_or((text, None), |(b, l)| (b, Some(l)));
        let mut arch = catalog::find(base.trim())?;
        let mut given = Vec::new();
        for part in list.iter().flat_map(|list| list.split(',')) {
            let syntax = || ArchError::Syntax { text: text.into(), part: part.into() };
            let (key, value) = part.split_once('=').ok_or_else(syntax)?;
            let row = options::find(&arch, key.trim())?;
            if given.iter().any(|&(other, _)| other == row) {
                return Err(syntax());
            }
            given.push((row, value.trim()));
        }
        // A later row of the table may undo what an earlier one implies, never the reverse.
        given.sort_by_key(|&(row, _)| row);
        for (row, value) in given {
            options::apply(&mut arch, &OPTIONS[row], value)?;
        }
        arch.check()?;
        Ok(arch)
    }

    /// Sets one option; on an error nothing changes.
    ///
    /// # Errors
    /// An option, value or combination that does not exist.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ArchError> {
        let mut next = self.clone();
        options::apply(&mut next, &OPTIONS[options::find(self, key)?], value)?;
        next.check()?;
        *self = next;
        Ok(())
    }

    /// The text that [`Arch::parse`] reads back to this network: its row, and the options that
    /// differ from the row's.
    pub fn name(&self) -> String {
        let Ok(mut plain) = catalog::find(&self.base) else {
            return self.base.clone();
        };
        let mut list = Vec::new();
        for row in OPTIONS {
            let value = (row.get)(self);
            if let Some(value) = value.filter(|value| Some(value) != (row.get)(&plain).as_ref())
                && (row.set)(&mut plain, &value).is_ok()
            {
                list.push(format!("{}={value}", row.key));
            }
        }
        if list.is_empty() { plain.base } else { format!("{}:{}", plain.base, list.join(",")) }
    }

    /// The same convolutions without shortcuts; itself if it has none.
    pub fn plain_twin(&self) -> Arch {
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
    pub fn is_residual(&self) -> bool {
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

    /// Refuses options that exclude each other.
    fn check(&self) -> Result<(), ArchError> {
        let Body::Residual(net) = &self.body else {
            return Ok(());
        };
        let reason = if !net.zero_init {
            return Ok(());
        } else if net.shortcuts != Shortcuts::Kept {
            "it has no residual branches; a zero gamma would silence the whole network"
        } else if !self.norm {
            "without batch norm there is no gamma to start at zero; drop norm=none or zero_init"
        } else if net.order == Order::Before {
            "its branches end in a convolution; a zero gamma ahead of ReLU passes no gradient, \
             and the branch would stay silent"
        } else {
            return Ok(());
        };
        Err(ArchError::NotApplicable {
            arch: self.base.clone(),
            key: "zero_init".into(),
            reason: reason.into(),
        })
    }
}
