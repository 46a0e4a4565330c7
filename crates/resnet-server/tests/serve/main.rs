//! A server over real sockets.

mod classify;
mod connections;
mod infer;
mod lifecycle;
mod others;
mod overload;
mod reload;

#[path = "../support/mod.rs"]
mod support;
