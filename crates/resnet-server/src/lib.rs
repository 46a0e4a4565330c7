//! Trained networks over HTTP and gRPC, and pages about them and about runs.
#![forbid(unsafe_code)]

mod http;
mod wire;
