//! Networks beside each other: looks with pages, comparisons over depth, an explanation made of
//! them, speed.

pub mod bench;
pub mod calibrate;
pub mod compare;
pub mod explain;
pub mod features;
pub mod inspect;
