//! Residual networks, and the plain networks they are measured against: train them, evaluate them,
//! use them. A complete program:
//!
//! ```
//! use resnet::data::{Image, Memory};
//! use resnet::{Shape, Trainer};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // 64 grey pictures of 16 x 16 pixels: even ones have stripes that lie, odd ones that stand.
//!     let stripes = |i: usize| (0..256).map(move |p| [p / 16, p % 16][i % 2] / 2 % 2 * 255);
//!     let pixels = (0..64).flat_map(stripes).map(|v| v as u8).collect();
//!     let labels: Vec<u32> = (0..64).map(|i| i % 2).collect();
//!     let classes = vec!["lying".to_string(), "standing".to_string()];
//!     let data = Memory::new("stripes", Shape::new(1, 16, 16), pixels, labels, classes)?;
//!
//!     let trained = Trainer::new("resnet8").set("epochs", 12).set("batch", 8).data(data).run()?;
//!     trained.model.save("stripes.safetensors".as_ref())?;
//!
//!     let picture = Image::grey(16, 16, stripes(1).map(|v| v as u8).collect());
//!     let guess = trained.model.predictor()?.image(&picture, 1)?.remove(0);
//!     println!("{} {:.1} %", guess.label, 100.0 * guess.probability);
//!     assert_eq!(guess.label, "standing");
//! #   std::fs::remove_file("stripes.safetensors")?;
//!     Ok(())
//! }
//! ```
//!
//! [`Trainer`] takes any [`Dataset`](data::Dataset) and any key of a [recipe](train::recipe); it
//! keeps a run directory where asked to, and tells [events](train::event). What it returns, a
//! [`Model`], predicts, evaluates and is saved; `examples/` holds programs to start from.
//!
//! From the bottom up, each using only what stands below it; a test holds it so:
//!
//! | module | what |
//! |---|---|
//! | [`engine`] | networks as graphs, plans and the devices that run them |
//! | [`base`] | small tools, usable everywhere |
//! | [`device`] | what computes: the CPU or a GPU |
//! | [`ranks`] | several processes that train one network, and sums in an order of their own |
//! | [`net`] | a catalogue of networks |
//! | [`data`] | pictures: readers, augmentation, batches |
//! | [`page`] | charts, pages and drawings |
//! | [`model`] | weights: how they start, model files, other programs' files |
//! | [`measure`] | metrics, probes, evaluation, predictions, how far to trust them |
//! | [`mod@train`] | recipes, runs and what they tell |
//! | [`study`] | looks into networks, comparisons over depth, speed |
#![forbid(unsafe_code)]

pub use resnet_engine as engine;

pub mod base;
pub mod data;
pub mod device;
pub mod measure;
pub mod model;
pub mod net;
pub mod page;
pub mod ranks;
pub mod study;
pub mod train;

pub use engine::graph::Shape;
pub use engine::step::Precision;
pub use measure::evaluate::Evaluation;
pub use measure::predict::{Guess, Predictor};
pub use model::Model;
pub use train::{Trained, Trainer};
