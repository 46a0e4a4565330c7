//! What can be said about foreign weights that they do not say themselves.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use super::ImportError;
use crate::base::files::read_bounded;
use crate::base::suggest::nearest;
use crate::net::Arch;

/// Largest list of classes that is read.
const MOST_BYTES: u64 = 64 << 20;
/// Keys that [`Choices::set`] knows.
const KEYS: [&str; 4] =
    ["preprocess.mean", "preprocess.std", "preprocess.resize", "preprocess.crop"];

/// What is known about the weights; the rest is inferred or assumed.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The network.
    pub arch: Option<Arch>,
    /// Class names by label, and the file they came from.
    pub classes: Option<(PathBuf, Vec<String>)>,
    /// Other names of the classes by label, such as the folders of ImageNet, by which data may call
    /// them too.
    pub aliases: Option<Vec<String>>,
    /// The weights' licence.
    pub licence: Option<String>,
    /// Mean of each channel, of 0..1; one number for all.
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel; one number for all.
    pub std: Option<Vec<f32>>,
    /// Pixels of the shorter side before the centre is cropped; 0 resizes only what does not fit.
    pub resize: Option<usize>,
    /// Side of the network's input, in pixels.
    pub crop: Option<usize>,
}

/// Something about weights that nobody said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Assumption {
    /// Which network they are of.
    Network {
        /// The one taken.
        arch: String,
        /// Those that have the same tensors.
        others: Vec<String>,
    },
    /// The names of so many classes are their numbers.
    Numbered(usize),
    /// The classes are CIFAR-10's.
    Cifar10,
    /// The layer of this name is the last one.
    Head(String),
    /// The weights are without a last layer, and only good to begin fine-tuning with.
    NoHead,
    /// What no weights show.
    Unseen,
    /// A part of the preprocessing.
    Preprocess {
        /// Which, as [`Choices::set`] calls it after `preprocess.`
        key: &'static str,
        /// What it was taken to be.
        value: String,
    },
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assumption::Network { arch, others } => {
                write!(f, "the network is {arch}; {} has the same tensors", others.join(" or "))
            }
            Assumption::Numbered(count) => {
                write!(f, "the {count} classes are called by their numbers")
            }
            Assumption::Cifar10 => f.write_str("the classes are CIFAR-10's"),
            Assumption::Head(name) => write!(f, "the last layer is {name}"),
            Assumption::NoHead => f.write_str(
                "there is no last layer: the model can be fine-tuned, and knows no classes before",
            ),
            Assumption::Unseen => f.write_str(
                "what weights do not show: ReLU, plain max pooling, no dilation, norms with \
                 eps=1e-5, colours in the order red, green, blue; a network with another \
                 activation, blur pooling or Caffe's blue, green, red (detectron2's R-50, OpenMMLab's \
                 caffe models) answers wrongly",
            ),
            Assumption::Preprocess { key, value } => write!(f, "preprocess.{key}={value}"),
        }
    }
}

impl Choices {
    /// Sets one choice by its key, `preprocess.mean` and so on.
    ///
    /// # Errors
    /// The key or value does not exist.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ImportError> {
        let wrong =
            |problem: String| ImportError::Choice { given: format!("{key}={value}"), problem };
        let list = || -> Result<Vec<f32>, ImportError> {
            let numbers: Result<Vec<f32>, _> = value.split(',').map(|x| x.trim().parse()).collect();
            match numbers {
                Ok(list) if matches!(list.len(), 1 | 3) && list.iter().all(|x| x.is_finite()) => {
                    Ok(list)
                }
                _ => Err(wrong("expected R,G,B as three numbers of 0..1, or one number".into())),
            }
        };
        let side = || -> Result<usize, ImportError> {
            let side = value.parse().ok().filter(|side| *side <= 65_535);
            side.ok_or_else(|| wrong("expected a number of pixels up to 65535".into()))
        };
        match key {
            "preprocess.mean" => self.mean = Some(list()?),
            "preprocess.std" => self.std = Some(list()?),
            "preprocess.resize" => self.resize = Some(side()?),
            "preprocess.crop" => match side()? {
                0 => return Err(wrong("expected at least 1".into())),
                crop => self.crop = Some(crop),
            },
            _ => {
                let known = match nearest(key, KEYS) {
                    Some(key) => format!("did you mean {key}? "),
                    None => String::new(),
                };
                return Err(wrong(format!("unknown key; {known}keys are {}", KEYS.join(", "))));
            }
        }
        Ok(())
    }
}

/// Classes by label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassList {
    /// Their names.
    pub names: Vec<String>,
    /// Other names, where the list has two for each class.
    pub aliases: Option<Vec<String>>,
}

/// Classes by label from a file: one name a line, or JSON: a list of names; an index `{"0":
/// ["n01440764", "tench"], ...}` whose last text is the name and whose first is another one; what
/// ImageFolder calls `class_to_idx`, `{"tench": 0, ...}`; what Hugging Face's configurations call
/// `id2label`, alone or in one. A name that stands for several classes of an index gets the class's
/// first text behind it.
///
/// # Errors
/// The file cannot be read, is no such list, has gaps, or calls two classes the same.
pub fn read_classes(path: &Path) -> Result<ClassList, ImportError> {
    let bytes = read_bounded(path, MOST_BYTES)?;
    let wrong = |problem: String| ImportError::Classes { path: path.into(), problem };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".into()))?;
    let text = text.trim_start_matches('\u{feff}');
    let json = |error: serde_json::Error| {
        wrong(format!(
            "{error}; expected one name a line, a JSON list of names, an index like {{\"0\": [\"n01440764\", \"tench\"]}}, or a class_to_idx like {{\"tench\": 0}}"
        ))
    };
    let mut aliases = None;
    let classes = match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let entries = match serde_json::from_str(text).map_err(json)? {
                Index::Config { id2label } => id2label,
                Index::Labels(labels) => by_label(labels).map_err(wrong)?,
                Index::Entries(entries) => entries,
            };
            let (names, others) = index(entries).map_err(wrong)?;
            aliases = others;
            names
        }
        Some(b'[') => serde_json::from_str(text).map_err(json)?,
        _ => {
            let lines = text.lines().map(str::trim).collect::<Vec<_>>();
            // Empty lines at the end belong to the file, one in between would shift all labels
            // after it.
            let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |i| i + 1);
            lines[..used].iter().map(ToString::to_string).collect()
        }
    };
    if let Some(label) = classes.iter().position(String::is_empty) {
        return Err(wrong(format!("class {label} has no name")));
    }
    if classes.is_empty() {
        return Err(wrong("it names no classes".into()));
    }
    let mut labels: HashMap<&str, usize> = HashMap::new();
    for (label, class) in classes.iter().enumerate() {
        if let Some(first) = labels.insert(class, label) {
            return Err(wrong(format!(
                "class `{class}` stands there twice, for the labels {first} and {label}; give each \
                 class a name of its own"
            )));
        }
    }
    Ok(ClassList { names: classes, aliases })
}

/// The kinds of JSON objects that name classes.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Index {
    Config { id2label: BTreeMap<String, Entry> },
    Labels(BTreeMap<String, u64>),
    Entries(BTreeMap<String, Entry>),
}

/// An index from labels by names.
fn by_label(labels: BTreeMap<String, u64>) -> Result<BTreeMap<String, Entry>, String> {
    let mut entries = BTreeMap::new();
    for (name, label) in labels {
        if let Some(Entry::Name(other)) =
            entries.insert(label.to_string(), Entry::Name(name.clone()))
        {
            return Err(format!("label {label} stands there for `{other}` and for `{name}`"));
        }
    }
    Ok(entries)
}

/// One entry of an index: the name, or texts of which the last is the name.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Entry {
    Name(String),
    Texts(Vec<String>),
}

/// Names by label, and the first texts where every class has one.
type Named = (Vec<String>, Option<Vec<String>>);

fn index(entries: BTreeMap<String, Entry>) -> Result<Named, String> {
    let count = entries.len();
    let mut classes: Vec<Option<(String, String)>> = vec![None; count];
    for (key, entry) in entries {
        let label: Option<usize> = key.parse().ok().filter(|label| *label < count);
        let Some(label) = label else {
            return Err(format!("label `{key}` of {count} classes; expected 0 to {}", count - 1));
        };
        let (first, name) = match entry {
            Entry::Name(name) => (String::new(), name),
            Entry::Texts(texts) => match texts.as_slice() {
                [first, .., name] => (first.clone(), name.clone()),
                [name] => (String::new(), name.clone()),
                [] => return Err(format!("label `{key}` has no name")),
            },
        };
        classes[label] = Some((first, name));
    }
    let Some(classes) = classes.into_iter().collect::<Option<Vec<_>>>() else {
        return Err("a label stands there twice, as in 1 and 01".into());
    };
    let mut counts: HashMap<&str, usize> = HashMap::new();
    classes.iter().for_each(|(_, name)| *counts.entry(name).or_default() += 1);
    let firsts: Vec<String> = classes.iter().map(|(first, _)| first.clone()).collect();
    let named = classes.iter().map(|(first, name)| {
        if counts[name.as_str()] > 1 && !first.is_empty() {
            format!("{name} ({first})")
        } else {
            name.clone()
        }
    });
    let all = !firsts.iter().any(String::is_empty);
    Ok((named.collect(), all.then_some(firsts)))
}
