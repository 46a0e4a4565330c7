//! Options of a network: one row each.

use super::arch::{Arch, Body};
use super::error::ArchError;
use super::residual::{Block, First, Order, Residual, Shortcut, Shortcuts, Stem, Stride};
use crate::base::suggest;
use resnet_engine::graph::Init;

/// An option of a network.
#[derive(Debug)]
pub struct ArchOption {
    /// Its name.
    pub key: &'static str,
    /// What can be given.
    pub values: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its value in a network, or none where it means nothing.
    pub(super) get: fn(&Arch) -> Option<String>,
    /// Gives it a value.
    pub(super) set: fn(&mut Arch, &str) -> Result<(), Refusal>,
}

/// Why a value is not taken.
pub(super) enum Refusal {
    /// No such value.
    Value,
    /// The network has no place for it.
    NotHere(String),
}

/// Every option, in the order in which they are applied and written.
pub static OPTIONS: &[ArchOption] = &[
    ArchOption {
        key: "block",
        values: "basic or bottleneck",
        help: "block of a network for 32-pixel images: two 3x3 convolutions, or 1x1, 3x3, 1x1; \
               brings the shortcut and stride the papers use with it",
        get: |arch| match residual(arch)? {
            net if !net.any_depth => None,
            Residual { block: Block::Basic, .. } => Some("basic".into()),
            Residual { block: Block::Bottleneck, .. } => Some("bottleneck".into()),
        },
        set: set_block,
    },
    ArchOption {
        key: "shortcut",
        values: "A, B or C",
        help: "shortcut where the shape changes: A zeros for missing channels, \
               B 1x1 convolution, C 1x1 convolution everywhere",
        get: |arch| match residual(arch)? {
            Residual { shortcuts: Shortcuts::Absent, .. } => None,
            Residual { shortcut: Shortcut::A, .. } => Some("A".into()),
            Residual { shortcut: Shortcut::B, .. } => Some("B".into()),
            Residual { shortcut: Shortcut::C, .. } => Some("C".into()),
        },
        set: |arch, value| {
            let net = residual_mut(arch, "it has no residual blocks")?;
            if net.shortcuts == Shortcuts::Absent {
                return Err(not_here(
                    "it is a plain network and has no shortcuts; take its residual twin",
                ));
            }
            net.shortcut = match value {
                "A" | "a" => Shortcut::A,
                "B" | "b" => Shortcut::B,
                "C" | "c" => Shortcut::C,
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "stride",
        values: "v1 or v1.5",
        help: "convolution of a bottleneck that halves the map: \
               the first 1x1 as in the papers (v1) or the 3x3 as in torchvision (v1.5)",
        get: |arch| match residual(arch)? {
            Residual { block: Block::Basic, .. } => None,
            Residual { stride: Stride::V1, .. } => Some("v1".into()),
            Residual { stride: Stride::V15, .. } => Some("v1.5".into()),
        },
        set: |arch, value| {
            let net = residual_mut(arch, "it has no bottleneck blocks")?;
            if net.block == Block::Basic {
                return Err(not_here(
                    "its blocks are not bottlenecks; the first convolution halves the map",
                ));
            }
            net.stride = match value {
                "v1" => Stride::V1,
                "v1.5" => Stride::V15,
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "stem",
        values: "imagenet or cifar",
        help: "first layers: 7x7 convolution of stride 2 and max pool (imagenet), \
               or 3x3 convolution of stride 1 (cifar)",
        get: |arch| match residual(arch)?.stem {
            Stem::ImageNet => Some("imagenet".into()),
            Stem::Cifar => Some("cifar".into()),
        },
        set: |arch, value| {
            residual_mut(arch, "its first layers are part of its definition")?.stem = match value {
                "imagenet" => Stem::ImageNet,
                "cifar" => Stem::Cifar,
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "first_norm",
        values: "stem, both or branch",
        help: "what normalises and activates first in a pre-activation network: the stem, or the first block, \
               for its branch and shortcut (both) or its branch alone (branch, as in timm)",
        get: |arch| match residual(arch)? {
            Residual { order: Order::After, .. } => None,
            Residual { first: First::Stem, .. } => Some("stem".into()),
            Residual { first: First::Both, .. } => Some("both".into()),
            Residual { first: First::Branch, .. } => Some("branch".into()),
        },
        set: |arch, value| {
            let net = residual_mut(arch, "it has no residual blocks")?;
            if net.order == Order::After {
                return Err(not_here(
                    "its batch norms follow their convolutions; take a pre-activation network",
                ));
            }
            net.first = match value {
                "stem" => First::Stem,
                "both" => First::Both,
                "branch" => First::Branch,
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "residual",
        values: "true or false",
        help: "false cuts the shortcuts: the plain twin, with the same convolutions",
        get: |arch| match residual(arch)?.shortcuts {
            Shortcuts::Absent => None,
            shortcuts => Some((shortcuts == Shortcuts::Kept).to_string()),
        },
        set: |arch, value| match (boolean(value)?, &mut arch.body) {
            (keep, Body::Residual(net)) if net.shortcuts != Shortcuts::Absent => {
                net.shortcuts = if keep { Shortcuts::Kept } else { Shortcuts::Cut };
                Ok(())
            }
            (true, _) => {
                Err(not_here("it has no shortcuts by definition; take a residual network"))
            }
            (false, _) => Ok(()),
        },
    },
    ArchOption {
        key: "norm",
        values: "batch or none",
        help: "batch norm after (or before) each convolution, or none; without it every convolution has a bias",
        get: |arch| Some(if arch.norm { "batch" } else { "none" }.into()),
        set: |arch, value| {
            arch.norm = match value {
                "batch" => true,
                "none" => false,
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "zero_init",
        values: "true or false",
        help: "start the last gamma of each residual branch at zero, so that each block starts as the identity",
        get: |arch| Some(residual(arch)?.zero_init.to_string()),
        set: |arch, value| match (boolean(value)?, &mut arch.body) {
            (zero, Body::Residual(net)) => {
                net.zero_init = zero;
                Ok(())
            }
            (true, _) => Err(not_here("it has no residual branches")),
            (false, _) => Ok(()),
        },
    },
    ArchOption {
        key: "init",
        values: "he, xavier or normal:STD with STD above zero",
        help: "how weights start: variance 2/fan_in (he), 2/(fan_in+fan_out) (xavier), or a fixed standard deviation",
        get: |arch| {
            Some(match arch.init {
                Init::He => "he".into(),
                Init::Xavier => "xavier".into(),
                Init::Normal(std) => format!("normal:{std}"),
            })
        },
        set: |arch, value| {
            arch.init = match (value, value.split_once(':')) {
                ("he", _) => Init::He,
                ("xavier", _) => Init::Xavier,
                (_, Some(("normal", std))) => Init::Normal(positive(std)?),
                _ => return Err(Refusal::Value),
            };
            Ok(())
        },
    },
    ArchOption {
        key: "gain",
        values: "a number above zero",
        help: "factor on the standard deviation of the starting weights",
        get: |arch| Some(arch.gain.to_string()),
        set: |arch, value| {
            arch.gain = positive(value)?;
            Ok(())
        },
    },
];

/// Index of the row of an option.
pub(super) fn find(arch: &Arch, key: &str) -> Result<usize, ArchError> {
    OPTIONS.iter().position(|row| row.key == key).ok_or_else(|| ArchError::UnknownOption {
        arch: arch.base.clone(),
        key: key.into(),
        nearest: suggest::nearest(key, OPTIONS.iter().map(|row| row.key)).map(String::from),
        known: keys(),
    })
}

/// Gives an option a value, without the check of combinations.
pub(super) fn apply(arch: &mut Arch, row: &ArchOption, value: &str) -> Result<(), ArchError> {
    (row.set)(arch, value).map_err(|refusal| {
        let (arch, key) = (arch.base.clone(), row.key.into());
        match refusal {
            Refusal::NotHere(reason) => ArchError::NotApplicable { arch, key, reason },
            Refusal::Value => {
                ArchError::Value { arch, key, value: value.into(), expected: row.values.into() }
            }
        }
    })
}

/// The list of options for an error message.
fn keys() -> String {
    let keys: Vec<&str> = OPTIONS.iter().map(|row| row.key).collect();
    format!("options are {}", keys.join(", "))
}

fn residual(arch: &Arch) -> Option<&Residual> {
    match &arch.body {
        Body::Residual(net) => Some(net),
        Body::Chain(_) => None,
    }
}

fn residual_mut<'a>(arch: &'a mut Arch, reason: &str) -> Result<&'a mut Residual, Refusal> {
    match &mut arch.body {
        Body::Residual(net) => Ok(net),
        Body::Chain(_) => Err(not_here(reason)),
    }
}

fn not_here(reason: &str) -> Refusal {
    Refusal::NotHere(reason.into())
}

fn boolean(value: &str) -> Result<bool, Refusal> {
    value.parse().map_err(|_| Refusal::Value)
}

fn positive(value: &str) -> Result<f32, Refusal> {
    value.parse().ok().filter(|x: &f32| x.is_finite() && *x > 0.0).ok_or(Refusal::Value)
}

/// The number of blocks follows from the depth; shortcut and stride are those of He et al. 2015
/// (basic) and of the code published with He et al. 2016 (bottleneck).
fn set_block(arch: &mut Arch, value: &str) -> Result<(), Refusal> {
    let depth = arch.depth;
    let net = residual_mut(arch, "it has no residual blocks")?;
    if !net.any_depth {
        return Err(not_here("its blocks are part of its definition"));
    }
    let (block, layers, shortcut, stride) = match value {
        "basic" => (Block::Basic, 6, Shortcut::A, Stride::V15),
        "bottleneck" => (Block::Bottleneck, 9, Shortcut::B, Stride::V1),
        _ => return Err(Refusal::Value),
    };
    if net.block == block {
        return Ok(());
    }
    let blocks = depth.saturating_sub(2) / layers;
    if blocks == 0 || blocks * layers + 2 != depth {
        let below = blocks.max(1) * layers + 2;
        return Err(Refusal::NotHere(format!(
            "{value} blocks give {layers}n+2 layers, not {depth}; nearest: {below} and {}",
            below + layers
        )));
    }
    *net = Residual { blocks: [blocks, blocks, blocks, 0], block, shortcut, stride, ..*net };
    Ok(())
}
