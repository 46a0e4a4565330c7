//! Classifies pictures with a trained model, and shows where it looked.

mod answer;
mod cam;
mod legend;
mod overlay;
mod predictor;
mod workers;

pub use answer::{Answer, Ask, Guess, Look};
pub use cam::Cam;
pub use predictor::{How, Predictor};
