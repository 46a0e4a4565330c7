//! From a graph to steps over planned memory, for one batch size and one mode: the narrow waist of
//! the engine.
//!
//! `lower` turns layers into forward steps, `fuse` joins neighbours, `differentiate` appends the
//! backward steps, `recompute` spares memory, `memory` gives every slot its place. Each is a
//! function over plain data, and `text` prints the result.

mod buckets;
mod build;
mod differentiate;
mod fuse;
mod memory;
mod options;
mod program;
mod recompute;
mod text;
mod update;

#[cfg(test)]
mod tests;

pub use memory::BLOCK;
pub use options::{Frozen, Mode, Optimizer, Options};
pub use program::{Bucket, ParamSlots, Plan, Training};
