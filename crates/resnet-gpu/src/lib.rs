//! Plans on a GPU of any vendor, by the driver that is installed: Vulkan, Metal or DirectX 12.
//!
//! Nothing is needed to build or to start. [`adapters`] says what there is, [`open`] makes one of
//! them a [`Device`](resnet_engine::exec::Device).
#![forbid(unsafe_code)]

mod adapter;

pub use adapter::{Adapter, Kind, Which, adapters, open};
