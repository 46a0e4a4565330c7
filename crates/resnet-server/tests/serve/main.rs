//! A server over real sockets.

mod access;
mod calibrated;
mod classify;
mod connections;
mod infer;
mod lifecycle;
mod observed;
mod openapi;
mod others;
mod overload;
mod reload;
#[cfg(feature = "tls")]
mod tls;

#[path = "../support/mod.rs"]
mod support;
