//! Instruction sets: which there are, which this CPU has, which one is used.

use std::fmt;
use std::str::FromStr;

#[cfg(target_arch = "x86_64")]
use crate::simd::{Amx, Avx2, Avx512};
use crate::simd::{Scalar, Task};

/// Name of the environment variable that caps the instruction set.
pub const ISA_VARIABLE: &str = "RESNET_ISA";

/// An instruction set that the kernels are compiled for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable code; the compiler uses whatever the build target guarantees (SSE2 on x86-64, NEON
    /// on 64-bit ARM).
    Scalar,
    /// AVX2 and FMA: 8 lanes.
    Avx2,
    /// AVX-512 F, VL, BW, DQ: 16 lanes.
    Avx512,
    /// AVX-512, and its products of pairs of bf16 for convolutions in that precision.
    Avx512Bf16,
    /// AVX-512, and AMX tiles of bf16 for convolutions in that precision.
    Amx,
}

impl Isa {
    /// All instruction sets, slowest first.
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// Whether this CPU and operating system run it.
    pub fn is_supported(self) -> bool {
        Proof::probe(self).is_some()
    }

    /// What this CPU runs, slowest first; never empty.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_supported()).collect()
    }

    /// The best of this CPU, at most what `RESNET_ISA` allows.
    ///
    /// # Errors
    /// `RESNET_ISA` is set to something that is not the name of an instruction set.
    pub fn best() -> Result<Isa, UnknownIsa> {
        let cap = match std::env::var_os(ISA_VARIABLE) {
            None => Isa::Amx,
            Some(name) if name.is_empty() => Isa::Amx,
            Some(name) => name.to_string_lossy().parse()?,
        };
        Ok(Isa::best_up_to(cap))
    }

    /// The best of this CPU that is not above `cap`.
    pub fn best_up_to(cap: Isa) -> Isa {
        let fits = |isa: &Isa| *isa <= cap && isa.is_supported();
        Isa::ALL.into_iter().rfind(fits).unwrap_or(Isa::Scalar)
    }

    /// The name, as `RESNET_ISA` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        }
    }

    /// Whether its products of bf16 are faster than those of f32 on this CPU. Tiles are; of pairs,
    /// AMD's cores multiply twice as many a cycle, and Intel's without tiles a quarter.
    pub fn favours_bf16(self) -> bool {
        match self {
            Isa::Amx => true,
            Isa::Avx512Bf16 => !is_intel(),
            _ => false,
        }
    }

    /// The instruction set of the vectors that go with it.
    pub const fn vectors(self) -> Isa {
        match self {
            Isa::Avx512Bf16 | Isa::Amx => Isa::Avx512,
            other => other,
        }
    }
}

/// Whether the CPU says that Intel made it.
#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    // Newer compilers know that it is safe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 CPU has CPUID, and leaf 0.
    let leaf = unsafe { std::arch::x86_64::__cpuid(0) };
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// A name that is no instruction set's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(pub String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{ISA_VARIABLE}: unknown instruction set {:?}; known are scalar, avx2, avx512, avx512bf16, amx",
            self.0
        )
    }
}

impl std::error::Error for UnknownIsa {}

/// Proof that this CPU runs an instruction set; made only by [`Proof::probe`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512<true>),
    #[cfg(target_arch = "x86_64")]
    Amx(Amx),
}

impl Proof {
    /// The proof, if this CPU and operating system run `isa`.
    pub(crate) fn probe(isa: Isa) -> Option<Proof> {
        match isa {
            Isa::Scalar => Some(Proof::Scalar(Scalar)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::probe().map(Proof::Avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::probe().map(Proof::Avx512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Avx512::probe().map(Proof::Avx512Bf16),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Amx::probe().map(Proof::Amx),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => None,
        }
    }

    pub(crate) fn isa(self) -> Isa {
        match self {
            Proof::Scalar(_) => Isa::Scalar,
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(_) => Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512Bf16(_) => Isa::Avx512Bf16,
            #[cfg(target_arch = "x86_64")]
            Proof::Amx(_) => Isa::Amx,
        }
    }

    /// Runs `task`, compiled for this instruction set.
    pub(crate) fn run<T: Task>(self, task: T) {
        match self {
            Proof::Scalar(simd) => task.run(simd),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(simd) => simd.run(task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(simd) => simd.run(task),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512Bf16(simd) => simd.run(task),
            #[cfg(target_arch = "x86_64")]
            Proof::Amx(amx) => amx.vectors().run(task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let error = "sse9".parse::<Isa>().unwrap_err();
        assert!(error.to_string().contains("\"sse9\"") && error.to_string().contains("avx512"));
    }

    #[test]
    fn scalar_runs_everywhere_and_a_cap_holds() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
        assert_eq!(Isa::best_up_to(Isa::Scalar), Isa::Scalar);
        assert!(Isa::best_up_to(Isa::Avx2) <= Isa::Avx2);
        assert_eq!(Some(Isa::best_up_to(Isa::Amx)), Isa::available().pop());
    }
}
