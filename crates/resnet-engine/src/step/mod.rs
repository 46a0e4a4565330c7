//! Steps and slots: what a plan is made of, and the two builders that operations append to
//! (`build`).
//!
//! A step is one kernel launch; a slot is a piece of memory it reads or writes. Both are plain
//! data: a backend needs nothing else, and never sees a network.

mod build;
mod data;
mod kind;

pub(crate) use build::{Differentiate, Lower};
pub use data::{LossSlots, Memory, Precision, Slot, SlotId, Space, Step};
pub use kind::{AddGrad, Conv, Linear, Norm, NormGrad, Pool, Residual, Rule, StepKind, Update};
