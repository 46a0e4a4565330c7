//! What GPUs there are, and which one is meant.

use std::fmt;
use std::str::FromStr;

use crate::gpu::{binding, wait};

/// What computes behind a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A card of its own.
    Discrete,
    /// A part of the processor, with its memory.
    Integrated,
    /// A virtual machine's.
    Virtual,
    /// The CPU, in place of a GPU: right, and slow.
    Software,
}

impl Kind {
    /// Its name: `discrete`, `integrated`, `virtual` or `software`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
            Kind::Software => "software",
        }
    }
}

/// A GPU and the driver that reaches it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// As its driver calls it, such as `NVIDIA H200` or `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub name: String,
    /// What computes.
    pub kind: Kind,
    /// The interface it is reached by: `Vulkan`, `Metal` or `DirectX 12`.
    pub api: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// Bytes that one array of numbers may take.
    pub largest_slot: u64,
}

impl Adapter {
    fn of(found: &wgpu::Adapter) -> Adapter {
        let (info, limits) = (found.get_info(), found.limits());
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Software,
        };
        let api = match info.backend {
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "DirectX 12",
            _ => "Vulkan",
        };
        let driver = [info.driver, info.driver_info];
        let driver: Vec<String> = driver.into_iter().filter(|text| !text.is_empty()).collect();
        Adapter {
            name: info.name,
            kind,
            api,
            driver: driver.join(" "),
            largest_slot: binding(&limits),
        }
    }
}

/// Which of them is meant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Which {
    /// The first that is no software.
    #[default]
    Best,
    /// By its place in [`adapters`].
    Index(usize),
    /// The first whose name has this in it, upper and lower case alike.
    Named(String),
}

impl Which {
    pub(crate) fn is(&self, index: usize, adapter: &Adapter) -> bool {
        match self {
            Which::Best => adapter.kind != Kind::Software,
            Which::Index(wanted) => index == *wanted,
            Which::Named(name) => adapter.name.to_lowercase().contains(&name.to_lowercase()),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Best => f.write_str("gpu"),
            Which::Index(index) => write!(f, "gpu:{index}"),
            Which::Named(name) => write!(f, "gpu:{name}"),
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text.split_once(':') {
            None if text == "gpu" => Ok(Which::Best),
            Some(("gpu", rest)) if !rest.is_empty() => Ok(match rest.parse() {
                Ok(index) => Which::Index(index),
                Err(_) => Which::Named(rest.to_string()),
            }),
            _ => Err(format!("`{text}` is no GPU; expected gpu, gpu:NUMBER or gpu:NAME")),
        }
    }
}

/// What there is, discrete ones first, software last; what cannot compute is left out.
pub(crate) fn found() -> Vec<(Adapter, wgpu::Adapter)> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let descriptor = wgpu::InstanceDescriptor {
        backends,
        // No layers that validate what is validated here.
        flags: wgpu::InstanceFlags::empty(),
        // Buffers are refused before memory is so full that the driver gives up what runs.
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: Some(90),
            for_device_loss: None,
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let instance = wgpu::Instance::new(descriptor);
    let all = wait(instance.enumerate_adapters(backends));
    let computes = |adapter: &wgpu::Adapter| {
        let flags = adapter.get_downlevel_capabilities().flags;
        flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    };
    let mut all: Vec<_> = (all.into_iter().filter(computes))
        .map(|adapter| (Adapter::of(&adapter), adapter))
        .collect();
    // What is reached by two interfaces counts once.
    let by_vulkan: Vec<(u32, u32)> = (all.iter())
        .filter(|(adapter, _)| adapter.api == "Vulkan")
        .map(|(_, found)| (found.get_info().vendor, found.get_info().device))
        .collect();
    all.retain(|(adapter, found)| {
        let info = found.get_info();
        adapter.api == "Vulkan" || !by_vulkan.contains(&(info.vendor, info.device))
    });
    all.sort_by_key(|(adapter, _)| adapter.kind);
    all
}

/// What GPUs there are, discrete ones first, software last.
pub fn adapters() -> Vec<Adapter> {
    found().into_iter().map(|(adapter, _)| adapter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["gpu", "gpu:1", "gpu:llvmpipe", "gpu:NVIDIA H200"] {
            assert_eq!(text.parse::<Which>().unwrap().to_string(), text);
        }
        for text in ["", "cpu", "gpu:", "gpu1", "GPU"] {
            assert!(text.parse::<Which>().unwrap_err().contains("expected gpu"), "{text}");
        }
    }

    #[test]
    fn software_is_taken_by_its_name_only() {
        let adapter = |name: &str, kind| Adapter {
            name: name.into(),
            kind,
            api: "Vulkan",
            driver: String::new(),
            largest_slot: 0,
        };
        let (card, pipe) = (adapter("A Card", Kind::Discrete), adapter("llvmpipe", Kind::Software));
        assert!(Which::Best.is(1, &card) && !Which::Best.is(0, &pipe));
        assert!(Which::Index(0).is(0, &pipe) && !Which::Index(0).is(1, &pipe));
        assert!(Which::Named("LLVM".into()).is(0, &pipe));
        assert!(!Which::Named("LLVM".into()).is(0, &card));
    }
}
