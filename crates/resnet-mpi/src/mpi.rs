//! An MPI's calls on slices, whatever its binary interface; every code is looked at.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::dialect::{Handle, Table};
use crate::error::MpiError;
use crate::functions::{Functions, Revoke, Status};
use crate::text::{text, written};

/// What the notes of watchdogs are called.
const NOTE_TAG: c_int = 1;
/// Bytes of a note.
pub(crate) const NOTE: usize = 24;

/// How long others are waited for awake.
const AWAKE: Duration = Duration::from_micros(50);
/// What is slept at once is at most this part of what was waited before, and this long.
const PART: u32 = 8;
const LONGEST: Duration = Duration::from_millis(1);

/// Bytes that a call brings up to which its ranks wait for each other asleep; they are copied. What
/// is longer waits awake, once all have [come together](Mpi::come_together).
pub(crate) const SMALL: usize = 1 << 18;

/// Whether ranks that bring so many bytes each wait for each other asleep.
pub(crate) fn is_asleep(counts: &[usize]) -> bool {
    counts.iter().sum::<usize>() <= SMALL && counts.iter().all(|&len| len == counts[0])
}

/// Calls that an MPI answers. All but `abort` and those on notes are made by one thread, which
/// starts with `init`; notes are only used where `init` says that two threads may call.
pub(crate) trait Mpi: Send + Sync {
    /// Starts MPI; says whether several threads may call at once.
    fn init(&self) -> Result<bool, MpiError>;
    /// Ends it.
    fn finalize(&self) -> Result<(), MpiError>;
    /// Ends all processes.
    fn abort(&self, code: i32);
    /// This process's number, and how many there are.
    fn place(&self) -> Result<(usize, usize), MpiError>;
    /// The library's name and version, as it says them.
    fn version(&self) -> String;
    /// The name of this machine.
    fn host(&self) -> String;
    /// Makes errors come back, and a second communicator for the end and for notes.
    fn prepare(&self) -> Result<(), MpiError>;
    /// Waits on the second communicator for all.
    fn meet(&self) -> Result<(), MpiError>;
    /// Waits asleep until all ranks come here. Calls that bring more than [`SMALL`] bytes wait
    /// awake, and take a core from what is computed meanwhile.
    fn come_together(&self) -> Result<(), MpiError>;
    /// `send` and `recv` have one part of the same length for each of `ranks`.
    fn all_to_all(&self, send: &[f32], recv: &mut [f32], ranks: usize) -> Result<(), MpiError>;
    /// `recv` has one part of the length of `send` for each of `ranks`.
    fn all_gather(&self, send: &[f32], recv: &mut [f32], ranks: usize) -> Result<(), MpiError>;
    /// What rank r sends is `counts[r]` bytes; they lie one behind the other in `recv`.
    fn all_gather_bytes(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
    ) -> Result<(), MpiError>;
    /// The sum, in an order of the MPI's own.
    fn all_reduce(&self, send: &[f32], recv: &mut [f32]) -> Result<(), MpiError>;
    /// Makes the calls of all other ranks fail, where the MPI can go on without lost ones.
    fn revoke(&self);
    /// Begins to send a note.
    fn send_note(&self, to: usize, note: [u8; NOTE]) -> Result<Box<dyn Sending + '_>, MpiError>;
    /// A note that has come, and who sent it.
    fn receive_note(&self) -> Result<Option<(usize, [u8; NOTE])>, MpiError>;
}

/// A note under way.
pub(crate) trait Sending {
    /// Whether it has left; an error where it cannot.
    fn is_sent(&mut self) -> Result<bool, MpiError>;
}

/// An MPI with handles of one kind.
pub(crate) struct Bound<H> {
    functions: Functions<H>,
    revoke: Option<Revoke<H>>,
    table: Table<H>,
    second: OnceLock<H>,
}

impl<H: Handle> Bound<H> {
    /// # Safety
    /// Functions and constants are those of the same library.
    pub(crate) unsafe fn new(
        functions: Functions<H>,
        revoke: Option<Revoke<H>>,
        table: Table<H>,
    ) -> Self {
        Self { functions, revoke, table, second: OnceLock::new() }
    }

    fn check(&self, call: &'static str, code: c_int) -> Result<(), MpiError> {
        if code == 0 {
            return Ok(());
        }
        let mut class = code;
        // SAFETY: a number to write to.
        unsafe { (self.functions.error_class)(code, &mut class) };
        let say = |buffer: *mut c_char, len: *mut c_int| {
            // SAFETY: `text` gives memory for any text.
            unsafe { (self.functions.error_string)(code, buffer, len) }
        };
        let reason = written(say).unwrap_or_else(|| format!("error {code}"));
        Err(match self.table.lost.contains(&class) {
            true => MpiError::Lost { call, reason },
            false => MpiError::Failed { call, reason },
        })
    }

    fn second(&self) -> Result<H, MpiError> {
        self.second.get().copied().ok_or(MpiError::Ended)
    }
}

/// A count as MPI takes it. Callers cut what is longer.
fn count(len: usize) -> c_int {
    c_int::try_from(len).expect("calls are cut to what a number holds")
}

impl<H: Handle> Mpi for Bound<H> {
    fn init(&self) -> Result<bool, MpiError> {
        let wanted = self.table.thread_multiple;
        let mut provided = 0;
        // SAFETY: no arguments are given, which MPI allows; a number to write to.
        let code = unsafe {
            (self.functions.init_thread)(ptr::null_mut(), ptr::null_mut(), wanted, &mut provided)
        };
        self.check("MPI_Init_thread", code)?;
        Ok(provided >= wanted)
    }

    fn finalize(&self) -> Result<(), MpiError> {
        // SAFETY: the thread that started MPI ends it, when nobody else calls any more.
        self.check("MPI_Finalize", unsafe { (self.functions.finalize)() })
    }

    fn abort(&self, code: i32) {
        // SAFETY: the handle is this MPI's; the process ends here or in its caller.
        unsafe { (self.functions.abort)(self.table.world, code) };
    }

    fn place(&self) -> Result<(usize, usize), MpiError> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: the handle is this MPI's; a number to write to.
        let code = unsafe { (self.functions.comm_rank)(self.table.world, &mut rank) };
        self.check("MPI_Comm_rank", code)?;
        // SAFETY: as above.
        let code = unsafe { (self.functions.comm_size)(self.table.world, &mut size) };
        self.check("MPI_Comm_size", code)?;
        Ok((usize::try_from(rank).unwrap_or(0), usize::try_from(size).unwrap_or(1).max(1)))
    }

    fn version(&self) -> String {
        // SAFETY: the function is MPI's.
        unsafe { text(self.functions.get_library_version) }.unwrap_or_default()
    }

    fn host(&self) -> String {
        // SAFETY: the function is MPI's.
        unsafe { text(self.functions.get_processor_name) }.unwrap_or_default()
    }

    fn prepare(&self) -> Result<(), MpiError> {
        let (functions, table) = (&self.functions, &self.table);
        // SAFETY: both handles are this MPI's.
        let code = unsafe { (functions.comm_set_errhandler)(table.world, table.errors_return) };
        self.check("MPI_Comm_set_errhandler", code)?;
        let mut second = H::EMPTY;
        // SAFETY: the handle is this MPI's; a handle to write to. The copy keeps the error handler.
        let code = unsafe { (functions.comm_dup)(table.world, &mut second) };
        self.check("MPI_Comm_dup", code)?;
        let _ = self.second.set(second);
        Ok(())
    }

    fn meet(&self) -> Result<(), MpiError> {
        let second = self.second()?;
        // SAFETY: the handle is this MPI's.
        self.check("MPI_Barrier", unsafe { (self.functions.barrier)(second) })
    }

    fn come_together(&self) -> Result<(), MpiError> {
        let mut request = H::EMPTY;
        // SAFETY: the handle is this MPI's; a handle to write to.
        let code = unsafe { (self.functions.ibarrier)(self.table.world, &mut request) };
        self.check("MPI_Ibarrier", code)?;
        self.wait(&mut request)
    }

    fn all_to_all(&self, send: &[f32], recv: &mut [f32], ranks: usize) -> Result<(), MpiError> {
        assert!(send.len() == recv.len() && send.len().is_multiple_of(ranks), "a part for each");
        let part = count(send.len() / ranks);
        let Table { world, float, .. } = self.table;
        if size_of_val(recv) <= SMALL {
            return self.asleep("MPI_Ialltoall", send, recv, |from, to, request| {
                // SAFETY: both hold `part` numbers for each rank, and are kept until it is done.
                unsafe {
                    (self.functions.ialltoall)(from, part, float, to, part, float, world, request)
                }
            });
        }
        // SAFETY: both slices hold `part` numbers for each rank, and do not overlap.
        let code = unsafe {
            let (from, to) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
            (self.functions.alltoall)(from, part, float, to, part, float, world)
        };
        self.check("MPI_Alltoall", code)
    }

    fn all_gather(&self, send: &[f32], recv: &mut [f32], ranks: usize) -> Result<(), MpiError> {
        assert_eq!(send.len() * ranks, recv.len(), "a part for each");
        let part = count(send.len());
        let Table { world, float, .. } = self.table;
        if size_of_val(recv) <= SMALL {
            return self.asleep("MPI_Iallgather", send, recv, |from, to, request| {
                // SAFETY: `to` holds as many numbers as `from` for each rank; both are kept until
                // it is done.
                unsafe {
                    (self.functions.iallgather)(from, part, float, to, part, float, world, request)
                }
            });
        }
        // SAFETY: `recv` holds as many numbers as `send` for each rank; they do not overlap.
        let code = unsafe {
            let (from, to) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
            (self.functions.allgather)(from, part, float, to, part, float, world)
        };
        self.check("MPI_Allgather", code)
    }

    fn all_gather_bytes(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
    ) -> Result<(), MpiError> {
        assert_eq!(counts.iter().sum::<usize>(), recv.len(), "a place for each");
        if is_asleep(counts) {
            let part = count(send.len());
            let Table { world, byte, .. } = self.table;
            return self.asleep("MPI_Iallgather", send, recv, |from, to, request| {
                // SAFETY: `to` holds as many bytes as `from` for each rank; both are kept until it
                // is done.
                unsafe {
                    (self.functions.iallgather)(from, part, byte, to, part, byte, world, request)
                }
            });
        }
        let places = counts.iter().scan(0, |at, len| {
            let place = *at;
            *at += len;
            Some(count(place))
        });
        let places: Vec<c_int> = places.collect();
        let counts: Vec<c_int> = counts.iter().map(|&len| count(len)).collect();
        let Table { world, byte, .. } = self.table;
        // SAFETY: the parts lie one behind the other within `recv`; the slices do not overlap.
        let code = unsafe {
            let (from, to) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
            let (counts, places) = (counts.as_ptr(), places.as_ptr());
            (self.functions.allgatherv)(
                from,
                count(send.len()),
                byte,
                to,
                counts,
                places,
                byte,
                world,
            )
        };
        self.check("MPI_Allgatherv", code)
    }

    fn all_reduce(&self, send: &[f32], recv: &mut [f32]) -> Result<(), MpiError> {
        assert_eq!(send.len(), recv.len(), "as many sums as numbers");
        let len = count(send.len());
        let Table { world, float, sum, .. } = self.table;
        // SAFETY: both slices hold `len` numbers and do not overlap.
        let code = unsafe {
            let (from, to) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
            (self.functions.allreduce)(from, to, len, float, sum, world)
        };
        self.check("MPI_Allreduce", code)
    }

    fn revoke(&self) {
        if let Some(revoke) = self.revoke {
            // SAFETY: the handle is this MPI's. What it returns changes nothing for this rank.
            unsafe { revoke(self.table.world) };
        }
    }

    fn send_note(&self, to: usize, note: [u8; NOTE]) -> Result<Box<dyn Sending + '_>, MpiError> {
        let second = self.second()?;
        let mut sent = Box::new(Sent { mpi: self, request: H::EMPTY, note: Some(Box::new(note)) });
        let Sent { request, note, .. } = sent.as_mut();
        let bytes = note.as_ref().map_or(ptr::null(), |note| note.as_ptr());
        // SAFETY: the note lies in memory of its own, which is kept until it has left (`Sent`).
        let code = unsafe {
            let byte = self.table.byte;
            let (len, to) = (count(NOTE), count(to));
            (self.functions.isend)(bytes.cast(), len, byte, to, NOTE_TAG, second, request)
        };
        self.check("MPI_Isend", code)?;
        Ok(sent)
    }

    fn receive_note(&self) -> Result<Option<(usize, [u8; NOTE])>, MpiError> {
        let second = self.second()?;
        let (mut has_come, mut status) = (0, Status::default());
        // SAFETY: a number and a status to write to.
        let code = unsafe {
            let any = self.table.any_source;
            (self.functions.iprobe)(any, NOTE_TAG, second, &mut has_come, &mut status)
        };
        self.check("MPI_Iprobe", code)?;
        if has_come == 0 {
            return Ok(None);
        }
        let from = status.0[self.table.source];
        let mut note = [0; NOTE];
        // SAFETY: the note has memory for what is received; a status to write to.
        let code = unsafe {
            let (to, byte) = (note.as_mut_ptr().cast(), self.table.byte);
            (self.functions.recv)(to, count(NOTE), byte, from, NOTE_TAG, second, &mut status)
        };
        self.check("MPI_Recv", code)?;
        Ok(usize::try_from(from).ok().map(|from| (from, note)))
    }
}

impl<H: Handle> Bound<H> {
    /// Waits asleep until a request is done.
    fn wait(&self, request: &mut H) -> Result<(), MpiError> {
        let began = Instant::now();
        loop {
            let (mut done, mut status) = (0, Status::default());
            // SAFETY: the request is under way; a number and a status to write to.
            let code = unsafe { (self.functions.test)(request, &mut done, &mut status) };
            self.check("MPI_Test", code)?;
            if done != 0 {
                return Ok(());
            }
            let waited = began.elapsed();
            match waited < AWAKE {
                true => thread::yield_now(),
                false => thread::sleep((waited / PART).min(LONGEST)),
            }
        }
    }

    /// A call that goes on while its ranks sleep: `start` begins it, from and to memory of its own.
    fn asleep<T: Copy + Default>(
        &self,
        call: &'static str,
        send: &[T],
        recv: &mut [T],
        start: impl FnOnce(*const c_void, *mut c_void, *mut H) -> c_int,
    ) -> Result<(), MpiError> {
        let (from, mut to) = (send.to_vec(), vec![T::default(); recv.len()]);
        let mut request = H::EMPTY;
        let code = start(from.as_ptr().cast(), to.as_mut_ptr().cast(), &mut request);
        let done = self.check(call, code).and_then(|()| self.wait(&mut request));
        match done {
            Ok(()) => recv.copy_from_slice(&to),
            // Parts of what failed may still be under way, and come.
            Err(_) => std::mem::forget((from, to)),
        }
        done
    }
}

struct Sent<'a, H: Handle> {
    mpi: &'a Bound<H>,
    request: H,
    /// None once it has left.
    note: Option<Box<[u8; NOTE]>>,
}

impl<H: Handle> Sending for Sent<'_, H> {
    fn is_sent(&mut self) -> Result<bool, MpiError> {
        if self.note.is_none() {
            return Ok(true);
        }
        let (mut done, mut status) = (0, Status::default());
        // SAFETY: the request was made by `MPI_Isend` and is not done; numbers to write to.
        let code = unsafe { (self.mpi.functions.test)(&mut self.request, &mut done, &mut status) };
        if code != 0 || done != 0 {
            self.note = None;
        }
        self.mpi.check("MPI_Test", code).map(|()| done != 0)
    }
}

impl<H: Handle> Drop for Sent<'_, H> {
    fn drop(&mut self) {
        // MPI may still read what has not left.
        if self.is_sent() == Ok(false) {
            std::mem::forget(self.note.take());
        }
    }
}
