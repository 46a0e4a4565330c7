//! A GPU that is meant, as a device.

use std::sync::Arc;

use resnet_engine::exec::{Device, OpenError};

use crate::adapter::{Adapter, Which, found};
use crate::device::GpuDevice;

/// Opens one of them, with so many threads of the host for what it does beside.
///
/// # Errors
/// There is none of that name, or its driver cannot compute.
pub fn open(which: &Which, threads: usize) -> Result<Arc<dyn Device>, OpenError> {
    let all = found();
    // A number that is no place is a part of a name, such as a model's.
    let which = &match which {
        Which::Index(index) if *index >= all.len() => Which::Named(index.to_string()),
        which => which.clone(),
    };
    let is_meant =
        |(index, (adapter, _)): &(usize, &(Adapter, wgpu::Adapter))| which.is(*index, adapter);
    let Some((_, (adapter, found))) = all.iter().enumerate().find(is_meant) else {
        return Err(OpenError(nothing(which, &all)));
    };
    Ok(Arc::new(GpuDevice::open(adapter.clone(), found, threads)?))
}

/// Why none of them is the one that is meant.
fn nothing(which: &Which, all: &[(Adapter, wgpu::Adapter)]) -> String {
    if all.is_empty() {
        return "no GPU was found: no driver for Vulkan, Metal or DirectX 12 answers".into();
    }
    let name = |(i, (adapter, _)): (usize, &(Adapter, wgpu::Adapter))| {
        format!("gpu:{i} is {} ({})", adapter.name, adapter.kind.name())
    };
    let names: Vec<String> = all.iter().enumerate().map(name).collect();
    let why = match which {
        Which::Best => "no GPU was found but software, which is taken by its name only".to_string(),
        _ => format!("there is no `{which}`"),
    };
    format!("{why}; {}", names.join(", "))
}
