//! Networks beside each other: looks with pages, comparisons over depth, speed.

pub mod bench;
pub mod compare;
pub mod features;
pub mod inspect;
