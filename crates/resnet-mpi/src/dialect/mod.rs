//! What differs between the binary interfaces of MPIs: one file each.

mod mpich;
mod open_mpi;
mod standard;

use std::ffi::{c_int, c_void};

use libloading::Library;

pub(crate) use mpich::mpich;
pub(crate) use open_mpi::open_mpi;
pub(crate) use standard::standard;

use crate::text::{short, text};

/// A name that MPI gives to something of its own: a communicator, a type, a request.
pub(crate) trait Handle: Copy + Send + Sync + 'static {
    /// What a request is before MPI writes it.
    const EMPTY: Self;
}

/// Handles of MPICH's ABI.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) c_int);

impl Handle for Number {
    const EMPTY: Self = Self(0);
}

/// Handles of Open MPI and of the standard ABI.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Pointer(pub(crate) *mut c_void);

// SAFETY: the pointer is never followed here; MPI says which threads may use what it names.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Handle for Pointer {
    const EMPTY: Self = Self(std::ptr::null_mut());
}

/// The constants of a dialect.
pub(crate) struct Table<H> {
    /// `MPI_COMM_WORLD`.
    pub(crate) world: H,
    /// `MPI_FLOAT`.
    pub(crate) float: H,
    /// `MPI_BYTE`.
    pub(crate) byte: H,
    /// `MPI_SUM`.
    pub(crate) sum: H,
    /// `MPI_ERRORS_RETURN`.
    pub(crate) errors_return: H,
    /// `MPI_ANY_SOURCE`.
    pub(crate) any_source: c_int,
    /// `MPI_THREAD_MULTIPLE`.
    pub(crate) thread_multiple: c_int,
    /// Which int of a status is `MPI_SOURCE`.
    pub(crate) source: usize,
    /// Classes of errors that say that a process is lost.
    pub(crate) lost: &'static [c_int],
}

/// Binary interfaces that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Open MPI's own.
    OpenMpi,
    /// MPICH's, which Intel MPI, MVAPICH, Cray and ParaStation share.
    Mpich,
    /// That of MPI 5.
    Standard,
}

impl Dialect {
    /// Told before MPI starts.
    pub(crate) fn of(library: &Library) -> Result<Self, String> {
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
        type Text = unsafe extern "C" fn(*mut std::ffi::c_char, *mut c_int) -> c_int;
        // SAFETY: the standard gives this function these arguments.
        if let Ok(version) = unsafe { library.get::<Version>(b"MPI_Abi_get_version\0") } {
            let (mut major, mut minor) = (-1, -1);
            // SAFETY: two numbers to write to; it may be called before MPI starts.
            let code = unsafe { version(&mut major, &mut minor) };
            if code == 0 && major >= 1 {
                return match major {
                    1 => Ok(Self::Standard),
                    _ => Err(format!("its ABI is of version {major}, of which nothing is known")),
                };
            }
        }
        // SAFETY: only the address is taken.
        if unsafe { library.get::<*mut c_void>(b"ompi_mpi_comm_world\0") }.is_ok() {
            return Ok(Self::OpenMpi);
        }
        // SAFETY: the standard gives this function these arguments.
        let Ok(call) = (unsafe { library.get::<Text>(b"MPI_Get_library_version\0") }) else {
            return Err("it is no MPI, or one older than MPI 3".into());
        };
        // SAFETY: it may be called before MPI starts.
        let text = unsafe { text(*call) }.unwrap_or_default();
        let kin = ["mpich", "mvapich", "intel", "cray", "parastation"];
        let lower = text.to_lowercase();
        match kin.iter().any(|name| lower.contains(name)) {
            true => Ok(Self::Mpich),
            false => Err(format!("it is an MPI that is not known: {:?}", short(&text))),
        }
    }
}
