//! The functions of MPI that are called, found by name.

use std::ffi::{c_char, c_int, c_void};

use libloading::Library;

/// What a call says of a message. MPIs differ in fields and size; none has more than this.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default)]
pub(crate) struct Status(pub(crate) [c_int; 16]);

/// `MPIX_Comm_revoke`, which MPIs have that can go on without processes that are lost.
pub(crate) type Revoke<H> = unsafe extern "C" fn(H) -> c_int;

/// Finds it, where there is one.
///
/// # Safety
/// The library is an MPI whose handles are `H`, and stays loaded.
pub(crate) unsafe fn revoke<H>(library: &Library) -> Option<Revoke<H>> {
    // SAFETY: the caller says what handles are.
    unsafe { library.get::<Revoke<H>>(b"MPIX_Comm_revoke\0") }.ok().map(|found| *found)
}

macro_rules! functions {
    ($($field:ident: $symbol:literal($($argument:ty),*);)*) => {
        /// Functions of an MPI whose handles are `H`. Each returns MPI's code.
        pub(crate) struct Functions<H> {
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl<H> Functions<H> {
            /// Finds all of them; what is missing is the error.
            ///
            /// # Safety
            /// The library is an MPI whose handles are `H`, and stays loaded.
            pub(crate) unsafe fn find(library: &Library) -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        let name = concat!($symbol, "\0").as_bytes();
                        // SAFETY: MPI's standard says the arguments of its functions; the caller
                        // says what handles are.
                        let found = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) -> c_int>(name)
                        };
                        *found.map_err(|_| concat!("it has no ", $symbol))?
                    },)*
                })
            }
        }
    };
}

functions! {
    init_thread: "MPI_Init_thread"(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    finalize: "MPI_Finalize"();
    abort: "MPI_Abort"(H, c_int);
    comm_rank: "MPI_Comm_rank"(H, *mut c_int);
    comm_size: "MPI_Comm_size"(H, *mut c_int);
    comm_dup: "MPI_Comm_dup"(H, *mut H);
    comm_set_errhandler: "MPI_Comm_set_errhandler"(H, H);
    error_string: "MPI_Error_string"(c_int, *mut c_char, *mut c_int);
    error_class: "MPI_Error_class"(c_int, *mut c_int);
    get_library_version: "MPI_Get_library_version"(*mut c_char, *mut c_int);
    get_processor_name: "MPI_Get_processor_name"(*mut c_char, *mut c_int);
    barrier: "MPI_Barrier"(H);
    ibarrier: "MPI_Ibarrier"(H, *mut H);
    alltoall: "MPI_Alltoall"(*const c_void, c_int, H, *mut c_void, c_int, H, H);
    ialltoall: "MPI_Ialltoall"(
        *const c_void, c_int, H, *mut c_void, c_int, H, H, *mut H
    );
    iallgather: "MPI_Iallgather"(
        *const c_void, c_int, H, *mut c_void, c_int, H, H, *mut H
    );
    allgather: "MPI_Allgather"(*const c_void, c_int, H, *mut c_void, c_int, H, H);
    allgatherv: "MPI_Allgatherv"(
        *const c_void, c_int, H, *mut c_void, *const c_int, *const c_int, H, H
    );
    allreduce: "MPI_Allreduce"(*const c_void, *mut c_void, c_int, H, H, H);
    isend: "MPI_Isend"(*const c_void, c_int, H, c_int, c_int, H, *mut H);
    test: "MPI_Test"(*mut H, *mut c_int, *mut Status);
    iprobe: "MPI_Iprobe"(c_int, c_int, H, *mut c_int, *mut Status);
    recv: "MPI_Recv"(*mut c_void, c_int, H, c_int, c_int, H, *mut Status);
}
