//! Residual networks, and the plain networks they are measured against: train them, evaluate them,
//! use them.
//!
//! From the bottom up, each using only what stands below it; a test holds it so:
//!
//! | modules | what |
//! |---|---|
//! | [`graph`], [`arch`] | networks as data, and a catalogue of them |
//! | [`step`], [`op`], [`plan`] | a network becomes steps over planned memory |
//! | [`exec`] | runs the steps |
//! | [`data`], [`metric`], [`probe`], [`event`], [`schedule`], [`recipe`], [`weights`], [`report`], [`task`] | the nouns of training |
//! | [`mod@train`], [`mod@finetune`], [`mod@inspect`], [`compare`], [`mod@bench`], [`mod@evaluate`], [`predict`], [`mod@export`], [`mod@summary`], [`mod@draw`] | the verbs |
//! | [`files`], [`rng`], [`suggest`] | small tools, usable everywhere |
#![forbid(unsafe_code)]

pub mod arch;
pub mod bench;
pub mod compare;
pub mod data;
pub mod draw;
pub mod evaluate;
pub mod event;
pub mod exec;
pub mod export;
pub mod files;
pub mod finetune;
pub mod graph;
pub mod inspect;
pub mod metric;
mod number;
pub mod op;
pub mod plan;
pub mod predict;
pub mod probe;
pub mod recipe;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod step;
pub mod suggest;
pub mod summary;
pub mod task;
pub mod train;
pub mod weights;
