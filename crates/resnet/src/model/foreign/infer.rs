//! Which network a set of tensors belongs to: the one of the catalogue and its families whose
//! tensors are these.

use std::collections::BTreeMap;
use std::fmt;

use super::ImportError;
use crate::net::{self, Arch};
use resnet_engine::graph::Shape;
use resnet_engine::op;
use resnet_formats::shorten;

/// Dimensions of each tensor, by our names.
pub(super) type Dims = BTreeMap<String, Vec<usize>>;

/// Names of each kind that a message shows.
const SHOWN: usize = 4;

/// How tensors differ from those of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Tensors that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the file has and the network lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: their name, the file's shape, the network's.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.missing.len() + self.unexpected.len() + self.misshapen.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares a file's tensors with those that a network needs.
    pub(super) fn between(found: &Dims, needed: &Dims) -> Mismatch {
        let mut mismatch = Mismatch::default();
        for (name, dims) in needed {
            match found.get(name) {
                None => mismatch.missing.push(name.clone()),
                Some(other) if !same(other, dims) => {
                    let row = (name.clone(), other.clone(), dims.clone());
                    mismatch.misshapen.push(row);
                }
                Some(_) => {}
            }
        }
        let unexpected = found.keys().filter(|name| !needed.contains_key(*name));
        mismatch.unexpected = unexpected.cloned().collect();
        mismatch
    }
}

/// Whether two shapes are the same but for axes of length 1 at the end: a classifier may be a 1x1
/// convolution.
fn same(a: &[usize], b: &[usize]) -> bool {
    fn trimmed(mut dims: &[usize]) -> &[usize] {
        while let [rest @ .., 1] = dims {
            dims = rest;
        }
        dims
    }
    a == b || trimmed(a) == trimmed(b)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |names: &[String]| -> Vec<String> {
            names.iter().take(SHOWN).map(|name| shorten(name)).collect()
        };
        let misshapen = self.misshapen.iter().take(SHOWN).map(|(name, found, needed)| {
            format!("{} (found {found:?}, expected {needed:?})", shorten(name))
        });
        let kinds = [
            ("missing", self.missing.len(), some(&self.missing)),
            ("unexpected", self.unexpected.len(), some(&self.unexpected)),
            ("misshapen", self.misshapen.len(), misshapen.collect()),
        ];
        let texts = kinds.iter().filter(|(_, count, _)| *count > 0);
        let texts = texts.map(|(kind, count, names)| {
            let dots = if *count > SHOWN { ", ..." } else { "" };
            format!("{count} {kind}: {}{dots}", names.join(", "))
        });
        f.write_str(&texts.collect::<Vec<_>>().join("; "))
    }
}

/// A network with its tensors' dimensions.
pub(super) struct Candidate {
    pub(super) arch: Arch,
    pub(super) mismatch: Mismatch,
}

/// What the tensors say beside the network: channels of the images, and classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) channels: usize,
    pub(super) classes: usize,
}

/// Reads channels and classes off the first and the last layer; what is not there is as the network
/// was designed.
pub(super) fn ends(found: &Dims) -> (Option<usize>, Option<usize>) {
    let first = found.get("conv1.weight").or(found.get("features.0.weight"));
    let channels = first.and_then(|dims| dims.get(1)).copied();
    let number = |name: &str| -> Option<u32> {
        name.strip_prefix("classifier.")?.strip_suffix(".weight")?.parse().ok()
    };
    let last = found.keys().filter_map(|name| Some((number(name)?, name))).max();
    let head = found.get("fc.weight").or(last.and_then(|(_, name)| found.get(name)));
    let classes = head.and_then(|dims| dims.first()).copied();
    (channels, classes)
}

/// Dimensions of every tensor that a network has for pictures of this side, or else for those it
/// was designed for.
pub(super) fn needed(arch: &Arch, ends: Ends, side: Option<usize>) -> Result<Dims, ImportError> {
    let design = arch.default_input();
    let side = side.unwrap_or(design.h);
    let graph = arch.graph(Shape::new(ends.channels, side, side), ends.classes)?;
    let shapes = op::shapes(&graph)?;
    let params = op::all_params(&graph, &shapes);
    Ok(params.into_iter().map(|(_, name, param)| (name, param.dims)).collect())
}

/// Channels and classes for a network, from its tensors where they say them.
pub(super) fn ends_for(arch: &Arch, found: &Dims) -> Ends {
    let (channels, classes) = ends(found);
    Ends {
        channels: channels.unwrap_or(arch.default_input().c),
        classes: classes.unwrap_or(arch.default_classes()),
    }
}

/// Networks in the order of how well they fit, best first; among equals, fewest options first, then
/// residual before plain, then the order of the catalogue. Empty if nothing is like these tensors.
///
/// A classifier may depend on the pictures' side, so the networks are those for `side`; one that
/// cannot read such pictures is compared as it was designed.
pub(super) fn candidates(
    found: &Dims,
    options: &[(&str, &str)],
    side: Option<usize>,
) -> Vec<Candidate> {
    let mut list: Vec<(usize, usize, bool, Candidate)> = Vec::new();
    let width =
        found.get("layer1.0.conv1.weight").and_then(|dims| dims.first()).copied().unwrap_or(0);
    let stem = match found.get("conv1.weight").and_then(|dims| dims.get(2)) {
        Some(7) => Some("imagenet"),
        Some(3) => Some("cifar"),
        _ => None,
    };
    let norm = found.keys().any(|name| name.ends_with(".running_var"));
    for base in net::with_blocks(&stages(found), width) {
        for shortcut in [None, Some("A"), Some("B"), Some("C")] {
            for first in [None, Some("stem"), Some("both")] {
                let mut arch = base.clone();
                let preset = options.iter().map(|&(key, value)| (key, Some(value)));
                let tried = [("stem", stem), ("shortcut", shortcut), ("first_norm", first)];
                for (key, value) in tried.into_iter().chain(preset) {
                    if let Some(value) = value {
                        // What a network has no place for stays as it is.
                        let _ = arch.set(key, value);
                    }
                }
                if !norm {
                    let _ = arch.set("norm", "none");
                }
                let known = |(_, _, _, other): &(_, _, _, Candidate)| other.arch == arch;
                if list.iter().any(known) {
                    continue;
                }
                let of_side = |side| needed(&arch, ends_for(&arch, found), side);
                let Ok(needed) = of_side(side).or_else(|_| of_side(None)) else {
                    continue;
                };
                let mismatch = Mismatch::between(found, &needed);
                let count = arch.name().matches('=').count();
                let plain = !arch.is_residual();
                list.push((mismatch.len(), count, plain, Candidate { arch, mismatch }));
            }
        }
    }
    list.sort_by_key(|(differences, options, plain, _)| (*differences, *options, *plain));
    list.into_iter().map(|(.., candidate)| candidate).collect()
}

/// Blocks of each stage, as the names count them.
fn stages(found: &Dims) -> Vec<usize> {
    let mut blocks: BTreeMap<u32, std::collections::BTreeSet<u32>> = BTreeMap::new();
    for name in found.keys() {
        let mut parts = name.split('.');
        let stage = parts.next().and_then(|part| part.strip_prefix("layer")?.parse().ok());
        let block = parts.next().and_then(|part| part.parse().ok());
        if let (Some(stage), Some(block)) = (stage, block) {
            blocks.entry(stage).or_default().insert(block);
        }
    }
    blocks.values().map(|blocks| blocks.len()).collect()
}
