//! Weights trained elsewhere, made into complete models.
//!
//! A file is read by what it begins with, its tensors renamed by the first row of `NAMINGS` that
//! knows them, and the network found by names and shapes. What weights cannot say (the stride of a
//! bottleneck, how pictures were resized and normalised) is taken as the field does it, and each
//! such choice is told.

mod choices;
mod infer;
mod naming;
mod rest;
mod strangers;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use resnet_formats::{Array, Tensors, shorten};

use super::error::ModelError;
use super::file::{ALIASES, HEADLESS, Model, is_ours};
use super::labels::{CLASSES_FROM, IMPORTED_FROM};
use super::read::read;
use crate::base::files::FileError;
use crate::base::text;
use crate::data::{DataError, Normalize, Preprocess};
use crate::net::{Arch, ArchError};
use infer::{Candidate, Dims};
use resnet_engine::graph::Shape;
use resnet_engine::op::ShapeError;
use rest::Head;

pub use choices::{Assumption, Choices, ClassList, read_classes};
pub use infer::Mismatch;
use naming::{NAMINGS, Naming};

/// A model made of foreign weights.
#[derive(Clone, Debug)]
pub struct Import {
    /// The complete model.
    pub model: Model,
    /// Whose names the tensors had.
    pub naming: &'static str,
    /// What was taken for granted.
    pub assumed: Vec<Assumption>,
    /// What the file holds besides, one phrase each.
    pub ignored: Vec<String>,
}

/// Why foreign weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read, or is damaged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file beside it cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing to import.
    #[error("{} is a model of this program already; use it as it is", path.display())]
    Ours {
        /// The file.
        path: PathBuf,
    },
    /// The tensors' names are of no known kind.
    #[error(
        "{}: the names of its tensors are not known; found {found}, expected those of {}{}; \
         rename them, or say which network it is",
        path.display(), expected, like(looks_like)
    )]
    Names {
        /// The file.
        path: PathBuf,
        /// The first few names.
        found: String,
        /// The namings that are known.
        expected: String,
        /// What the network looks like, where it is none of ours.
        looks_like: Option<String>,
    },
    /// The tensors are not those of the network.
    #[error(
        "{}: the tensors ({naming}) do not fit network `{arch}`{}{}: {mismatch}{}{}",
        path.display(),
        if *asked { "" } else { ", the nearest that is known" },
        crop.map_or(String::new(), |side| format!(", for pictures of {side}x{side} pixels")),
        like(looks_like),
        if *asked { "" } else { "; if it is another, say which" }
    )]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Whose names they have.
        naming: &'static str,
        /// The network.
        arch: String,
        /// Whether it was asked for.
        asked: bool,
        /// Side of the pictures, where that was asked for; a classifier may depend on it.
        crop: Option<usize>,
        /// The differences.
        mismatch: Mismatch,
        /// What the network looks like, where it is none of ours.
        looks_like: Option<String>,
    },
    /// A tensor's numbers cannot be weights.
    #[error("{}: tensor `{tensor}` {problem}", path.display())]
    Numbers {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The list of classes does not fit.
    #[error("{}: {problem}", path.display())]
    Classes {
        /// The list's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A choice that does not exist, or has no such value.
    #[error("`{given}`: {problem}")]
    Choice {
        /// What was given.
        given: String,
        /// What is wrong, and what can be given.
        problem: String,
    },
    /// The network cannot be built for these images or classes.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A layer cannot read images of this size.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The preprocessing does not fit together.
    #[error(transparent)]
    Preprocess(#[from] DataError),
}

/// The part of a sentence that says what network tensors look like.
fn like(what: &Option<String>) -> String {
    what.as_ref().map_or(String::new(), |what| format!("; it looks like {what}, which is not read"))
}

impl ImportError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing. A file that is not what it should be is a failure.
    pub fn is_usage(&self) -> bool {
        match self {
            ImportError::Arch(error) => error.is_usage(),
            ImportError::Choice { .. } | ImportError::Shape(_) => true,
            ImportError::Model(_)
            | ImportError::File(_)
            | ImportError::Ours { .. }
            | ImportError::Names { .. }
            | ImportError::Tensors { .. }
            | ImportError::Numbers { .. }
            | ImportError::Classes { .. }
            | ImportError::Preprocess(_) => false,
        }
    }
}

/// Reads a file of weights trained elsewhere and makes a complete model of it.
///
/// safetensors and PyTorch's files are told apart by their first bytes. Arrays keep the type they
/// are stored in.
///
/// # Errors
/// [`ImportError`] names the file and what is missing, unexpected or misshapen.
pub fn import(path: &Path, choices: &Choices) -> Result<Import, ImportError> {
    let (tensors, mut ignored) = read(path)?;
    if is_ours(&tensors.metadata) {
        return Err(ImportError::Ours { path: path.into() });
    }
    let mut assumed = Vec::new();
    let Tensors { entries, metadata } = tensors;
    let Some((naming, prefix)) = Naming::of(&entries) else {
        return Err(unknown_names(path, entries.keys()));
    };
    let (entries, left_out) = rest::sort(entries, naming, &prefix);
    ignored.extend(left_out);
    let mut tensors = Tensors { entries, ..Tensors::default() };
    let head = rest::head(&mut tensors.entries, &mut ignored);
    let found: Dims = tensors
        .entries
        .iter()
        .map(|(name, array)| (name.clone(), array.shape().to_vec()))
        .collect();
    let arch = network(path, naming, &found, choices, &mut assumed)?;
    let ends = infer::ends_for(&arch, &found);
    let needed = infer::needed(&arch, ends, choices.crop)?;
    make_weights(path, &mut tensors, &needed)?;
    let classes = match head {
        Head::Missing => {
            if let Some((path, _)) = &choices.classes {
                let problem = "it names classes, and the weights have no last layer to tell them \
                               apart; import them without it, and fine-tune";
                return Err(ImportError::Classes { path: path.clone(), problem: problem.into() });
            }
            assumed.push(Assumption::NoHead);
            tensors.metadata.insert(HEADLESS.into(), "none".into());
            vec!["none".into()]
        }
        Head::Renamed(_) | Head::Ours => {
            classes(&arch, naming, ends.classes, choices, &mut assumed)?
        }
    };
    if let Head::Renamed(name) = &head {
        assumed.push(Assumption::Head(name.clone()));
    }
    let kernel = found.get("conv1.weight").and_then(|dims| dims.get(2)).copied();
    let small = arch.default_input().h < 64 || kernel == Some(3);
    let preprocess = preprocess(small, naming, ends.channels, choices, &mut assumed)?;
    assumed.push(Assumption::Unseen);
    if let Some(aliases) = choices.aliases.as_ref().filter(|list| list.len() == classes.len()) {
        let json = serde_json::to_string(aliases).expect("names always become JSON");
        tensors.metadata.insert(ALIASES.into(), json);
    }
    let licence = choices.licence.clone();
    let known = ["licence", "license"].iter().find_map(|key| metadata.get(*key).cloned());
    if let Some(licence) = licence.or(known) {
        tensors.metadata.insert("licence".into(), licence);
    }
    if let Some(name) = path.file_name() {
        let name = name.to_string_lossy().into_owned();
        tensors.metadata.insert(IMPORTED_FROM.into(), name);
    }
    if let Some((file, _)) = &choices.classes {
        tensors.metadata.insert(CLASSES_FROM.into(), text::path(file).to_string());
    }
    let model = Model::new(arch, classes, preprocess, tensors);
    model.graph()?;
    Ok(Import { model, naming: naming.name, assumed, ignored })
}

fn unknown_names<'a>(path: &Path, names: impl Iterator<Item = &'a String> + Clone) -> ImportError {
    let looks_like = strangers::looks_like(names.clone());
    let mut found: Vec<String> = names.take(5).map(|name| shorten(name)).collect();
    if found.len() == 5 {
        found[4] = "...".into();
    }
    let expected: Vec<&str> = NAMINGS.iter().map(|naming| naming.name).collect();
    ImportError::Names {
        path: path.into(),
        found: if found.is_empty() { "none".into() } else { found.join(", ") },
        expected: expected.join("; "),
        looks_like,
    }
}

/// The network that was asked for, or the one that the tensors belong to.
fn network(
    path: &Path,
    naming: &'static Naming,
    found: &Dims,
    choices: &Choices,
    assumed: &mut Vec<Assumption>,
) -> Result<Arch, ImportError> {
    let wrong = |arch: &Arch, asked, mismatch| ImportError::Tensors {
        path: path.into(),
        naming: naming.name,
        arch: arch.name(),
        asked,
        crop: choices.crop,
        mismatch,
        looks_like: strangers::looks_like(found.keys()),
    };
    if let Some(arch) = &choices.arch {
        let needed = infer::needed(arch, infer::ends_for(arch, found), choices.crop)?;
        let mismatch = Mismatch::between(found, &needed);
        return match mismatch.is_empty() {
            true => Ok(arch.clone()),
            false => Err(wrong(arch, true, mismatch)),
        };
    }
    let mut candidates = infer::candidates(found, naming.options, choices.crop).into_iter();
    let Some(Candidate { arch, mismatch }) = candidates.next() else {
        return Err(unknown_names(path, found.keys()));
    };
    if !mismatch.is_empty() {
        return Err(wrong(&arch, false, mismatch));
    }
    // Two names may stand for one network.
    let build = |arch: &Arch| arch.graph(arch.default_input(), arch.default_classes());
    let graph = build(&arch)?;
    let mut others: Vec<String> = candidates
        .take_while(|other| other.mismatch.is_empty())
        .filter(|other| build(&other.arch).is_ok_and(|other| other != graph))
        .map(|other| other.arch.name())
        .collect();
    // The stride of a bottleneck is an option where no row has it.
    let mut v1 = arch.clone();
    if v1.set("stride", "v1").is_ok() && v1 != arch && others.is_empty() {
        others.push(v1.name());
    }
    if !others.is_empty() {
        assumed.push(Assumption::Network { arch: arch.name(), others });
    }
    Ok(arch)
}

/// Checks that every array can be a weight, and gives it the network's shape.
fn make_weights(path: &Path, tensors: &mut Tensors, needed: &Dims) -> Result<(), ImportError> {
    for (name, array) in &mut tensors.entries {
        let wrong =
            |problem| ImportError::Numbers { path: path.into(), tensor: name.clone(), problem };
        match array.to_f32() {
            None => return Err(wrong("holds integers, expected floats")),
            Some(values) if values.iter().any(|x| !x.is_finite()) => {
                return Err(wrong("holds numbers that are not finite"));
            }
            Some(values) if name.ends_with(".running_var") && values.iter().any(|&x| x < 0.0) => {
                return Err(wrong("holds negative numbers, and variances have none"));
            }
            Some(_) => {}
        }
        if let Some(dims) = needed.get(name)
            && dims != array.shape()
        {
            let data = array.data().clone();
            *array = Array::new(dims.clone(), data).expect("axes of length 1 hold nothing more");
        }
    }
    Ok(())
}

fn classes(
    arch: &Arch,
    naming: &Naming,
    count: usize,
    choices: &Choices,
    assumed: &mut Vec<Assumption>,
) -> Result<Vec<String>, ImportError> {
    if let Some((path, classes)) = &choices.classes {
        if classes.len() != count {
            return Err(ImportError::Classes {
                path: path.clone(),
                problem: format!(
                    "it names {} classes, the network `{}` in the weights has {count}",
                    classes.len(),
                    arch.name()
                ),
            });
        }
        return Ok(classes.clone());
    }
    if count == 10 && naming.name == "pytorch_resnet_cifar10" {
        assumed.push(Assumption::Cifar10);
        return Ok(crate::data::CIFAR10_CLASSES.iter().map(ToString::to_string).collect());
    }
    assumed.push(Assumption::Numbered(count));
    Ok((0..count).map(|class| class.to_string()).collect())
}

fn preprocess(
    small: bool,
    naming: &Naming,
    channels: usize,
    choices: &Choices,
    assumed: &mut Vec<Assumption>,
) -> Result<Preprocess, ImportError> {
    let crop = choices.crop.unwrap_or_else(|| {
        let crop = if small { 32 } else { 224 };
        assumed.push(Assumption::Preprocess { key: "crop", value: crop.to_string() });
        crop
    });
    let resize = choices.resize.unwrap_or_else(|| {
        // 256 for a crop of 224, and in proportion, as the field does it.
        let resize = if small { 0 } else { (crop * 8).div_ceil(7) };
        let none = if resize == 0 { " (none)" } else { "" };
        assumed.push(Assumption::Preprocess { key: "resize", value: format!("{resize}{none}") });
        resize
    });
    let usual = if small { naming::CIFAR } else { naming::IMAGENET };
    let usual = naming.normalize.unwrap_or(usual).map(|of_rgb| match channels {
        1 => vec![of_rgb.iter().sum::<f32>() / 3.0],
        _ => of_rgb.to_vec(),
    });
    let mut take = |key: &'static str, chosen: &Option<Vec<f32>>, usual: &Vec<f32>| {
        let list = chosen.clone().unwrap_or_else(|| {
            let texts: Vec<String> = usual.iter().map(ToString::to_string).collect();
            assumed.push(Assumption::Preprocess { key, value: texts.join(",") });
            usual.clone()
        });
        // One number counts for every channel.
        if list.len() == 1 { vec![list[0]; channels] } else { list }
    };
    let mean = take("mean", &choices.mean, &usual[0]);
    let std = take("std", &choices.std, &usual[1]);
    let preprocess = Preprocess {
        shape: Shape::new(channels, crop, crop),
        resize: (resize > 0).then_some(resize),
        normalize: Normalize::Channel { mean, std },
    };
    preprocess.check()?;
    Ok(preprocess)
}
