//! A model file whose tensors are still in it: for those who only run the network, and need each
//! number once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use resnet_formats::safetensors;

use super::error::ModelError;
use super::file::{Model, PIXEL_MEAN};
use super::layout::{misfit, none_of, unfit, write_through};
use super::read::{self, Found};
use resnet_engine::exec::Session;

/// A model without its tensors, and where they are.
pub(crate) struct Opened {
    /// Network, classes, preprocessing and further texts.
    pub(crate) model: Model,
    /// The tensors; `None` if the model has them already.
    stream: Option<safetensors::Stream<File>>,
}

impl From<Model> for Opened {
    fn from(model: Model) -> Opened {
        Opened { model, stream: None }
    }
}

impl Opened {
    /// Opens a model file or a checkpoint.
    ///
    /// # Errors
    /// As [`Model::load`], as far as the header goes.
    pub(crate) fn open(path: &Path) -> Result<Opened, ModelError> {
        let mut stream = match read::find(path)? {
            Found::Stream(stream) => stream,
            Found::Whole(tensors, _) => {
                let model = Model::described(path, tensors.metadata)?.with(tensors.entries)?;
                return Ok(model.into());
            }
        };
        let mut model = Model::described(path, std::mem::take(&mut stream.metadata))?;
        model.check_shapes(&stream.shapes().collect())?;
        if stream.shapes().any(|(name, _)| name == PIXEL_MEAN) {
            return Ok(model.with(read::rest(path, stream)?)?.into());
        }
        model.take_mean()?;
        Ok(Opened { model, stream: Some(stream) })
    }

    /// Writes the weights into a session, each as it is read; returns the model, which has none.
    ///
    /// # Errors
    /// The file cannot be read to its end, or a tensor is missing or does not fit; the session then
    /// holds some of them.
    pub(crate) fn hand_over(self, session: &mut Session) -> Result<Model, ModelError> {
        let mut model = self.model;
        let Some(stream) = self.stream else {
            model.check_confidence()?;
            model.hand_over(session)?;
            return Ok(model);
        };
        let plan = session.plan().clone();
        let params = &plan.params;
        let mut waiting: HashMap<&str, _> =
            params.iter().map(|slots| (slots.name.as_str(), slots)).collect();
        let (mut problems, mut inside) = (Vec::new(), Vec::new());
        let mut statistics = BTreeMap::new();
        for entry in stream {
            let (name, array) = entry.map_err(|error| read::failed(model.path(), error))?;
            let Some(slots) = waiting.remove(name.as_str()) else {
                if model.awaits(&name) {
                    statistics.insert(name, array);
                }
                continue;
            };
            let (name, param, values) = (&slots.name, &slots.param, array.to_f32());
            problems.extend(unfit(name, param, array.shape(), values.as_deref()));
            if problems.is_empty()
                && let Some(values) = values
            {
                write_through(session, param, slots.value, &values, &mut inside)?;
            }
        }
        let missing = params.iter().filter(|slots| waiting.contains_key(slots.name.as_str()));
        problems.extend(missing.filter_map(|slots| misfit(&slots.name, &slots.param, None)));
        none_of(problems.into_iter()).map_err(|problem| model.misfit(problem))?;
        model.take_statistics(&mut statistics)?;
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::TempDir;
    use crate::data::{Normalize, Preprocess};
    use crate::model;
    use crate::net::Arch;
    use resnet_engine::exec;
    use resnet_engine::graph::Shape;
    use resnet_engine::plan::{Options, Plan};
    use resnet_formats::Array;

    const SHAPE: Shape = Shape::new(3, 16, 16);

    fn session() -> Session {
        let graph = Arch::parse("resnet8").unwrap().graph(SHAPE, 3).unwrap();
        let plan = Plan::build(&graph, Options::infer(1)).unwrap();
        let mut session = Session::new(exec::cpu(1).unwrap().as_ref(), plan).unwrap();
        model::initialise(&mut session, &graph, 5).unwrap();
        session
    }

    fn model() -> Model {
        let arch = Arch::parse("resnet8").unwrap();
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
        let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
        Model::of(&session(), arch, classes, preprocess).unwrap()
    }

    #[test]
    fn a_file_gives_its_weights_as_a_loaded_model_does() {
        let folder = TempDir::new("opened");
        let path = folder.path().join("model.safetensors");
        model().save(&path).unwrap();
        let (mut one, mut other) = (session(), session());
        for session in [&mut one, &mut other] {
            let plan = session.plan().clone();
            for slots in &plan.params {
                session.write(slots.value, &vec![0.0; slots.param.len()]).unwrap();
            }
        }
        Model::load(&path).unwrap().hand_over(&mut one).unwrap();
        let opened = Opened::open(&path).unwrap();
        assert!(opened.stream.is_some() && opened.model.tensors.entries.is_empty());
        opened.hand_over(&mut other).unwrap();
        for slots in &one.plan().params {
            let [one, other] = [&one, &other].map(|session| session.get(slots.value).unwrap());
            assert_eq!(one, other, "{}", slots.name);
        }
    }

    #[test]
    fn what_does_not_fit_is_told_as_of_a_loaded_model() {
        let folder = TempDir::new("misfit");
        let path = folder.path().join("model.safetensors");
        let spoil: [fn(&mut Model); 3] = [
            |model| {
                model.tensors.entries.remove("fc.bias");
            },
            |model| model.tensors.insert("fc.bias", Array::f32(vec![2], vec![0.0; 2])),
            |model| model.tensors.insert("fc.bias", Array::f32(vec![3], vec![f32::NAN; 3])),
        ];
        for spoil in spoil {
            let mut model = model();
            spoil(&mut model);
            model.save(&path).unwrap();
            let expected = Model::load(&path).unwrap_err();
            let opened = Opened::open(&path);
            let found = opened.and_then(|opened| opened.hand_over(&mut session())).unwrap_err();
            assert_eq!(found.to_string(), expected.to_string());
        }
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let expected = Model::load(&path).unwrap_err();
        let found = Opened::open(&path).err().unwrap();
        assert_eq!(found.to_string(), expected.to_string());
    }
}
