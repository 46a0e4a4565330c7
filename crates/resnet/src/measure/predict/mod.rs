//! Classifies pictures with a trained model, and shows where it looked.

mod cam;

use std::path::Path;

use crate::data::{self, Augment, Image, Transform};
use crate::measure::evaluate::{UseError, softmax};
use crate::model::{Model, Opened};
use resnet_engine::exec::{Backend, Cpu};
use resnet_engine::graph::{LayerId, Shape};
use resnet_engine::op;
use resnet_engine::plan::{Mode, Options, Plan};
use resnet_engine::step::Precision;

pub use cam::Cam;

/// A model ready to classify pictures one by one.
pub struct Predictor {
    cpu: Cpu,
    transform: Transform,
    classes: Vec<String>,
    x: Vec<f32>,
    logits: Vec<f32>,
    /// The layer whose maps are looked at, where the predictor explains.
    layer: Option<LayerId>,
    shape_of_layer: Shape,
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability.
    pub probability: f32,
}

impl Predictor {
    /// Prepares a model, whose weights move in, to compute with maps of some precision.
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn new(model: Model, precision: Precision, threads: usize) -> Result<Predictor, UseError> {
        Predictor::prepare(model.into(), precision, threads, None)
    }

    /// The same of a model file, whose weights are read as they are needed.
    ///
    /// # Errors
    /// The file cannot be read, or its parts do not fit each other.
    pub fn open(path: &Path, precision: Precision, threads: usize) -> Result<Predictor, UseError> {
        Predictor::prepare(Opened::open(path)?, precision, threads, None)
    }

    /// Prepares a model to classify and to explain, in f32; see [`Predictor::cam`].
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn explaining(model: Model, threads: usize) -> Result<Predictor, UseError> {
        let layer = cam::layer(&model.graph()?)?;
        Predictor::prepare(model.into(), Precision::F32, threads, Some(layer))
    }

    fn prepare(
        opened: Opened,
        precision: Precision,
        threads: usize,
        layer: Option<LayerId>,
    ) -> Result<Predictor, UseError> {
        let options = Options {
            mode: layer.map_or(Mode::Infer, |layer| Mode::Explain { layer }),
            precision,
            ..Options::infer(1)
        };
        let graph = opened.model.graph()?;
        let shape_of_layer = op::shapes(&graph)?[layer.unwrap_or(graph.output()).0];
        let plan = Plan::build(&graph, options)?;
        let mut cpu = Cpu::new(plan, threads)?.taking_weights();
        let model = opened.hand_over(&mut cpu)?;
        let x = vec![0.0; model.preprocess.shape.len()];
        let logits = vec![0.0; model.classes.len()];
        let transform = Transform::new(model.preprocess, Augment::default())?;
        Ok(Predictor { cpu, transform, classes: model.classes, x, logits, layer, shape_of_layer })
    }

    /// The `top` most likely classes of the picture in a file, most likely first.
    ///
    /// # Errors
    /// The file is not a picture that can be read.
    pub fn file(&mut self, path: &Path, top: usize) -> Result<Vec<Guess>, UseError> {
        let mut image = Image::default();
        data::read_picture(path, &mut image)?;
        Ok(self.image(&image, top))
    }

    /// How pictures become inputs.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The `top` most likely classes of a picture, most likely first.
    pub fn image(&mut self, image: &Image, top: usize) -> Vec<Guess> {
        self.transform.eval(image, &mut self.x);
        let (input, logits, forward) = {
            let plan = self.cpu.plan();
            (plan.input, plan.logits, plan.forward.clone())
        };
        self.cpu.write(input, &self.x);
        self.cpu.run(forward);
        self.cpu.read(logits, &mut self.logits);
        let probabilities = softmax(&self.logits);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let guess = |class: usize| Guess {
            class,
            label: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.into_iter().take(top).map(guess).collect()
    }
}
