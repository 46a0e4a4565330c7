//! The system's allocator, for programs: where it has no memory left the process ends with an error
//! that says so, instead of being aborted. Who asks for much by [`zeros`](super::zeros) is told by
//! `None` as ever.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

thread_local! {
    /// Whether this thread deals with a refusal itself.
    static DEALS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `ask`, which deals with memory that is refused.
pub(crate) fn may_fail<T>(ask: impl FnOnce() -> T) -> T {
    let before = DEALS.replace(true);
    let got = ask();
    DEALS.set(before);
    got
}

/// The system's allocator; to be a program's `#[global_allocator]`.
pub struct Telling;

impl Telling {
    fn checked(memory: *mut u8, bytes: usize) -> *mut u8 {
        if memory.is_null() && !DEALS.get() {
            tell(bytes);
        }
        memory
    }
}

impl Telling {
    /// Has memory of a mebibyte and more given back to the system as soon as it is freed, and now
    /// all that is free. glibc keeps what was freed for the next such piece, which after a few
    /// large pictures is as much as they were, for good. Pages are taken anew each time, which
    /// costs less than decoding.
    pub fn keep_nothing_large() {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: sets numbers of the allocator, of which any value is allowed, and gives back what
        // it holds free, under its own locks.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
            libc::malloc_trim(0);
        }
    }
}

/// Says what is wrong, in memory that is there, and ends the process.
#[cold]
fn tell(bytes: usize) -> ! {
    // Digits from the last; nothing may be allocated here.
    let mut digits = [b' '; 20];
    let mut left = bytes;
    let mut first = digits.len();
    while left > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let parts: [&[u8]; 3] = [
        b"error: the system has no memory left (",
        &digits[first..],
        b" bytes more were wanted); use a smaller batch, smaller images or fewer threads; what was \
          saved is as it was\n",
    ];
    for part in parts {
        // Nobody is left to tell of an error here.
        let _ = std::io::stderr().write_all(part);
    }
    std::process::exit(1)
}

// SAFETY: every call is handed to the system's allocator with the caller's own arguments, and what
// that returns is returned, or the process ends.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        Telling::checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        Telling::checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        Telling::checked(unsafe { System.realloc(memory, layout, size) }, size)
    }
}
