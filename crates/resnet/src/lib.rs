//! Residual networks, and the plain networks they are measured against: train them, evaluate them,
//! use them.
//!
//! From the bottom up, each using only what stands below it; a test holds it so:
//!
//! | module | what |
//! |---|---|
//! | [`engine`] | networks as graphs, plans and the devices that run them |
//! | [`base`] | small tools, usable everywhere |
//! | [`net`] | a catalogue of networks |
//! | [`data`] | pictures: readers, augmentation, batches |
//! | [`page`] | charts, pages and drawings |
//! | [`model`] | weights: how they start, model files, other programs' files |
//! | [`measure`] | metrics, probes, evaluation, predictions |
//! | [`mod@train`] | recipes, runs and what they tell |
//! | [`study`] | looks into networks, comparisons over depth, speed |
#![forbid(unsafe_code)]

pub use resnet_engine as engine;

pub mod base;
pub mod data;
pub mod measure;
pub mod model;
pub mod net;
pub mod page;
pub mod study;
pub mod train;
