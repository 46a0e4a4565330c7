//! The ABI of MPI 5: handles are pointers with values of their own, that point nowhere.

use std::ptr;

use super::{Pointer, Table};

pub(crate) fn standard() -> Table<Pointer> {
    let handle = |value: usize| Pointer(ptr::without_provenance_mut(value));
    Table {
        world: handle(0x101),
        float: handle(0x210),
        byte: handle(0x247),
        sum: handle(0x21),
        errors_return: handle(0x143),
        any_source: -1,
        thread_multiple: 4096,
        source: 0,
        // It has no codes for processes that are lost.
        lost: &[],
    }
}
