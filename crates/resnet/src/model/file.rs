//! Model files: weights with everything needed to use them.
//!
//! One safetensors file. Tensors have torchvision's names and layouts; the metadata says which
//! network they belong to, what its classes are called and how pictures become its inputs, so that
//! nothing has to be asked again.
//!
//! | metadata | content |
//! |---|---|
//! | `format` | `resnet/2`; `resnet/1` in files without a checksum |
//! | `resnet.crc32` | the file's checksum, see [`safetensors::CHECKSUM`] |
//! | `arch` | the network with its options, as [`Arch::parse`] reads it |
//! | `classes` | JSON list of class names |
//! | `classes.aliases` | JSON list of other names that data may call the classes by |
//! | `head` | `none` if the last layer is still to be trained: weights imported without one |
//! | `licence` | of the weights, where it is known |
//! | `recipe` | TOML of the recipe it was trained with, if it was trained here |
//! | `metrics` | JSON of its last evaluation: every metric, `split` and `count` |
//! | `imported_from` | the file it was imported from, if it was |
//! | `classes_from` | the file that its class names were imported from, if they were |
//! | `preprocess` | JSON of [`Preprocess`]; a per-pixel mean is the tensor `preprocess.mean`, `[h, w, c]` |
//! | `preprocess.mean` | the same as a JSON list, in files whose tensors are the network's alone |
//! | `confidence` | JSON of [`Confidence`], if it was calibrated: `temperature`, `threshold`, `precision`, `data`, `count`; where there is `unlike`, the limit, statistics are the tensors `confidence.quantiles`, `confidence.means` and `confidence.factor` |
//!
//! A PyTorch file that [`export`](super::export) wrote has the same metadata beside its tensors,
//! and is a model file as well.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use resnet_formats::safetensors::CHECKSUM;
use resnet_formats::{Array, FormatError, Tensors, safetensors};

use super::confidence::Confidence;
use super::error::ModelError;
use super::layout::{self, misfit, misshapen, none_of};
use super::read::{self, Found};
use crate::base::files::{self};
use crate::base::hash::{self, fnv1a};
use crate::data::Preprocess;
use crate::net::{Arch, ArchError};
use resnet_engine::exec::Session;
use resnet_engine::graph::Graph;
use resnet_engine::op::{self, Param};
use resnet_engine::plan::{ParamSlots, Plan};
use resnet_engine::step::SlotId;

/// Value of the metadata key `format` in files that may be without a checksum of their own.
const FORMAT: &str = "resnet/1";
/// The same in files that have one.
pub(crate) const CHECKED: &str = "resnet/2";
/// Name of the tensor that holds the per-pixel mean.
pub(crate) const PIXEL_MEAN: &str = "preprocess.mean";

/// Metadata key of where a run stands, in its checkpoints: of no use with weights alone.
pub(crate) const PROGRESS: &str = "progress";
/// Metadata key of other names of the classes.
pub(super) const ALIASES: &str = "classes.aliases";
/// Metadata key of a model without a trained last layer.
pub(super) const HEADLESS: &str = "head";

/// Whether texts are those of a model file.
pub(super) fn is_ours(metadata: &BTreeMap<String, String>) -> bool {
    metadata.get("format").is_some_and(|format| [FORMAT, CHECKED].contains(&format.as_str()))
}

/// A trained network, ready for use.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub arch: Arch,
    /// Names of its classes, by label.
    pub classes: Vec<String>,
    /// How pictures become inputs.
    pub preprocess: Preprocess,
    /// How sure it may be of its answers, if it was calibrated.
    pub confidence: Option<Confidence>,
    /// Parameters, running statistics and whatever else the file holds, and further metadata.
    pub tensors: Tensors,
    /// The file it came from; empty if it came from none.
    path: PathBuf,
}

impl Model {
    /// A model of a session's present weights.
    ///
    /// # Errors
    /// The device fails, or the session does not keep its weights.
    pub fn of(
        session: &Session,
        arch: Arch,
        classes: Vec<String>,
        preprocess: Preprocess,
    ) -> Result<Model, ModelError> {
        Model::reading(session, |slots| slots.value, arch, classes, preprocess)
    }

    /// The same of moving averages, where the session keeps them.
    ///
    /// # Errors
    /// The device fails.
    pub(crate) fn of_averages(
        session: &Session,
        arch: Arch,
        classes: Vec<String>,
        preprocess: Preprocess,
    ) -> Result<Model, ModelError> {
        let average = |slots: &ParamSlots| slots.average.unwrap_or(slots.value);
        Model::reading(session, average, arch, classes, preprocess)
    }

    fn reading(
        session: &Session,
        slot: impl Fn(&ParamSlots) -> SlotId,
        arch: Arch,
        classes: Vec<String>,
        preprocess: Preprocess,
    ) -> Result<Model, ModelError> {
        let mut tensors = Tensors::default();
        for slots in &session.plan().params {
            let values = layout::read(session, &slots.param, slot(slots))?;
            tensors.insert(slots.name.clone(), Array::f32(slots.param.dims.clone(), values));
        }
        Ok(Model::new(arch, classes, preprocess, tensors))
    }

    /// A model of these parts.
    pub fn new(
        arch: Arch,
        classes: Vec<String>,
        preprocess: Preprocess,
        tensors: Tensors,
    ) -> Model {
        Model { arch, classes, preprocess, confidence: None, tensors, path: PathBuf::new() }
    }

    /// Reads a model file or a checkpoint. Numbers go from the file straight into their arrays,
    /// once the header's shapes are known to be the network's.
    ///
    /// # Errors
    /// The message names the file, what was expected and what was found: in the texts, or, as
    /// [`Model::check_weights`] finds it, in the tensors.
    pub fn load(path: &Path) -> Result<Model, ModelError> {
        match read::find(path)? {
            Found::Stream(mut stream) => {
                let model = Model::described(path, std::mem::take(&mut stream.metadata))?;
                model.check_shapes(&stream.shapes().collect())?;
                model.with(read::rest(path, stream)?)
            }
            Found::Whole(tensors, _) => {
                let model = Model::described(path, tensors.metadata)?;
                model.with(tensors.entries)
            }
        }
    }

    /// The model with what its file holds, checked.
    pub(super) fn with(
        mut self,
        mut entries: BTreeMap<String, Array>,
    ) -> Result<Model, ModelError> {
        self.take_statistics(&mut entries)?;
        self.tensors.entries = entries;
        self.take_mean()?;
        self.check_weights()?;
        Ok(self)
    }

    /// A model of a file's texts, still without tensors, and without a per-pixel mean.
    pub(super) fn described(
        path: &Path,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<Model, ModelError> {
        let sum = metadata.remove(CHECKSUM);
        let mut take = |key: &'static str| {
            metadata.remove(key).ok_or_else(|| ModelError::Metadata {
                path: path.to_owned(),
                key,
                problem: "is missing".into(),
            })
        };
        let wrong =
            |key, problem: String| ModelError::Metadata { path: path.to_owned(), key, problem };
        let format = take("format")?;
        match format.as_str() {
            CHECKED if sum.is_none() => {
                return Err(wrong(CHECKSUM, "is missing, though the file had one".into()));
            }
            FORMAT | CHECKED => {}
            other => {
                let problem = format!("is `{other}`, this version reads `{CHECKED}`");
                return Err(wrong("format", problem));
            }
        }
        let (arch, classes, preprocess) = (take("arch")?, take("classes")?, take("preprocess")?);
        let arch = Arch::parse(&arch)
            .map_err(|error| ModelError::Arch { path: path.to_owned(), error })?;
        let classes: Vec<String> =
            serde_json::from_str(&classes).map_err(|e| wrong("classes", e.to_string()))?;
        let preprocess: Preprocess =
            serde_json::from_str(&preprocess).map_err(|e| wrong("preprocess", e.to_string()))?;
        if let Some(aliases) = metadata.get(ALIASES) {
            let aliases: Vec<String> =
                serde_json::from_str(aliases).map_err(|e| wrong(ALIASES, e.to_string()))?;
            if aliases.len() != classes.len() {
                let (found, expected) = (aliases.len(), classes.len());
                let problem = format!("holds {found} names for {expected} classes");
                return Err(wrong(ALIASES, problem));
            }
        }
        let mut model = Model::new(arch, classes, preprocess, Tensors::default());
        model.path = path.to_owned();
        model.take_confidence(&mut metadata)?;
        model.tensors.metadata = metadata;
        Ok(model)
    }

    /// Takes the per-pixel mean, where there is one, out of the tensors or texts.
    pub(super) fn take_mean(&mut self) -> Result<(), ModelError> {
        let bad = |error| ModelError::Preprocess { path: self.path.clone(), error };
        if self.preprocess.pixel_mean().is_some() {
            let mean = self.tensors.entries.remove(PIXEL_MEAN);
            let text = self.tensors.metadata.remove(PIXEL_MEAN);
            let mean = match (mean.as_ref().and_then(Array::to_f32), text) {
                (Some(mean), _) => mean.into_owned(),
                (None, Some(text)) => {
                    serde_json::from_str(&text).map_err(|e| ModelError::Metadata {
                        path: self.path.clone(),
                        key: PIXEL_MEAN,
                        problem: e.to_string(),
                    })?
                }
                (None, None) => Vec::new(),
            };
            self.preprocess.set_pixel_mean(mean).map_err(bad)?;
        }
        self.preprocess.check().map_err(bad)
    }

    /// The file it came from; empty if it came from none.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What its file holds.
    ///
    /// # Errors
    /// There is too little memory.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        let written = safetensors::write(&self.file(), &mut bytes);
        written
            .map(|()| bytes)
            .map_err(|error| ModelError::Format { path: self.path.clone(), error })
    }

    /// A model of what its file holds; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Model, ModelError> {
        let tensors = safetensors::read(bytes);
        let tensors =
            tensors.map_err(|error| ModelError::Format { path: path.to_owned(), error })?;
        Model::described(path, tensors.metadata)?.with(tensors.entries)
    }

    /// Writes the model file, the old one staying in place until the new one is whole.
    ///
    /// # Errors
    /// The file cannot be written, with the reason and what to try.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let tensors = self.file();
        let written = files::write_atomic(path, |to| {
            safetensors::write(&tensors, to).map_err(|error| match error {
                FormatError::Io(error) => error,
                other => std::io::Error::other(other),
            })
        });
        Ok(written?)
    }

    /// The tensors and texts of its file.
    fn file(&self) -> Tensors {
        let mut tensors = self.tensors.clone();
        tensors.metadata = self.metadata();
        tensors.metadata.insert("format".into(), CHECKED.into());
        self.add_confidence(&mut tensors.metadata, true);
        for (name, array) in self.statistics() {
            tensors.insert(name, array);
        }
        if let Some(mean) = self.preprocess.pixel_mean() {
            let shape = self.preprocess.shape;
            tensors.insert(PIXEL_MEAN, Array::f32(vec![shape.h, shape.w, shape.c], mean.to_vec()));
        }
        tensors
    }

    /// The texts of its file: those of the table above, and whatever else travels with it. A
    /// per-pixel mean is not among them, nor what says that there are statistics.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let json = |value: Result<String, serde_json::Error>| {
            value.expect("names and numbers always become JSON")
        };
        let mut metadata = self.tensors.metadata.clone();
        metadata.insert("format".into(), FORMAT.into());
        metadata.insert("arch".into(), self.arch.name());
        metadata.insert("classes".into(), json(serde_json::to_string(&self.classes)));
        let preprocess = json(serde_json::to_string(&self.preprocess));
        metadata.insert("preprocess".into(), preprocess);
        self.add_confidence(&mut metadata, false);
        metadata
    }

    /// A number of all that its answers depend on.
    pub(crate) fn digest(&self) -> u64 {
        let metadata = self.metadata();
        let texts = ["arch", "classes", "preprocess"].map(|key| metadata.get(key));
        let mut hash = texts
            .into_iter()
            .flatten()
            .fold(hash::BEGIN, |hash, text| fnv1a(hash, text.as_bytes().iter().chain(&[0xff])));
        if let Some(confidence) = &self.confidence {
            hash = fnv1a(hash, &confidence.temperature.to_le_bytes());
        }
        let numbers = |hash, numbers: &[f32]| {
            numbers.iter().fold(hash, |hash, x| fnv1a(hash, &x.to_le_bytes()))
        };
        let hash = self.preprocess.pixel_mean().map_or(hash, |mean| numbers(hash, mean));
        let arrays = self.tensors.entries.values().filter_map(Array::to_f32);
        arrays.fold(hash, |hash, array| numbers(hash, &array))
    }

    /// Other names of the classes by label, by which data may call them too; empty if there are
    /// none.
    pub(crate) fn aliases(&self) -> Vec<String> {
        let text = self.tensors.metadata.get(ALIASES);
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Whether the file is a checkpoint, from which a run may go on.
    pub fn is_checkpoint(&self) -> bool {
        self.tensors.metadata.contains_key(PROGRESS)
    }

    /// Checks that the model tells classes apart: weights that were imported without a last layer
    /// do not before they are fine-tuned.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_head(&self) -> Result<(), ModelError> {
        match self.tensors.metadata.contains_key(HEADLESS) {
            true => Err(ModelError::Headless { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// The network's layers.
    ///
    /// # Errors
    /// The network cannot read inputs of the preprocessing's shape.
    pub fn graph(&self) -> Result<Graph, ArchError> {
        self.arch.graph(self.preprocess.shape, self.classes.len())
    }

    /// Every parameter of the network.
    fn params(&self) -> Result<Vec<(String, Param)>, ModelError> {
        let path = || self.path.clone();
        let graph = self.graph().map_err(|error| ModelError::Arch { path: path(), error })?;
        let shapes =
            op::shapes(&graph).map_err(|error| ModelError::Shape { path: path(), error })?;
        let params = op::all_params(&graph, &shapes).into_iter();
        Ok(params.map(|(_, name, param)| (name, param)).collect())
    }

    /// Checks the shapes that a file says its tensors have, before memory is taken for any, or for
    /// a network that they are not of.
    pub(super) fn check_shapes(&self, found: &HashMap<&str, &[usize]>) -> Result<(), ModelError> {
        let params = self.params()?;
        let problems = params
            .iter()
            .filter_map(|(name, param)| misshapen(name, param, found.get(&**name).copied()));
        none_of(problems).map_err(|problem| self.misfit(problem))?;
        self.check_statistics(found)
    }

    /// Checks that the tensors are those of the network: all there, of the right shape, floats and
    /// finite, no variance negative. Whatever uses a model may rely on it; one that was read from a
    /// file has been checked.
    ///
    /// # Errors
    /// The network cannot read its inputs; or the first few tensors that do not fit, and how many
    /// more.
    pub fn check_weights(&self) -> Result<(), ModelError> {
        let params = self.params()?;
        let problems =
            params.iter().filter_map(|(name, param)| misfit(name, param, self.tensors.get(name)));
        none_of(problems).map_err(|problem| self.misfit(problem))
    }

    /// Checks that the tensors are those of a plan.
    ///
    /// # Errors
    /// A tensor is missing or has another shape; the first few are named.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), ModelError> {
        layout::fit(plan, &self.tensors).map_err(|problem| self.misfit(problem))
    }

    /// The error of a tensor that is not there.
    pub(crate) fn lacks(&self, name: &str) -> ModelError {
        self.misfit(format!("`{name}` is missing or does not hold floats"))
    }

    /// The error of tensors that are not the network's.
    pub(super) fn misfit(&self, problem: String) -> ModelError {
        ModelError::Tensors { path: self.path.clone(), arch: self.arch.name(), problem }
    }

    /// Writes the weights into a session.
    ///
    /// # Errors
    /// A tensor is missing or has another shape; the first few are named. Nothing is written then.
    pub fn apply(&self, session: &mut Session) -> Result<(), ModelError> {
        self.check(session.plan())?;
        Ok(layout::write_all(session, &self.tensors)?)
    }

    /// Moves the weights into a session: each array is given up once it is written, so that no more
    /// than one of them is ever in memory twice. What is left has no weights.
    ///
    /// # Errors
    /// As [`Model::apply`].
    pub fn hand_over(&mut self, session: &mut Session) -> Result<(), ModelError> {
        self.check(session.plan())?;
        let plan = session.plan().clone();
        let mut inside = Vec::new();
        for slots in &plan.params {
            let array = self.tensors.entries.remove(&slots.name);
            if let Some(values) = array.as_ref().and_then(Array::to_f32) {
                let inside = &mut inside;
                layout::write_through(session, &slots.param, slots.value, &values, inside)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Normalize;
    use resnet_engine::graph::Shape;

    #[test]
    fn other_names_of_classes_are_as_many_as_the_classes() {
        let normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.5] };
        let preprocess = Preprocess { shape: Shape::new(1, 8, 8), resize: None, normalize };
        let classes = ["ant", "bee"].map(String::from).to_vec();
        let arch = Arch::parse("resnet8").unwrap();
        let model = Model::new(arch, classes, preprocess, Tensors::default());
        let read = |aliases: &str| {
            let mut texts = model.metadata();
            texts.insert(ALIASES.into(), aliases.into());
            let read = Model::described(Path::new("m.safetensors"), texts);
            read.map(|model| model.aliases()).map_err(|error| error.to_string())
        };
        assert_eq!(read("[\"n1\", \"n2\"]"), Ok(vec!["n1".into(), "n2".into()]));
        for (aliases, problem) in [
            ("[\"n1\"]", "holds 1 names for 2 classes"),
            ("[\"n1\", \"n2\", \"n3\"]", "holds 3 names for 2 classes"),
            ("[1, 2]", "invalid type: integer"),
            ("[\"n1\"", "EOF while parsing"),
        ] {
            let error = read(aliases).unwrap_err();
            let start = "m.safetensors: metadata `classes.aliases` ";
            assert!(error.starts_with(&format!("{start}{problem}")), "{error}");
        }
    }
}
