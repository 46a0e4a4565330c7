//! `--precision` of the commands that run a network as it is.

use resnet::engine::exec;
use resnet::engine::step::Precision;

use crate::observer::tell;

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
    /// What it is here; where that was left to this machine, why is told.
    pub(super) fn resolve(self) -> Precision {
        let (precision, why) = exec::precision(match self {
            Asked::F32 => Some(Precision::F32),
            Asked::Bf16 => Some(Precision::Bf16),
            Asked::Auto => None,
        });
        if let Some(why) = why {
            tell(&format!("precision {precision}: {why}"));
        }
        precision
    }
}
