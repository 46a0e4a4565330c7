//! Networks as plans, and the devices that run them.
//!
//! A [`Graph`](graph::Graph) of layers becomes a [`Plan`](plan::Plan): a list of
//! [`Step`](step::Step)s over planned memory. A device runs the steps and sees nothing else.
//!
//! | module | what |
//! |---|---|
//! | [`graph`] | layers and how they connect, plain data |
//! | [`step`] | steps and slots, plain data |
//! | [`op`] | the operations: shape, parameters, cost, forward steps, backward steps |
//! | [`plan`] | graph to steps: lower, fuse, differentiate, recompute, lay out memory |
//! | [`picture`] | pictures resized and normalised, on the host |
//! | [`exec`] | runs plans; `exec/cpu` and `picture` alone see resnet-kernels |
#![forbid(unsafe_code)]

pub mod exec;
pub mod graph;
pub mod op;
pub mod picture;
pub mod plan;
pub mod step;
