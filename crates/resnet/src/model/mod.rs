//! Weights: how they start, how they lie on disk and inside, model files, and other programs'
//! files.

mod error;
pub mod export;
pub mod foreign;
mod head;
mod layout;
mod model;
mod opened;
mod read;

pub use error::ModelError;
pub use layout::{begin_averages, copy, fit, initial, initialise, read, write, write_all};
pub use model::Model;
pub(crate) use model::PIXEL_MEAN;
pub use opened::Opened;
