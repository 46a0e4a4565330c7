//! Pictures with labels: where they come from, how they are prepared, how they reach the network in
//! batches.
//!
//! A [`Dataset`] gives one [`Image`] at a time; [`Preprocess`] and [`Augment`] say what is done to
//! it, [`Transform`] does it, [`Loader`] makes batches ahead of the trainer. [`open`] finds the
//! reader among [`formats`]: one file beside this one and one row in `source`, or what a program
//! [`register`]s.

mod augment;
mod builtin;
mod catalogue;
pub mod check;
mod cifar;
mod class_names;
mod dataset;
mod describe;
pub mod division;
mod error;
mod fingerprint;
mod folder;
mod format;
mod header;
mod idx;
mod list;
mod loader;
mod memory;
mod numbered;
mod pack;
mod parquet;
mod picture;
mod pictures;
mod preprocess;
mod refused;
mod remote;
mod resize;
mod role;
mod shards;
mod source;
pub mod stats;
mod store;
mod subset;
mod tar;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod walk;
mod zip;

pub use augment::{Augment, CROPS, RandomResizedCrop, Transform, View};
pub use cifar::CIFAR10_CLASSES;
pub use dataset::{Dataset, Image, Part, from_fn};
use describe::describe;
pub use error::{DataError, Warning};
pub(crate) use fingerprint::fingerprint;
pub use format::{BadFiles, Format, OpenOptions, Splits};
pub use loader::{Batch, Epoch, Loader, LoaderOptions, OnBroken, Share};
pub use memory::Memory;
pub(crate) use numbered::with_numbers;
pub use pack::{PackFormat, PackOptions, PackReport, PackStage, Shrink, pack};
pub use picture::{
    Packed, PictureFault, decode_picture, max_pixels, read_picture, read_picture_part,
};
pub use pictures::Index;
pub use preprocess::{Normalize, Preprocess};
pub use remote::without_secrets;
pub(crate) use resize::shrink;
pub use resnet_engine::picture::Area;
pub(crate) use role::is_test;
pub use role::split_name;
pub(crate) use shards::is_pattern;
pub(crate) use source::check_classes;
use source::find;
pub use source::{formats, index, open, register, split_source};
pub use subset::{Subset, split};
pub(crate) use subset::{with_aliases, with_classes};
pub use target::Targets;
pub use walk::{Walk, files_in};
