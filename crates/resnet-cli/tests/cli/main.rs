//! The real binary, in temporary folders.

mod commands;
mod promises;
mod support;
mod wrong_input;
