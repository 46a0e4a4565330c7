//! Residual networks, and the plain networks they are measured against: train, evaluate, inspect, compare.
//!
//! Layers of the crate, each using only what stands below it:
//! verbs (`train`, `evaluate`, `predict`), nouns (`data`, `recipe`, `metric`, `event`, `weights`, `report`), `exec`, `plan`,
//! `op` and `arch`, `graph`. A test holds it so.
#![forbid(unsafe_code)]

pub mod data;
pub mod graph;
pub mod rng;
