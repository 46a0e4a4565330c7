//! Why a text names no network, or a network cannot be built.

use resnet_engine::graph::Shape;

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
    #[error("unknown option `{key}` of network `{arch}`{}", did_you_mean(nearest.as_slice(), known))]
    UnknownOption {
        /// The network.
        arch: String,
        /// What was given.
        key: String,
        /// The option it may be a slip of.
        nearest: Option<String>,
        /// The options that there are, as the end of a sentence.
        known: String,
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

impl ArchError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing: always, for a network is what was asked for.
    pub fn is_usage(&self) -> bool {
        true
    }
}
