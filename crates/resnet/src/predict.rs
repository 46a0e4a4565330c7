//! Classifies pictures with a trained model.

use std::path::Path;

use crate::data::{self, Augment, Image, Transform};
use crate::evaluate::{UseError, softmax};
use crate::exec::{Backend, Cpu};
use crate::plan::{Options, Plan};
use crate::weights::Model;

/// A model ready to classify pictures one by one.
pub struct Predictor {
    cpu: Cpu,
    transform: Transform,
    classes: Vec<String>,
    x: Vec<f32>,
    logits: Vec<f32>,
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
    /// Prepares a model.
    ///
    /// # Errors
    /// The file's parts do not fit each other.
    pub fn new(model: &Model, threads: usize) -> Result<Predictor, UseError> {
        let plan = Plan::build(&model.graph()?, Options::infer(1))?;
        model.check(&plan)?;
        let mut cpu = Cpu::new(plan, threads)?;
        model.apply(&mut cpu)?;
        let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
        let x = vec![0.0; model.preprocess.shape.len()];
        let logits = vec![0.0; model.classes.len()];
        Ok(Predictor {
            cpu,
            transform,
            classes: model.classes.clone(),
            x,
            logits,
        })
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
        order.sort_by(|&a, &b| {
            probabilities[b]
                .total_cmp(&probabilities[a])
                .then(a.cmp(&b))
        });
        let guess = |class: usize| Guess {
            class,
            label: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.into_iter().take(top).map(guess).collect()
    }
}
