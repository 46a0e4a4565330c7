//! Trained networks over HTTP and gRPC, and pages about them and about runs.
#![forbid(unsafe_code)]

mod board;
mod http;
mod page;
mod serve;
mod wire;

pub use board::{Board, BoardError, BoardOptions, Resume};
pub use http::Tokens;
pub use serve::{Log, Options, ServeError, Server, Source};
