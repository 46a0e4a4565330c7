//! Everything that one forward pass can tell of a picture.

use resnet_engine::exec::{ExecError, Session};

use super::cam::Cam;
use super::workers::Worker;
use super::{Guess, Predictor};
use crate::data::Image;
use crate::measure::confidence::{Confidence, Verdict, softmax};
use crate::measure::evaluate::UseError;

/// What is wanted of a picture besides its logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The embedding.
    pub embedding: bool,
    /// A heat map, and of which class.
    pub cam: Option<Look>,
}

/// The class that a heat map is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The most likely one.
    Likeliest,
    /// This one.
    Class(usize),
}

/// What a network says of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `[classes]`.
    pub logits: Vec<f32>,
    /// What the last layer reads: `[features]`. Where it was asked for.
    pub embedding: Option<Vec<f32>>,
    /// Where it was asked for.
    pub cam: Option<Cam>,
}

impl Predictor {
    /// What the network says of a picture.
    ///
    /// # Errors
    /// The device fails, the network's answer is not finite, or a heat map is wanted of a network
    /// that has none.
    ///
    /// # Panics
    /// If there is no such class, or a heat map is wanted of a predictor that was not
    /// [made for it](super::How::explain).
    pub fn answer(&self, image: &Image, ask: Ask) -> Result<Answer, UseError> {
        self.answer_with(ask, |x| self.transform.eval(image, x))
    }

    /// The same of an input that is resized, cropped and normalised: `[h, w, c]`.
    ///
    /// # Errors
    /// As [`Predictor::answer`].
    ///
    /// # Panics
    /// As [`Predictor::answer`], or if the length is another.
    pub fn answer_to_input(&self, input: &[f32], ask: Ask) -> Result<Answer, UseError> {
        self.answer_with(ask, |x| x.copy_from_slice(input))
    }

    fn answer_with(&self, ask: Ask, fill: impl FnOnce(&mut [f32])) -> Result<Answer, UseError> {
        let layer = ask.cam.map(|_| self.layer()).transpose()?;
        let answer = self.workers.with(|worker| {
            let Worker { session, x, logits } = worker;
            fill(x);
            session.infer(x, logits)?;
            let embedding = ask.embedding.then(|| embedding(session)).transpose()?;
            let class = ask.cam.map(|look| match look {
                Look::Class(class) => class,
                Look::Likeliest => self.guesses(logits, 1)[0].class,
            });
            let cam = layer.zip(class).map(|(layer, class)| self.cam(session, layer, class));
            Ok(Answer { logits: logits.clone(), embedding, cam: cam.transpose()? })
        })?;
        match answer.logits.iter().all(|x| x.is_finite()) {
            true => Ok(answer),
            false => Err(UseError::NotFinite { what: String::new(), arch: self.arch.clone() }),
        }
    }

    /// The `top` most likely classes by these logits, most likely first. The probabilities are
    /// calibrated if the model is.
    pub fn guesses(&self, logits: &[f32], top: usize) -> Vec<Guess> {
        let probabilities = self.probabilities(logits);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        let guess = |class: usize| Guess {
            class,
            label: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.into_iter().take(top).map(guess).collect()
    }

    /// The probability of each class by these logits, calibrated if the model is.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        softmax(logits, self.confidence.as_ref().map_or(1.0, |confidence| confidence.temperature))
    }

    /// How far an answer can be trusted: as far as the model is calibrated. How like the training
    /// pictures a picture is, is known of an answer with its [embedding](Ask::embedding).
    ///
    /// # Panics
    /// If the answer is another network's.
    pub fn verdict(&self, answer: &Answer) -> Verdict {
        let Some(Confidence { threshold, likeness, .. }) = &self.confidence else {
            return Verdict::default();
        };
        let most = self.probabilities(&answer.logits).into_iter().fold(0.0, f32::max);
        let sure = threshold.is_some_and(|threshold| most >= threshold);
        let likeness = likeness.as_ref().zip(answer.embedding.as_deref());
        let likeness = likeness.map(|(known, embedding)| (known.of(embedding), known.limit));
        Verdict {
            sure: Some(sure),
            likeness: likeness.map(|(share, _)| share),
            unlike: likeness.map(|(share, limit)| share < limit),
        }
    }

    /// How sure the model may be of its answers, if it was calibrated.
    pub fn confidence(&self) -> Option<&Confidence> {
        self.confidence.as_ref()
    }
}

/// What the last step of the forward pass, the head's, read for the picture inferred last.
fn embedding(session: &Session) -> Result<Vec<f32>, ExecError> {
    let plan = session.plan();
    let head = &plan.steps[plan.forward.end - 1];
    session.get(head.reads[0])
}
