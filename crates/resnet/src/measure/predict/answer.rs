//! What is asked of a picture, and what is answered.

use super::cam::Cam;

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Index of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability, calibrated if the model is.
    pub probability: f32,
}

/// What is wanted of a picture besides its logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The embedding.
    pub embedding: bool,
    /// A heat map, and of which class.
    pub cam: Option<Look>,
    /// Whether more pictures wait to be asked about: then this one is computed by the thread that
    /// asks, which serves all of them best. It changes no bit of the answer.
    pub crowded: bool,
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
