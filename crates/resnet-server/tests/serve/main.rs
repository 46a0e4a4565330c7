//! A server over real sockets.

mod classify;
mod connections;
mod infer;
mod others;
mod overload;

#[path = "../support/mod.rs"]
mod support;
