//! The commands: one file each, with its arguments and `run`. What several share stands in files of
//! its own.

mod address;
pub(crate) mod bench;
pub(crate) mod board;
pub(crate) mod calibrate;
mod cams;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod draw;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod export_events;
mod features;
pub(crate) mod finetune;
mod flags;
pub(crate) mod import;
pub(crate) mod inspect;
mod lr_find;
pub(crate) mod models;
mod parts;
mod paths;
mod precision;
pub(crate) mod predict;
pub(crate) mod serve;
pub(crate) mod summary;
pub(crate) mod train;
pub(crate) mod weights;
