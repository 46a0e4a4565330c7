//! Weights: how they start, how they lie on disk and inside, model files, and other programs'
//! files.

pub(crate) mod confidence;
mod error;
pub mod export;
mod file;
pub mod foreign;
mod head;
mod labels;
mod layout;
mod opened;
pub mod published;
mod read;

pub use confidence::{Confidence, Likeness};
pub use error::ModelError;
pub use file::Model;
pub(crate) use file::{CHECKED, PIXEL_MEAN, PROGRESS};
pub use layout::{begin_averages, copy, initial, initialise, read, write};
pub(crate) use layout::{fit, write_all};
pub(crate) use opened::Opened;
pub use read::MOST_BYTES;
