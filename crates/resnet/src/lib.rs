//! Residual networks, and the plain networks they are measured against: train, evaluate, inspect, compare.
//!
//! Layers of the crate, each using only what stands below it:
//! verbs (`train`, `evaluate`, `predict`), nouns (`data`, `recipe`, `metric`, `event`, `weights`, `report`), `exec`, `plan`,
//! `op` and `arch`, `graph`. A test holds it so.
#![forbid(unsafe_code)]

pub mod event;
pub mod files;
pub mod graph;
pub mod metric;
pub mod recipe;
pub mod rng;
pub mod schedule;
pub mod suggest;
