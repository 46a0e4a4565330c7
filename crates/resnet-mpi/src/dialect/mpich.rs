//! MPICH's ABI: handles are numbers.

use super::{Number, Table};

pub(crate) fn mpich() -> Table<Number> {
    Table {
        world: Number(0x4400_0000),
        float: Number(0x4c00_040a),
        byte: Number(0x4c00_010d),
        sum: Number(0x5800_0003),
        errors_return: Number(0x5400_0001),
        any_source: -2,
        thread_multiple: 3,
        source: 2,
        // MPIX_ERR_PROC_FAILED, _PENDING, MPIX_ERR_REVOKED.
        lost: &[101, 102, 103],
    }
}
