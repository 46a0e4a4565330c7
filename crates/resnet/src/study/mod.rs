//! Networks beside each other: looks with pages, comparisons over depth, an explanation made of
//! them, speed; and pages about data.

pub mod bench;
pub mod calibrate;
pub mod compare;
pub mod data;
pub mod explain;
pub mod features;
pub mod inspect;
