//! Open MPI's ABI: handles are addresses of what the library exports.

use std::ffi::c_void;

use libloading::Library;

use super::{Pointer, Table};

pub(crate) fn open_mpi(library: &Library) -> Result<Table<Pointer>, String> {
    let address = |name: &'static str| {
        // SAFETY: only the address is taken, by the name up to its zero.
        let found = unsafe { library.get::<*mut c_void>(name.as_bytes()) };
        let missing = |_| format!("it has no {}", name.trim_end_matches('\0'));
        found.map(|address| Pointer(*address)).map_err(missing)
    };
    Ok(Table {
        world: address("ompi_mpi_comm_world\0")?,
        float: address("ompi_mpi_float\0")?,
        byte: address("ompi_mpi_byte\0")?,
        sum: address("ompi_mpi_op_sum\0")?,
        errors_return: address("ompi_mpi_errors_return\0")?,
        any_source: -1,
        thread_multiple: 3,
        source: 0,
        // MPI_ERR_PROC_ABORTED, _FAILED, _FAILED_PENDING, MPI_ERR_REVOKED of version 5; before,
        // no code is as large.
        lost: &[74, 75, 76, 77],
    })
}
