//! Plans on a GPU of any vendor, by the driver that is installed: Vulkan, Metal or DirectX 12.
//!
//! Nothing is needed to build or to start. [`adapters`] says what there is, [`open`] makes one of
//! them a [`Device`](resnet_engine::exec::Device).
//!
//! A step of a plan is one to three kernels, each a text in WGSL with its
//! operands and constants (`op`: one file an operation). A backend makes them pipelines and
//! bindings once (`program`), over a plan's memory in a few buffers (`memory`). Sums are cut by
//! shape and joined in a fixed order, without atomics, so one device gives the same bits each time.
#![forbid(unsafe_code)]

mod adapter;
mod backend;
mod device;
mod gpu;
mod kernel;
mod memory;
mod op;
mod open;
mod program;

#[cfg(test)]
mod translation;

pub use adapter::{Adapter, Kind, Which, adapters};
pub use open::open;
