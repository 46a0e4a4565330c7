//! `--precision` of the commands that run a network as it is.

use resnet::exec;
use resnet::step::Precision;

/// How maps are stored and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Asked {
    /// What is faster on this machine
    Auto,
    /// 32-bit floats
    F32,
    /// Their upper halves, summed in 32 bits: half the memory, three digits
    Bf16,
}

impl Asked {
    /// What it is here, and why, where that was left to this machine.
    pub(super) fn resolve(self) -> (Precision, Option<&'static str>) {
        match self {
            Asked::F32 => (Precision::F32, None),
            Asked::Bf16 => (Precision::Bf16, None),
            Asked::Auto => {
                let (precision, why) = exec::fastest_precision();
                (precision, Some(why))
            }
        }
    }
}
