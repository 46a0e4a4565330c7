//! A server over real sockets.

mod classify;
mod infer;
mod others;

#[path = "../support/mod.rs"]
mod support;
