//! Whether AMX may be used: tiles are state that the operating system must agree to save.

use std::arch::x86_64::__cpuid_count;

use super::x86_64::Avx512;

/// Proof of AMX with bf16 products, and of AVX-512 with bf16 beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(Avx512<true>);

impl Amx {
    pub(crate) fn probe() -> Option<Amx> {
        let vectors = Avx512::probe()?;
        let features = __cpuid_count(7, 0).edx;
        let (bf16, tile) = (features >> 22 & 1 == 1, features >> 24 & 1 == 1);
        (bf16 && tile && may_use_tiles()).then_some(Amx(vectors))
    }

    /// The vectors that go with it.
    pub(crate) fn vectors(self) -> Avx512<true> {
        self.0
    }
}

/// Asks Linux for tile state in this process; asking twice is no error.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: the call takes two numbers and touches no memory of this process; the instruction
    // changes rcx and r11 alone.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}
