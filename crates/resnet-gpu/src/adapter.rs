//! What GPUs there are, and which one is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use resnet_engine::exec::{Device, OpenError};

/// What computes behind a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A card of its own.
    Discrete,
    /// A part of the processor, with its memory.
    Integrated,
    /// A virtual machine's.
    Virtual,
    /// The CPU, in place of a GPU: right, and slow.
    Software,
}

impl Kind {
    /// Its name: `discrete`, `integrated`, `virtual` or `software`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
            Kind::Software => "software",
        }
    }
}

/// A GPU and the driver that reaches it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// As its driver calls it, such as `NVIDIA H200` or `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub name: String,
    /// What computes.
    pub kind: Kind,
    /// The interface it is reached by: `Vulkan`, `Metal` or `DirectX 12`.
    pub api: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// Bytes that one array of numbers may take.
    pub largest_slot: u64,
}

/// Which of them is meant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Which {
    /// The first that is no software.
    #[default]
    Best,
    /// By its place in [`adapters`].
    Index(usize),
    /// The first whose name has this in it, upper and lower case alike.
    Named(String),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Best => f.write_str("gpu"),
            Which::Index(index) => write!(f, "gpu:{index}"),
            Which::Named(name) => write!(f, "gpu:{name}"),
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text.split_once(':') {
            None if text == "gpu" => Ok(Which::Best),
            Some(("gpu", rest)) if !rest.is_empty() => Ok(match rest.parse() {
                Ok(index) => Which::Index(index),
                Err(_) => Which::Named(rest.to_string()),
            }),
            _ => Err(format!("`{text}` is no GPU; expected gpu, gpu:NUMBER or gpu:NAME")),
        }
    }
}

/// What GPUs there are, discrete ones first, software last.
pub fn adapters() -> Vec<Adapter> {
    Vec::new()
}

/// Opens one of them, with so many threads of the host for what it does beside.
///
/// # Errors
/// There is none of that name, or its driver cannot compute.
pub fn open(which: &Which, _threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    Err(OpenError(format!("no {which} was found")))
}
