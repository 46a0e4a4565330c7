//! Small tools that know nothing of networks.

pub mod files;
pub(crate) mod hash;
pub mod machine;
pub(crate) mod number;
pub mod rng;
pub mod suggest;
pub mod text;
pub(crate) mod threads;
