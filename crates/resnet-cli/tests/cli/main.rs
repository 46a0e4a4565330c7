//! The real binary, in temporary folders.

mod commands;
mod draw;
mod promises;
mod support;
mod wrong_input;
