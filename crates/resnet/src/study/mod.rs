//! Networks beside each other: looks with pages, comparisons over depth, an explanation made of
//! them, speed; pages about data; and what this machine is to the program.

pub mod bench;
pub mod calibrate;
pub mod compare;
pub mod data;
pub mod doctor;
pub mod explain;
pub mod features;
pub mod inspect;
