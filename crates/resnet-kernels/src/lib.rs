//! The operations of residual networks on slices: fast on this CPU, and once more plainly.
//!
//! Everything works on slices in NHWC order, maps of f32 or [`Bf16`], parameters of f32, with a
//! [`Cpu`] (instruction set and threads) as first argument. A kernel allocates nothing; what it
//! needs beyond its operands is the caller's `scratch`, of the length its `scratch_len` says.
//! Lengths are checked on entry; a wrong one is a bug of the caller and panics. Results do not
//! depend on the number of threads, bit for bit: what is summed is cut by shape alone and combined
//! in a fixed order.
//!
//! [`jpeg`] and [`picture`] know no [`Cpu`]: they compute what a decoder and a loader of pictures
//! ask of them, one picture a thread.
//!
//! [`mod@reference`] holds every operation again in plain f64 loops.

mod allocator;
pub mod batch_norm;
mod bf16;
mod columns;
mod conv;
mod cpu;
pub mod diagnose;
mod each;
pub mod elementwise;
mod isa;
pub mod jpeg;
pub mod lars;
pub mod linear;
pub mod loss;
mod memory;
mod number;
pub mod peak;
pub mod picture;
mod pool;
pub mod pool2d;
pub mod reference;
mod residual;
mod scratch;
pub mod sgd;
mod simd;
mod split;
pub mod time;

pub use allocator::Telling;
pub use bf16::Bf16;
pub use conv::{Conv2d, Conv2dShape, Epilogue, Map, Packing};
pub use cpu::{Cpu, WINOGRAD_VARIABLE, winograd_switch};
pub use isa::{ISA_VARIABLE, Isa, UnknownIsa};
pub use lars::Lars;
pub use memory::{CACHE_LINE, LINE, line_start, zeros};
pub use number::Number;
pub use pool2d::Pool2dShape;
pub use residual::{Residual, ResidualGrad};
pub use scratch::{Scratch, ScratchLen};
pub use sgd::Sgd;
