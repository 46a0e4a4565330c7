//! `--precision` of the commands that run a network as it is.

use resnet::engine::exec::Device;
use resnet::engine::step::Precision;

use crate::term::tell;

/// How maps are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Asked {
    /// What is faster on this machine
    Auto,
    /// 32-bit floats
    F32,
    /// Their upper halves: half the memory, two to three digits
    Bf16,
}

impl Asked {
    /// What it is here; where that was left to the device, why is told.
    pub(super) fn resolve(self, device: &dyn Device) -> Precision {
        self.resolve_telling(device, tell)
    }

    /// The same, told in another form.
    pub(super) fn resolve_telling(self, device: &dyn Device, tell: impl Fn(&str)) -> Precision {
        match self {
            Asked::F32 => Precision::F32,
            Asked::Bf16 => Precision::Bf16,
            Asked::Auto => {
                let (precision, why) = device.precision();
                tell(&format!("precision {precision}: {why}"));
                precision
            }
        }
    }
}
