//! Vectors of f32 whose width is chosen at run time.
//!
//! A kernel is a [`Task`]: written once over [`Simd`], compiled once per instruction set, run by
//! [`Proof::run`](crate::isa::Proof::run). Everything a task calls down to the [`Simd`] methods is
//! `#[inline(always)]`, so that it is compiled with the features of the function that it enters
//! there; plain loops over slices inside a task are vectorised by the compiler the same way.

#[cfg(target_arch = "x86_64")]
mod amx;
mod one;
mod scalar;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
pub(crate) use one::One;
pub(crate) use scalar::Scalar;
pub(crate) use vector::{Simd, Task};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{Avx2, Avx512};
