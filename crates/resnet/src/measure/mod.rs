//! What can be told of a network: its size, its answers, its gradients.

pub mod confidence;
pub mod evaluate;
pub mod feature;
pub mod metric;
pub mod predict;
pub mod probe;
pub mod summary;
