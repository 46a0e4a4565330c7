//! The CPU as the kernels see it: an instruction set and a pool of threads; the first argument of
//! every kernel.

use std::marker::PhantomData;
use std::ops::Range;

use crate::isa::{Isa, Proof};
use crate::pool::Pool;
use crate::simd::{Scalar, Task};

/// An instruction set that this machine has and the threads that run kernels.
#[derive(Debug)]
pub struct Cpu {
    proof: Proof,
    pool: Pool,
    winograd: bool,
}

/// Name of the environment variable that switches Winograd's algorithm off (`off`) or leaves it on
/// (`on`).
pub const WINOGRAD_VARIABLE: &str = "RESNET_WINOGRAD";

/// Whether `RESNET_WINOGRAD` leaves Winograd's algorithm on, as it is where the variable is not
/// set.
///
/// # Errors
/// The value, if it is neither `on` nor `off`.
pub fn winograd_switch() -> Result<bool, String> {
    match std::env::var_os(WINOGRAD_VARIABLE) {
        None => Ok(true),
        Some(value) => match value.to_string_lossy().as_ref() {
            "on" | "" => Ok(true),
            "off" => Ok(false),
            other => {
                Err(format!("{WINOGRAD_VARIABLE}: unknown value {other:?}; known are on, off"))
            }
        },
    }
}

impl Cpu {
    /// `threads` threads (the caller counted, at least one) and the best instruction set
    /// `RESNET_ISA` allows.
    ///
    /// Values of `RESNET_ISA` and `RESNET_WINOGRAD` that are unknown count as unset here; a program
    /// that wants to report them calls [`Isa::best`] and [`winograd_switch`] first.
    pub fn new(threads: usize) -> Cpu {
        let isa = Isa::best().unwrap_or(Isa::best_up_to(Isa::Amx));
        Cpu {
            proof: Proof::probe(isa).unwrap_or(Proof::Scalar(Scalar)),
            pool: Pool::new(threads),
            winograd: winograd_switch().unwrap_or(true),
        }
    }

    /// `threads` threads and this instruction set; `None` if the machine lacks it.
    pub fn with_isa(isa: Isa, threads: usize) -> Option<Cpu> {
        Some(Cpu { proof: Proof::probe(isa)?, pool: Pool::new(threads), winograd: true })
    }

    /// The same, with Winograd's algorithm on or off: it is several times faster and three to ten
    /// times less exact than the sum as it is written.
    pub fn with_winograd(self, winograd: bool) -> Cpu {
        Cpu { winograd, ..self }
    }

    /// The same instruction set and switch on one thread, the caller's: for work that is done on
    /// several threads at once, each with kernels of its own.
    pub fn solo(&self) -> Cpu {
        Cpu { proof: self.proof, pool: Pool::new(1), winograd: self.winograd }
    }

    /// Whether convolutions may use Winograd's algorithm.
    pub fn winograd(&self) -> bool {
        self.winograd
    }

    /// As many threads as the operating system says this process may run at once.
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.proof.isa()
    }

    /// Proof of the instruction set in use.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn proof(&self) -> Proof {
        self.proof
    }

    /// Threads, the caller counted.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Runs `f` once for every task in `0..tasks`, on all threads, the caller's among them.
    ///
    /// A call from inside `f` runs on the thread it is made on. A panic in `f` is raised again
    /// here.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` tasks.
    pub fn parallel(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        self.pool.run(tasks, &|_, task| f(task));
    }

    /// As [`Cpu::parallel`], with the index of the thread, below [`Cpu::threads`], as `f`'s first
    /// argument.
    pub(crate) fn parallel_workers(&self, tasks: usize, f: impl Fn(usize, usize) + Sync) {
        self.pool.run(tasks, &f);
    }

    /// Runs `task` on this thread, compiled for the instruction set in use.
    pub(crate) fn run(&self, task: impl Task) {
        self.proof.run(task);
    }
}

/// A slice whose disjoint parts are written by different tasks.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a, T = f32> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: `Parts` hands out disjoint `&mut [T]`, which may go to other threads when `T` may.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Parts<'a, T> {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The part `range`.
    ///
    /// # Safety
    /// No other reference to any element of `range` is in use while the returned one is.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies in the slice that `new` borrowed mutably for 'a; the caller
        // vouches for disjointness.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The start of the part `range`, for writes to numbers that lie between those of other tasks.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    #[inline(always)]
    pub(crate) fn start_of(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.len);
        self.start.wrapping_add(range.start)
    }
}
